# SPDX-License-Identifier: GPL-3.0-or-later
"""The extra variables of a run, as a playbook gets them: texts that a server has worded stay texts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.playbook_run import variables_of
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.settings import Order

_CALL = "lookup('ansible.builtin.pipe', 'echo evaluated')"
HOSTILE = (
    "{{ %s }}",
    "{{{ %s }}",
    "{{{{ %s }}}}",
    "{%% if %s %%}x{%% endif %%}",
    "{{%% set x = %s %%}{{{ x }}",
    "{#{{ %s }}",
    "#jinja2: variable_start_string: '[[', variable_end_string: ']]'\n[[ %s ]]",
    "#jinja2:{{{ %s }}",
)


def test_no_text_of_an_order_is_taken_for_a_template(tmp_path: Path) -> None:
    texts = [text % _CALL for text in HOSTILE]
    orders = [Order("web", "recover", text, (text,), {"to": text}) for text in texts]
    given = [variables_of(order) for order in orders]
    extra = {f"{name}_{number}": one[name] for number, one in enumerate(given) for name in ("holdfast_reason", "holdfast_faults", "to")}
    content = "{{ {" + ", ".join(f"'{name}': {name}" for name in extra) + "} | to_json }}"
    task = {"ansible.builtin.copy": {"content": content, "dest": str(tmp_path / "seen"), "mode": "0600"}}
    play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}]
    (tmp_path / "play.yml").write_text(json.dumps(play))
    (tmp_path / "extra.json").write_text(json.dumps({**extra, "ansible_python_interpreter": sys.executable}))
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-e", "@extra.json", "play.yml"]
    environment = {**os.environ, "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"), "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote")}
    ended = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert json.loads((tmp_path / "seen").read_text()) == extra
    for text, one in zip(texts, given):
        assert one["holdfast_reason"].replace(" ", "") == text.replace(" ", ""), "no word is lost"
