# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release consists of: its files pass their checksums, and the bill of materials names what nodes get."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from ansible_collections.holdfast.ha.tests.harness import release

ROOT = Path(__file__).resolve().parents[2]
GALAXY = yaml.safe_load((ROOT / "galaxy.yml").read_text())


def test_a_release_passes_its_checksums_and_a_changed_one_does_not(tmp_path: Path) -> None:
    if not Path(sys.executable).with_name("ansible-galaxy").exists():
        pytest.skip("ansible-galaxy is not in this environment")
    release.make(tmp_path)
    name = f"holdfast-ha-{GALAXY['version']}"
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.tar.gz", f"{name}.cdx.json", "SHA256SUMS"}
    check = ["sha256sum", "--check", "SHA256SUMS"]
    done = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"{name}.cdx.json: OK\n{name}.tar.gz: OK\n"
    with tarfile.open(tmp_path / f"{name}.tar.gz") as archive:
        inside = archive.getnames()
    assert "SECURITY.md" in inside
    assert not [one for one in inside if one.startswith(("tests", "dist", ".nox"))]
    with (tmp_path / f"{name}.tar.gz").open("ab") as changed:
        changed.write(b"x")
    assert subprocess.run(check, cwd=tmp_path, capture_output=True, check=False).returncode == 1
    with pytest.raises(FileExistsError):
        release.make(tmp_path)


def test_the_bill_of_materials_names_each_package_of_a_node_with_its_hashes() -> None:
    pins = release.PINS.read_text()
    bill = release.bill_of_materials(pins, GALAXY)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", bill["serialNumber"])
    assert bill["metadata"]["component"]["version"] == GALAXY["version"]
    assert {f"{one['name']}=={one['version']}" for one in bill["components"]} == set(re.findall(r"(?m)^[a-z0-9-]+==[^ ]+", pins))
    assert all(one["purl"] == f"pkg:pypi/{one['name']}@{one['version']}" for one in bill["components"])
    (found,) = (one["externalReferences"][0]["hashes"] for one in bill["components"] if one["name"] == "boto3")
    assert {one["content"] for one in found} == set(re.findall(r"sha256:(\w+)", re.findall(r"(?s)^boto3==.*?\nbotocore", pins, re.MULTILINE)[0]))
    refs = [one["bom-ref"] for one in bill["components"]]
    assert len(set(refs)) == len(refs)
    assert bill["dependencies"][0]["dependsOn"] == refs
    assert json.dumps(bill) == json.dumps(release.bill_of_materials(pins, GALAXY)), "the same tree gives another one"


def test_a_pin_without_hashes_makes_no_bill_of_materials() -> None:
    with pytest.raises(ValueError, match=r"^this is no pin with hashes: boto3==1$"):
        release.bill_of_materials("boto3==1\n", GALAXY)


def test_the_policy_names_a_private_way_to_report_and_no_address_of_a_person() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    assert f"{GALAXY['repository']}/security/advisories/new" in text
    assert "@" not in text
