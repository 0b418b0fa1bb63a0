# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs the parts of a collection that a node runs, the same bytes for the same files: ``archive.py COLLECTION ARCHIVE``.

Prints JSON: ``id``, which names this content. Standard library only: it runs with the controller's Python.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tarfile
from collections.abc import Iterator

#: Galaxy's importer refuses a file of this name, so a collection from Galaxy lacks it; a node has it all the same (DESIGN.md section 7).
_ENTRY = "plugins/module_utils/_checker/__main__.py"
_ENTRY_CONTENT = b"""\
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.holdfast.ha.plugins.module_utils._checker.main import main

if __name__ == "__main__":
    raise SystemExit(main())
"""
_TOP = "ansible_collections/holdfast/ha/"
_PARTS = ("MANIFEST.json", "galaxy.yml", "LICENSE", "README.md", "meta", "plugins", "playbooks", "roles")


def files(collection: str) -> Iterator[str]:
    """Their paths below the collection."""
    for part in _PARTS:
        if os.path.isfile(os.path.join(collection, part)):
            yield part
        for folder, folders, names in os.walk(os.path.join(collection, part)):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            for name in sorted(names):
                if not name.endswith(".pyc"):
                    yield os.path.relpath(os.path.join(folder, name), collection)


def _parents(path: str) -> Iterator[str]:
    """The folders that ``path`` is in."""
    folder = os.path.dirname(path)
    while folder:
        yield folder
        folder = os.path.dirname(folder)


def pack(collection: str) -> bytes:
    """The archive; nothing in it tells when, where or by whom it was made."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive:
        paths = sorted({*files(collection), _ENTRY})
        for folder in sorted({parent for path in paths for parent in _parents(_TOP + path)}):  # or who unpacks it decides who may write there
            about = tarfile.TarInfo(folder)
            about.type, about.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(about)
        for path in paths:
            content = _ENTRY_CONTENT
            if path != _ENTRY:
                with open(os.path.join(collection, path), "rb") as file:
                    content = file.read()
            about = tarfile.TarInfo(_TOP + path)
            about.size, about.mode = len(content), 0o644
            archive.addfile(about, io.BytesIO(content))
    return packed.getvalue()


def main(collection: str, target: str) -> int:
    """Returns the exit code."""
    if not os.path.isdir(os.path.join(collection, "plugins", "module_utils", "_checker")):
        print(f"{collection} is not the folder of the collection holdfast.ha", file=sys.stderr)
        return 1
    packed = pack(collection)
    with open(target, "wb") as file:
        file.write(packed)
    print(json.dumps({"id": hashlib.sha256(packed).hexdigest()[:16]}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
