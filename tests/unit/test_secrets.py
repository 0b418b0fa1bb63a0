# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret among a module's options is in its answer or in the log of the node that it runs on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TREE = ROOT / ".tree" if (ROOT / ".tree").exists() else ROOT.parents[2]
SECRET = "EXTERNAL-ID-42"
RESOURCE = {"tag": "web", "address": "10.1.0.10/32", "interface": "lo", "ec2": {"role_arn": "arn:aws:iam::1:role/x", "external_id": SECRET}}
ROLE = {"role_arn": "arn:aws:iam::1:role/x", "external_id": SECRET, "access_key": "a", "secret_key": "b", "region": "eu-central-1"}
ENI = {"network_interface_id": "eni-0123456789abcdef0", "endpoint_url": "http://127.0.0.1:9"}
#: Writes down what a module tells syslog(3), and that it has no journal.
_SITE = """
import sys, syslog
sys.modules["systemd"] = None
syslog.syslog = lambda *words: open({!r}, "a").write(str(words) + "\\n")
"""


@pytest.mark.parametrize(
    ("module", "options"),
    [
        ("ip_resource_info", {"tag": "web", "resource": RESOURCE}),
        ("ip_backup_interface", {"tag": "web", "resource": RESOURCE, "interface": "nope"}),
        ("ip_swap_interface", {"tag": "web", "resource": RESOURCE}),
        ("ip_resource", {"tag": "web", "resource": RESOURCE}),
        ("ip_resource_info", {"tag": "web", "resource": {**RESOURCE, "ec2": {"external_id": f"{SECRET}\n"}}}),
        ("ec2_source_dest_check", {**ROLE, **ENI}),
        ("ec2_resource", {**ROLE, **ENI, "destinations": ["10.1.0.10/32"]}),
    ],
)
def test_no_secret_is_logged_or_returned(tmp_path: Path, module: str, options: dict[str, Any]) -> None:
    log = tmp_path / "log"
    (tmp_path / "sitecustomize.py").write_text(_SITE.format(str(log)))
    given = {**options, "_ansible_check_mode": True, "_ansible_diff": True, "_ansible_no_log": False, "_ansible_verbosity": 4}
    (tmp_path / "args").write_text(json.dumps({"ANSIBLE_MODULE_ARGS": given}))
    argv = [sys.executable, "-m", f"ansible_collections.holdfast.ha.plugins.modules.{module}", str(tmp_path / "args")]
    environment = {"PYTHONPATH": f"{tmp_path}:{TREE}", "PATH": os.environ["PATH"]}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    answer = json.loads(done.stdout)
    assert "invocation" not in answer or answer["invocation"]["module_args"], "newer releases of ansible-core return none"
    assert "Invoked with" in log.read_text()
    assert SECRET not in done.stdout + done.stderr + log.read_text()
