# SPDX-License-Identifier: GPL-3.0-or-later
"""The only file that knows AnsibleModule: check mode, diff, exit and failure are decided here, once for every module."""

from __future__ import annotations

import os
import subprocess
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Union

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.common.respawn import has_respawned, respawn_module
from ansible.module_utils.errors import UnsupportedError

from ansible_collections.holdfast.ha.plugins.module_utils._core.command import Completed, Runner
from ansible_collections.holdfast.ha.plugins.module_utils._core.converge import (
    Outcome,
    Reconciler,
    ReconcilerGroup,
    Run,
    converge,
    converge_together,
    preview,
    preview_together,
)
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, MissingLibrary

#: The Python that the role monitor brings to a node, with every library that the modules need.
_CHECKER_PYTHON = "/opt/holdfast/venv/bin/python"
_HELP = "holdfast.ha.install brings it to a node"
#: Options that are secrets wherever they are.
_SECRETS = frozenset(("access_key", "secret_key", "session_token", "password", "external_id"))
#: At most so many causes are spelled out in one message.
_SPELLED_OUT = 5
#: Check mode writes nothing that would have to be waited for: seconds for which errors that may pass are tried again.
_PATIENCE = 3.0


#: For how many seconds `converge` tries, or what makes that of the parameters.
Settle = Union[float, Callable[[Mapping[str, Any]], float]]


@dataclass(frozen=True)
class ModuleContext:
    """What a module may use of the machine it runs on."""

    params: Mapping[str, Any]
    run: Runner
    warn: Callable[[str], None]


@dataclass(frozen=True)
class Invocation:
    """What Ansible wants of the module ``name``. ``args`` as they were given; empty where Ansible has passed them itself."""

    name: str
    args: Mapping[str, Any]
    check: bool
    diff: bool


Body = Callable[[Invocation, ModuleContext], Mapping[str, Any]]


@dataclass(frozen=True)
class RequiredLibrary:
    """A Python library that a module needs, and the traceback of its import if it is missing."""

    name: str
    import_error: str | None


def run_change(
    build: Callable[[ModuleContext], Reconciler[Any, Any] | ReconcilerGroup],
    *,
    argument_spec: Mapping[str, Any],
    libraries: Sequence[RequiredLibrary] = (),
    settle: Settle = 0.0,
    **spec: Any,
) -> None:
    """Be a module that changes something: exits through Ansible.

    :param build: Makes the reconciler, or several that work at once, from validated parameters; raises `HoldfastError` for bad input.
    :param settle: see `converge`, in seconds; or what makes that of the parameters.
    :param spec: More of AnsibleModule's arguments, such as ``mutually_exclusive``.
    """

    def body(asked: Invocation, host: ModuleContext) -> Mapping[str, Any]:
        task = build(host)
        patience = settle(host.params) if callable(settle) else settle
        if isinstance(task, ReconcilerGroup):
            outcomes = preview_together(task, settle=min(patience, _PATIENCE)) if asked.check else converge_together(task, settle=patience)
            return _told_together(task, outcomes, asked.diff)
        run = preview(task, settle=min(patience, _PATIENCE)) if asked.check else converge(task, settle=patience)
        returns: dict[str, Any] = {"changed": run.changed, **task.result(run)}
        if asked.diff:
            returns["diff"] = {"before": task.table(run.before), "after": task.table(run.after)}
        return _failing(_errors_of(run), returns)

    _run(body, argument_spec, libraries, spec)


def run_info(
    read: Callable[[ModuleContext], Mapping[str, Any]],
    *,
    argument_spec: Mapping[str, Any],
    libraries: Sequence[RequiredLibrary] = (),
    **spec: Any,
) -> None:
    """Be a module that only looks; ``changed`` is always false. ``read`` returns the module's return values."""

    def body(asked: Invocation, host: ModuleContext) -> Mapping[str, Any]:
        return {"changed": False, **read(host)}

    _run(body, argument_spec, libraries, spec)


# --- the two doors ----------------------------------------------------------------------------------------------------


class _Answered(BaseException):
    """Takes the answer from inside a module's main() to whom called it; not an Exception, so that nothing on the way holds it up."""

    def __init__(self, answer: dict[str, Any] | None) -> None:
        super().__init__()
        self.answer = answer


#: What is asked of this thread by `answer_here`; ``None`` in a module's own process.
_asked_here: ContextVar[Invocation | None] = ContextVar("asked here", default=None)


def answer_here(main: Callable[[], None], asked: Invocation) -> dict[str, Any] | None:
    """What the module with this main() answers, without a process of its own: for an action plugin whose target is this host.

    Safe from several threads. ``None`` where only the module can tell, since a library is missing in this process.
    """
    before = _asked_here.set(asked)
    try:
        main()
    except _Answered as over:
        return over.answer
    finally:
        _asked_here.reset(before)
    raise RuntimeError(f"{asked.name} ended without an answer")


def _answer(
    body: Body, asked: Invocation, argument_spec: Mapping[str, Any], libraries: Sequence[RequiredLibrary], spec: Mapping[str, Any]
) -> dict[str, Any] | None:
    if any(library.import_error is not None for library in libraries):
        return None
    given = ArgumentSpecValidator(dict(argument_spec), **spec).validate(dict(asked.args))
    params = given.validated_parameters
    secrets = given._no_log_values | _secrets_in(params)
    warnings: list[str] = []

    def work() -> Mapping[str, Any]:
        if given.error_messages:
            error = given.errors[0]
            unknown = f"Unsupported parameters for ({asked.name}) module: " if isinstance(error, UnsupportedError) else ""
            return {"failed": True, "msg": f"{unknown}{error}"}
        return body(asked, ModuleContext(params, _run_program, warnings.append))

    try:
        told = _guarded(work)
    except MissingLibrary:
        return None
    answer = {**told, "invocation": {"module_args": dict(params)}, **({"warnings": warnings} if warnings else {})}
    cleared: dict[str, Any] = remove_values(answer, secrets)
    return cleared


def _run(
    body: Body,
    argument_spec: Mapping[str, Any],
    libraries: Sequence[RequiredLibrary],
    spec: Mapping[str, Any],
) -> None:
    asked_here = _asked_here.get()
    if asked_here is not None:
        raise _Answered(_answer(body, asked_here, argument_spec, libraries, spec))
    module = _MODULE(argument_spec=dict(argument_spec), supports_check_mode=True, **spec)
    module.no_log_values |= _secrets_in(module.params)
    for library in libraries:
        if library.import_error is not None:
            module.fail_json(msg=f"{missing_required_lib(library.name)} ({_HELP}{_go_elsewhere()})", exception=library.import_error)
    asked = Invocation("", {}, module.check_mode, module._diff)
    try:
        answer = _guarded(lambda: body(asked, ModuleContext(module.params, _runner(module), module.warn)))
    except MissingLibrary as error:
        hint = _go_elsewhere()
        answer = _refusal(error)
        answer["msg"] += hint
    if answer.pop("failed", False):
        module.fail_json(**answer)
    module.exit_json(**answer)


def _secrets_in(params: Mapping[str, Any]) -> set[str]:
    """The secrets in options of type dict that have no specification of what is in them, such as the definition of a resource; as they are, and as
    `repr` shows them, for so Ansible logs a dict."""
    found: set[str] = set()
    for value in params.values():
        if isinstance(value, Mapping):
            secrets = [str(one) for name, one in value.items() if name in _SECRETS and one]
            found |= {*secrets, *(repr(one)[1:-1] for one in secrets)} | _secrets_in(value)
    return found


def _log_invocation(module: Any) -> None:
    module.no_log_values |= _secrets_in(module.params)
    AnsibleModule._log_invocation(module)


#: AnsibleModule logs its parameters while it is made, so what it has to hide is added in the middle of that.
_MODULE: Any = type("HoldfastModule", (AnsibleModule,), {"_log_invocation": _log_invocation})


def _go_elsewhere() -> str:
    """Start the module again with the Python that the role monitor has brought, so that nobody has to name it in an inventory; returns where that
    is not there or is this one. It costs nothing where the libraries are at hand.

    :returns: What to add to the message if this way of running modules has no such start, as that of Mitogen.
    """
    if not has_respawned() and os.access(_CHECKER_PYTHON, os.X_OK):
        try:
            respawn_module(_CHECKER_PYTHON)
        except AttributeError:  # Ansible's own wrapper, which knows what to start, is not there
            return f". This strategy, such as Mitogen, cannot use that Python on its own. Set ansible_python_interpreter to {_CHECKER_PYTHON}"
    return ""


def _guarded(work: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """The answer of ``work``; of what it raises, the failure in one line. `MissingLibrary` is passed on: another Python may have it."""
    try:
        return dict(work())
    except MissingLibrary:
        raise
    except HoldfastError as error:
        return _refusal(error)
    except Exception as error:  # a defect of ours: still one line, with the traceback where -vvv shows it
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        told = f"This is a defect in holdfast.ha, please report it with the output of -vvv: {cause}"
        return {"failed": True, "msg": told, "exception": traceback.format_exc()}


def _refusal(error: HoldfastError) -> dict[str, Any]:
    return {"failed": True, "msg": error.message, "changed": False, "errors": [error.as_dict()], **error.returns}


def _run_program(argv: Sequence[str]) -> Completed:
    """As `_runner`, without a module."""
    environment = {**os.environ, "LC_ALL": "C", "LANG": "C"}
    try:
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            list(argv), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=environment
        )
    except OSError as error:
        return Completed(127, "", f"{argv[0]}: {error.strerror}")
    return Completed(done.returncode, done.stdout, done.stderr)


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


def _told_together(task: ReconcilerGroup, outcomes: Mapping[str, Outcome], diff: bool) -> dict[str, Any]:
    runs = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, Run)}
    returns: dict[str, Any] = {"changed": any(run.changed for run in runs.values()), **task.result(runs)}
    if diff:
        tables = {when: [task.tasks[name].table(getattr(run, when)) for name, run in runs.items()] for when in ("before", "after")}
        returns["diff"] = {when: "\n".join(each) for when, each in tables.items()}
    errors: list[HoldfastError] = []
    for outcome in outcomes.values():
        errors += _errors_of(outcome) if isinstance(outcome, Run) else [outcome]
    return _failing(errors, returns)


def _errors_of(run: Run[Any, Any]) -> list[HoldfastError]:
    return [*run.errors.values(), *run.lacking]


def _failing(errors: Sequence[HoldfastError], returns: dict[str, Any]) -> dict[str, Any]:
    """The answer, which is a failure where there are errors."""
    if not errors:
        return returns
    return {"failed": True, "msg": _summary(errors), "errors": [error.as_dict() for error in errors], **returns}


def _summary(errors: Sequence[HoldfastError]) -> str:
    causes = list(dict.fromkeys(error.message for error in errors))
    if len(causes) == 1:
        return causes[0]
    more = f"; and {len(causes) - _SPELLED_OUT} more" if len(causes) > _SPELLED_OUT else ""
    return f"{len(causes)} changes did not come about: " + "; ".join(causes[:_SPELLED_OUT]) + more
