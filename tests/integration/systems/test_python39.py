# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules on Python 3.9, as RHEL 9 and Amazon Linux 2023 have it: they can be imported, with all that they import, and use nothing newer.

What they do there, the tests with the marker `python39` show in the folders of the modules.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from harness.module import TREE
from lab.python39 import Python39

_ROOT = Path(__file__).resolve().parents[3]
#: Runs on Python 3.9. Imports each module, then looks up each name of the standard library in each file of ours that this has loaded.
_SCRIPT = """
import ast, importlib, json, pathlib, sys, types
faults, ours = [], 'ansible_collections.holdfast.ha.plugins.'
for name in sys.argv[1:]:
    try:
        importlib.import_module(ours + 'modules.' + name)
    except Exception as error:
        faults.append(f'{name}: {type(error).__name__}: {error}')
loaded = {name: one for name, one in sys.modules.items() if name.startswith(ours) and getattr(one, '__file__', None)}
for name, one in sorted(loaded.items()):
    tree = ast.parse(pathlib.Path(one.__file__).read_text())
    for part in ast.walk(tree):
        if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
            library = vars(one).get(part.value.id)
            if isinstance(library, types.ModuleType) and not hasattr(library, part.attr):
                faults.append(f'{name}:{part.lineno}: {library.__name__} has no {part.attr}')
        if isinstance(part, ast.ImportFrom) and not part.module.startswith('ansible_collections.'):
            absent = [each.name for each in part.names if not hasattr(importlib.import_module(part.module), each.name)]
            faults += [f'{name}:{part.lineno}: {part.module} has no {each}' for each in absent]
print(json.dumps({'version': sys.version_info[:2], 'files': len(loaded), 'faults': faults}))
"""


def test_nothing_is_newer(python_39: Python39) -> None:
    names = [one.stem for one in (_ROOT / "plugins/modules").glob("*.py")]
    argv = [str(python_39.with_ansible), "-c", _SCRIPT, *names]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(TREE)})
    told = json.loads(done.stdout)
    assert (told["version"], told["faults"]) == ([3, 9], [])
    assert told["files"] > 3 * len(names), "what the modules import was not looked at"
