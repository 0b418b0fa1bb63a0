# SPDX-License-Identifier: GPL-3.0-or-later
"""The only file that knows AnsibleModule: check mode, diff, exit and failure are decided here, once for every module."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.holdfast.ha.plugins.module_utils._command import Completed, Runner
from ansible_collections.holdfast.ha.plugins.module_utils._converge import Reconciler, Run, converge, preview
from ansible_collections.holdfast.ha.plugins.module_utils._errors import HoldfastError

#: At most so many causes are spelled out in one message.
_SPELLED_OUT = 5
#: Check mode writes nothing that would have to be waited for: seconds for which errors that may pass are tried again.
_PATIENCE = 3.0


@dataclass(frozen=True)
class Host:
    """What a module may use of the machine it runs on."""

    params: Mapping[str, Any]
    run: Runner
    warn: Callable[[str], None]


@dataclass(frozen=True)
class Library:
    """A Python library that a module needs, and the traceback of its import if it is missing."""

    name: str
    import_error: str | None


def run_change(
    build: Callable[[Host], Reconciler[Any, Any]],
    *,
    argument_spec: Mapping[str, Any],
    libraries: Sequence[Library] = (),
    settle: float | Callable[[Mapping[str, Any]], float] = 0.0,
    **spec: Any,
) -> None:
    """Be a module that changes something: exits through Ansible.

    :param build: Makes the reconciler from validated parameters; raises `HoldfastError` for bad input.
    :param settle: see `converge`, in seconds; or what makes that of the parameters.
    :param spec: More of AnsibleModule's arguments, such as ``mutually_exclusive``.
    """

    def body(module: AnsibleModule, host: Host) -> None:
        task = build(host)
        patience = settle(host.params) if callable(settle) else settle
        run = preview(task, settle=min(patience, _PATIENCE)) if module.check_mode else converge(task, settle=patience)
        returns: dict[str, Any] = {"changed": run.changed, **task.result(run)}
        if module._diff:
            returns["diff"] = {"before": task.table(run.before), "after": task.table(run.after)}
        if run.errors:
            module.fail_json(msg=_summary(run), errors=[error.as_dict() for error in run.errors.values()], **returns)
        module.exit_json(**returns)

    _run(body, argument_spec, libraries, spec)


def run_info(
    read: Callable[[Host], Mapping[str, Any]],
    *,
    argument_spec: Mapping[str, Any],
    libraries: Sequence[Library] = (),
    **spec: Any,
) -> None:
    """Be a module that only looks; ``changed`` is always false. ``read`` returns the module's return values."""

    def body(module: AnsibleModule, host: Host) -> None:
        module.exit_json(changed=False, **read(host))

    _run(body, argument_spec, libraries, spec)


def _run(
    body: Callable[[AnsibleModule, Host], None],
    argument_spec: Mapping[str, Any],
    libraries: Sequence[Library],
    spec: Mapping[str, Any],
) -> None:
    module = AnsibleModule(argument_spec=dict(argument_spec), supports_check_mode=True, **spec)
    for library in libraries:
        if library.import_error is not None:
            module.fail_json(msg=missing_required_lib(library.name), exception=library.import_error)
    try:
        body(module, Host(module.params, _runner(module), module.warn))
    except HoldfastError as error:
        module.fail_json(msg=error.message, changed=False, errors=[error.as_dict()], **error.returns)
    except Exception as error:  # a defect of ours: still one line, with the traceback where -vvv shows it
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        module.fail_json(msg=f"This is a defect in holdfast.ha, please report it with the output of -vvv: {cause}", exception=traceback.format_exc())


def _runner(module: AnsibleModule) -> Runner:
    def run(argv: Sequence[str]) -> Completed:
        try:
            rc, stdout, stderr = module.run_command(
                list(argv), environ_update={"LC_ALL": "C", "LANG": "C"}, expand_user_and_vars=False, handle_exceptions=False
            )
        except OSError as error:  # not installed: the caller knows what to say about it
            return Completed(127, "", f"{argv[0]}: {error.strerror}")
        return Completed(rc, stdout, stderr)

    return run


def _summary(run: Run[Any, Any]) -> str:
    causes = list(dict.fromkeys(error.message for error in run.errors.values()))
    if len(causes) == 1:
        return causes[0]
    more = f"; and {len(causes) - _SPELLED_OUT} more" if len(causes) > _SPELLED_OUT else ""
    return f"{len(causes)} changes did not come about: " + "; ".join(causes[:_SPELLED_OUT]) + more
