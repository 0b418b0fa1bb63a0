# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release consists of: the collection, a bill of materials of what it installs on nodes, and the checksums of both.

``python -m harness.release FOLDER`` writes them into an empty folder. The same tree gives the same bill of materials.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PINS = ROOT / "roles/monitor/files/requirements.txt"
_PIN = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[^\s;]+)(?: ; (?P<marker>.*?))?(?P<hashes>(?: +--hash=sha256:[0-9a-f]{64})+)")


def bill_of_materials(pins: str, collection: dict[str, Any]) -> dict[str, Any]:
    """A CycloneDX 1.5 document (https://cyclonedx.org/docs/1.5/json/).

    :param pins: Pins with hashes, as `nox -s lock` writes them. Raises ValueError for a line that is none.
    :param collection: The content of galaxy.yml.
    """
    lines = [line for line in pins.replace("\\\n", "").splitlines() if line and not line.startswith("#")]
    components = [_component(line) for line in lines]
    name = f"{collection['namespace']}.{collection['name']}"
    root = {
        "type": "application",
        "bom-ref": f"{name}@{collection['version']}",
        "name": name,
        "version": collection["version"],
        "licenses": [{"license": {"id": one}} for one in collection["license"]],
        "externalReferences": [{"type": "vcs", "url": collection["repository"]}],
    }
    content = json.dumps([root, components], sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {"component": root},
        "components": components,
        "dependencies": [{"ref": root["bom-ref"], "dependsOn": [one["bom-ref"] for one in components]}],
    }


def _component(line: str) -> dict[str, Any]:
    found = _PIN.fullmatch(line.strip())
    if found is None:
        raise ValueError(f"this is no pin with hashes: {line[:80]}")
    name, version, marker = found["name"], found["version"], found["marker"]
    hashes = [{"alg": "SHA-256", "content": one} for one in re.findall(r"sha256:([0-9a-f]{64})", found["hashes"])]
    purl = f"pkg:pypi/{name}@{version}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "externalReferences": [{"type": "distribution", "url": purl, "hashes": hashes}],
        **({"properties": [{"name": "python:marker", "value": marker}]} if marker else {}),
    }


def checksums(folder: Path) -> str:
    """One line for each file of the folder, as `sha256sum --check` reads them."""
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.iterdir()))


def make(folder: Path) -> None:
    """Write a release into an empty folder; FileExistsError for one that is not."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty. Remove its content, or name another folder")
    collection = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    program = Path(sys.executable).with_name("ansible-galaxy")
    subprocess.run([str(program), "collection", "build", "--output-path", str(folder)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    bill = bill_of_materials(PINS.read_text(encoding="utf-8"), collection)
    name = f"{collection['namespace']}-{collection['name']}-{collection['version']}"
    (folder / f"{name}.cdx.json").write_text(json.dumps(bill, indent=2) + "\n", encoding="utf-8")
    (folder / "SHA256SUMS").write_text(checksums(folder), encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
