# SPDX-License-Identifier: GPL-3.0-or-later
"""README and guides as their readers take them: the commands, the examples, and by which test each command is run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import jinja2.nodes
import yaml

ROOT = Path(__file__).resolve().parents[2]
GUIDES = ROOT / "docs/docsite/rst"
#: What users read, and what those read who work on it.
FOR_USERS = [ROOT / "README.md", *sorted(GUIDES.glob("*.rst")), *sorted((ROOT / "roles").glob("*/README.md"))]
TEXTS = [path for path in (*FOR_USERS, ROOT / "CONTRIBUTING.md") if path.exists()]


#: Words of a task whose value is an expression without braces.
_BARE = ("when", "that", "changed_when", "failed_when", "until")


@dataclass(frozen=True)
class Command:
    """One that a reader is told to run."""

    where: str
    text: str

    @property
    def words(self) -> list[str]:
        """As a shell takes them."""
        return shlex.split(self.text, comments=True)


def blocks(path: Path, *kinds: str) -> Iterator[str]:
    """The code blocks of these kinds."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        yield from re.findall(rf"(?ms)^```(?:{'|'.join(kinds)})\n(.*?)^```", text)
        return
    for found in re.finditer(rf"(?m)^( *)\.\. code-block:: (?:{'|'.join(kinds)})\n\n((?:\1   .*\n|\n)+)", text):
        yield re.sub(rf"(?m)^{found[1]}   ", "", found[2])


def commands_of(path: Path) -> list[Command]:
    """In the order of the text; then those that are mentioned within a line."""
    found = []
    for block in blocks(path, "console"):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            if path.suffix == ".rst" and not line.startswith("$ "):
                continue
            if line.strip():
                found.append(Command(path.name, line.removeprefix("$ ").strip()))
    mentioned = re.findall(r"`+((?:holdfast|lkipbu|make|systemctl|ansible-playbook|ansible-doc|apt-get) [^`]+)`+", path.read_text(encoding="utf-8"))
    return found + [Command(path.name, " ".join(text.split())) for text in mentioned]


def commands() -> list[Command]:
    """Each once, of all texts."""
    return sorted({one.text: one for path in TEXTS for one in commands_of(path)}.values(), key=lambda one: one.text)


def inventory_of(path: Path) -> dict[str, Any]:
    """The inventory that a text shows."""
    shown = (yaml.safe_load(block) for block in blocks(path, "yaml"))
    return next(content for content in shown if isinstance(content, dict) and "all" in content)


def expressions(value: object, key: str = "") -> Iterator[str]:
    """The texts in a playbook that Ansible evaluates, as templates."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from expressions(inner, str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from expressions(inner, key)
    elif isinstance(value, str):
        yield f"{{{{ {value} }}}}" if key in _BARE else value


def variables_of(playbook: Path) -> set[str]:
    """The variables that a playbook reads."""
    environment, found = jinja2.Environment(autoescape=True), set()
    for text in expressions(yaml.safe_load(playbook.read_text())):
        found |= {node.name for node in environment.parse(text).find_all(jinja2.nodes.Name) if node.ctx == "load"}
    return found


#: Which test runs a command of README and guides as it is there, but for addresses and paths. `test_guides.py` holds this to be complete; the tests
#: named here compare it with what they ran.
RUN: dict[str, tuple[str, ...]] = {
    "unit/test_guides.py::test_quick_start_builds_and_installs_and_works_from_there": (
        "python3 -m venv ~/holdfast",
        ". ~/holdfast/bin/activate",
        "ansible-galaxy collection build",
        "ansible-galaxy collection install holdfast-ha-0.1.0.tar.gz --offline",
        "ansible-galaxy collection build --output-path docs/examples",
        "ansible-doc holdfast.ha.ec2_route_target",
        "ansible-doc -t role holdfast.ha.failover",
        "ansible-doc -t role holdfast.ha.local_recovery",
        "ansible-doc -t role holdfast.ha.monitor",
    ),
    "unit/test_observability.py::test_rules_fire_when_they_should": ("promtool check rules extensions/prometheus/holdfast-rules.yml",),
    "integration/guides/test_etcd.py::test_a_store_for_a_trial": (
        "echo 'ETCD_LISTEN_CLIENT_URLS=http://192.0.2.21:2379' >> /etc/default/etcd",
        "echo 'ETCD_ADVERTISE_CLIENT_URLS=http://192.0.2.21:2379' >> /etc/default/etcd",
    ),
    "integration/guides/test_etcd.py::test_three_members_with_tls": (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=etcd-ca "
        "-addext keyUsage=critical,keyCertSign,cRLSign -keyout etcd-ca.key -out etcd-ca.pem",
        "openssl req -x509 -CA etcd-ca.pem -CAkey etcd-ca.key -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=etcd "
        "-addext basicConstraints=critical,CA:FALSE -addext subjectAltName=IP:192.0.2.21,IP:192.0.2.22,IP:192.0.2.23 -keyout etcd.key -out etcd.pem",
    ),
    "integration/guides/test_walk.py::test_the_guides_from_their_first_command_to_their_last": (
        'ansible-playbook holdfast.ha.prepare_aws -e \'{"holdfast_store": {"type": "dynamodb", "table": "holdfast", "region": "eu-central-1"}}\'',
        "ansible-playbook -i inventory.yml holdfast.ha.prepare_aws",
        "ansible-playbook -i inventory.yml holdfast.ha.local_recovery --limit node-a --check --diff",
        "ansible-playbook -i inventory.yml holdfast.ha.install",
        "ansible-playbook -i inventory.yml holdfast.ha.switchover -e tag=web -e to=node-a",
        "ansible-playbook -i inventory.yml holdfast.ha.switchover -e tag=web -e to=node-b",
        "ansible-playbook -i inventory.yml holdfast.ha.status",
        "ansible-playbook -i inventory.yml holdfast.ha.local_recovery",
        "ansible-playbook -i inventory.yml holdfast.ha.local_recovery --limit node-a --diff",
        "ansible-playbook -i inventory.yml holdfast.ha.backup_interface -e tag=web -e operation=show --limit node-b",
        "ansible-playbook -i inventory.yml holdfast.ha.maintenance -e state=paused",
        "ansible-playbook -i inventory.yml holdfast.ha.maintenance -e state=resumed",
        "ansible-playbook -i inventory.yml holdfast.ha.maintenance -e state=paused -e tag=web",
        "ansible-playbook -i inventory.yml holdfast.ha.maintenance -e state=resumed -e tag=web",
        "ansible-playbook -i inventory.yml holdfast.ha.report -e report=/tmp/report.html",
        "ansible-playbook -i inventory.yml holdfast.ha.report -e report_on=node-a -e report=/var/lib/holdfast/report.html",
        "ansible-playbook -i inventory.yml holdfast.ha.uninstall",
        "ansible -i inventory.yml node-a -m holdfast.ha.lease_info -a 'cluster=web-prod tag=web store=\"{{ holdfast_store }}\"'",
        "holdfast status",
        "holdfast status [TAG] [--json]",
        "holdfast check [TAG] [--json]",
        "holdfast recover TAG [--wait SECONDS]",
        "holdfast switchover TAG --to NODE [--wait SECONDS]",
        "holdfast pause [TAG]",
        "holdfast pause",
        "holdfast resume [TAG]",
        "holdfast resume",
        "holdfast backup show TAG",
        "holdfast backup remove TAG INTERFACE",
        "holdfast backup add TAG INTERFACE",
        "holdfast backup move TAG",
        "lkipbu -s",
        "lkipbu -a",
        "lkipbu -m",
    ),
}
_INDEX = "wants a package index; the front door makes the same environment from pins"
_DEBIAN = "wants Debian's mirror"
_ETCDCTL = "the same calls are made through etcd's gateway by integration/failover/etcd.py, whose store is then used with that user"
_DEPENDENTS = "integration/monitor/test_life.py, with these variables and an inventory"
#: What no test runs as it is there, and why.
EXCUSED: dict[str, str] = {
    "pip install 'ansible-core>=2.17.7,!=2.18.0' netaddr": _INDEX,
    "pip install 'ansible-core>=2.17.7,!=2.18.0' netaddr boto3": _INDEX,
    "pip install boto3 netaddr": _INDEX,
    'ansible -i inventory.yml all -m ansible.builtin.package -a \'{"name": ["python3-netaddr", "python3-boto3"]}\'': _DEBIAN,
    'ansible -i inventory.yml node-a -m ansible.builtin.package -a \'{"name": ["python3-netaddr", "python3-boto3"]}\'': _DEBIAN,
    "apt-get install etcd-server": _DEBIAN,
    "apt-get install etcd-client": _DEBIAN,
    "systemctl restart etcd": "the test starts etcd with the file that Debian's unit reads",
    "systemctl restart systemd-networkd": "the links of the lab are not those of systemd-networkd",
    "systemctl disable": "a command of others, with what it is to disable left out",
    "systemctl disable nginx": "there is no nginx in the lab; its units are not enabled to begin with",
    "systemctl stop holdfast-checker": "integration/checker/test_dependents.py ends a checker as systemd does",
    "systemctl show": "the checker runs it; integration/checker/test_dependents.py shows for what",
    "systemctl reboot --force --force": "the checker runs it, and integration/checker/test_dependents.py records that",
    "export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=https://192.0.2.21:2379 ETCDCTL_CACERT=/etc/etcd/etcd-ca.pem": _ETCDCTL,
    "etcdctl role add holdfast": _ETCDCTL,
    "etcdctl role grant-permission holdfast --prefix=true readwrite /holdfast/": _ETCDCTL,
    "etcdctl user add holdfast": _ETCDCTL,
    "etcdctl user grant-role holdfast holdfast": _ETCDCTL,
    "etcdctl user add root": _ETCDCTL,
    "etcdctl user grant-role root root": _ETCDCTL,
    "etcdctl auth enable": _ETCDCTL,
    """rev=$(etcdctl endpoint status --write-out=json | grep -o '"revision":[0-9]*' | grep -o '[0-9]*' | head -n 1)""": _ETCDCTL,
    'etcdctl compact "$rev"': "integration/checker/test_store_space.py does the same through etcd's gateway",
    "etcdctl defrag --cluster": "integration/checker/test_store_space.py does the same through etcd's gateway",
    "etcdctl alarm disarm": "integration/checker/test_store_space.py does the same through etcd's gateway",
    "cd docs/examples": "the test of the example works in a copy of that folder",
    "ansible-builder build -f execution-environment.yml -t registry.example.org/holdfast-ee:0.1.0": (
        "wants podman and an image of the internet; unit/test_automation.py runs `create`, which reads the same file"
    ),
    "podman push registry.example.org/holdfast-ee:0.1.0": "wants a registry",
    "export CONTROLLER_HOST=https://aap.example.org CONTROLLER_OAUTH_TOKEN=TOKEN": "wants a controller",
    "ansible-playbook extensions/aap/configure.yml -e @my_values.yml": "wants AWX; unit/test_automation.py holds it against the modules' options",
    "ansible-playbook extensions/aap/dispatch.yml -e @my_values.yml": "wants automation controller; as above",
    "ansible-rulebook --rulebook holdfast.ha.holdfast --inventory inventory.yml --vars variables.yml": "integration/recovery/test_eda.py, with Java",
    "ansible-playbook -i localhost, -c local -e @resources.yml holdfast.ha.local_recovery": (
        "integration/recovery runs it with these words on a node, with its own file, for every fault"
    ),
    "ansible-playbook holdfast.ha.backup_interface -e tag=web -e operation=add -e interface=eth1": (
        "integration/recovery/test_backup_interface.py, with these variables and an inventory"
    ),
    "ansible-playbook holdfast.ha.switchover -e tag=web -e to=node-b -e powered_off=node-a": (
        "integration/failover/test_failover.py, with these variables and an inventory"
    ),
    "ansible-playbook holdfast.ha.dependents -e tag=web -e state=stopped": _DEPENDENTS,
    "ansible-playbook holdfast.ha.dependents -e tag=web -e state=started": _DEPENDENTS,
    "holdfast pause web": "integration/checker/test_commands.py, with the other words of maintenance",
    "holdfast backup": "the beginning of the commands that are run",
    "holdfast backup add": "the beginning of a command that is run",
    "holdfast switchover": "the beginning of a command that is run",
}
