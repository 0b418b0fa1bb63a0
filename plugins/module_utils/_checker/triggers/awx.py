# SPDX-License-Identifier: GPL-3.0-or-later
"""The trigger `awx`: launches a job template of an AWX or Automation Controller over REST, and follows the job to its end.

Until a job has been accepted, whatever goes wrong means that the next trigger is asked. After that the job's own end counts. A launch without a
reply may have been accepted: so each order has a name of its own among the job's variables, by which the job is looked for. One that is lost
sight of for longer than `_LOST` counts as not started too: recover may run twice, as it looks before each change.
"""

from __future__ import annotations

import secrets
import threading
import time
from typing import Any
from urllib.parse import quote, urlsplit

from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.playbook_run import cut, variables_of
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.settings import AwxTrigger, CannotStart, Order, Outcome
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError
from ansible_collections.holdfast.ha.plugins.module_utils._core.http import CallFailed, Reply, call

#: Seconds for one call, for how long a job may not be seen, for calling one off, and for how long one is looked for.
_CALL, _LOST, _CALL_OFF, _SEARCH = 10.0, 30.0, 5.0, 5.0
#: Seconds that a look at a job may take at least, also where its time is nearly over: else it fails for no other reason.
_LEAST = 1.0
#: What a proxy answers when the controller behind it has not.
_NO_REPLY = (502, 504)
_UNDER_WAY = ("new", "pending", "waiting", "running")
_WHAT_TO_DO = {
    400: "it refused the launch",
    401: "it does not accept the token; see that the one in token_file is valid",
    403: "the token's user may not do this; give it the role Execute on the job template",
    404: "there is no such thing for this user; see url and job_template",
    405: "what answers there is no controller; see url",
    415: "what answers there does not take JSON; see url",
    429: "it is asked too often",
}


class AwxRunner:
    """One job template. It runs `recover`; other playbooks are for the next trigger."""

    name = "awx"
    playbooks: tuple[str, ...] = ("recover",)

    def __init__(self, settings: AwxTrigger, *, lost: float = _LOST) -> None:
        self._settings, self._lost = settings, lost
        path = urlsplit(settings.endpoint.url).path.strip("/")
        self._api = "" if path else "/api"  # a gateway has a path of its own in its place

    def run(self, order: Order, cancel: threading.Event) -> Outcome:
        """Launch, and wait for the job. Raises `CannotStart`."""
        begin = time.monotonic()
        if order.playbook not in self.playbooks:
            raise CannotStart(f"its job template is for recover, not for {order.playbook}")
        job = self._launch(order, cancel)
        ok, message = self._follow(job, begin + self._settings.timeout, cancel)
        return Outcome(ok, self.name, cut(message), round(time.monotonic() - begin, 3))

    def _launch(self, order: Order, cancel: threading.Event) -> int:
        path = f"{self._api}/v2/job_templates/{quote(self._settings.job_template, safe='+')}/launch/"
        name = f"{order.tag}-{secrets.token_hex(8)}"
        try:
            reply = self._call("POST", path, {"extra_vars": {**variables_of(order), "holdfast_order": name}}, _CALL, cancel)
        except HoldfastError as error:
            job = self._find(name, cancel) if error.ambiguous else None
            if job is None:
                raise CannotStart(error.message) from None
            return job
        if reply.status in _NO_REPLY:
            job = self._find(name, cancel)
            if job is not None:
                return job
        if reply.status != 201:
            raise CannotStart(self._told(reply))
        content = reply.content if isinstance(reply.content, dict) else {}
        job = content.get("job") or content.get("id")
        if not isinstance(job, int) or isinstance(job, bool):
            raise CannotStart(f"{self._settings.endpoint.url} took the launch and names no job; is it a controller?")
        if content.get("ignored_fields"):
            self._call_off(job)
            raise CannotStart(
                f"the job template {self._settings.job_template} ignores {_ignored(content['ignored_fields'])}: its survey has no question for that. "
                "Give it the survey that extensions/aap/controller.yml has for Holdfast recover"
            )
        return job

    def _find(self, name: str, cancel: threading.Event) -> int | None:
        """The job of that order, which may appear a little later; ``None`` where there is none. Asked once even where the order is called off."""
        path = f"{self._api}/v2/job_templates/{quote(self._settings.job_template, safe='+')}/jobs/?order_by=-id&page_size=50"
        end = time.monotonic() + _SEARCH
        while True:
            try:
                reply = self._call("GET", path, None, min(_CALL, _CALL_OFF), None)
            except HoldfastError:
                return None  # what does not answer at all is asked no longer
            found = reply.content.get("results") if isinstance(reply.content, dict) else None
            for one in _listed(found):
                job = one.get("id") if isinstance(one, dict) and name in str(one.get("extra_vars")) else None
                if isinstance(job, int) and not isinstance(job, bool):
                    return job
            if cancel.wait(self._settings.poll) or time.monotonic() >= end:
                return None

    def _follow(self, job: int, end: float, cancel: threading.Event) -> tuple[bool, str]:
        seen, trouble = time.monotonic(), ""
        pause = self._settings.poll
        while True:
            left = end - time.monotonic()
            if cancel.is_set() or left <= 0:
                self._call_off(job)
                why = "it was called off" if cancel.is_set() else f"it did not end within {self._settings.timeout:g} s"
                return False, f"job {job} was canceled: {why}{'; ' + trouble if trouble else ''}"
            try:
                reply = self._call("GET", f"{self._api}/v2/jobs/{job}/", None, min(_CALL, max(left, _LEAST)), cancel)
                status = reply.content.get("status") if reply.status == 200 and isinstance(reply.content, dict) else None
                trouble = "" if status else self._told(reply)
                pause = max(self._settings.poll, reply.retry_after or 0.0)
            except HoldfastError as error:
                status, trouble = None, error.message
            if status is not None:
                seen = time.monotonic()
                if status not in _UNDER_WAY:
                    return status == "successful", "" if status == "successful" else self._ended(job, status, reply.content)
            elif time.monotonic() - seen > self._lost and not cancel.is_set():
                self._call_off(job)
                raise CannotStart(f"lost sight of job {job}: {trouble}")
            cancel.wait(min(pause, max(0.0, end - time.monotonic())))

    def _ended(self, job: int, status: object, content: dict[str, Any]) -> str:
        why = content.get("job_explanation") or content.get("result_traceback") or "see its output there"
        return f"job {job} ended as {str(status)[:40]}: {why}"

    def _call_off(self, job: int) -> None:
        try:
            self._call("POST", f"{self._api}/v2/jobs/{job}/cancel/", {}, _CALL_OFF, None)
        except HoldfastError:
            pass  # it ends by itself, or by its own time-out

    def _call(self, method: str, path: str, body: dict[str, Any] | None, seconds: float, cancel: threading.Event | None) -> Reply:
        if seconds <= 0:
            raise CallFailed("no time is left")
        return call(self._settings.endpoint, method, path, body, seconds=seconds, cancel=cancel)

    def _told(self, reply: Reply) -> str:
        url = self._settings.endpoint.url
        if 300 <= reply.status < 400:
            return f"{url} sends elsewhere ({reply.location}); give that URL"
        what = _WHAT_TO_DO.get(reply.status, "it has trouble of its own" if reply.status >= 500 else "this is not what a controller says")
        return cut(f"{url}: HTTP {reply.status}: {what}{_details(reply)}")


def _details(reply: Reply) -> str:
    """What a refused launch lacks, in AWX's words."""
    if reply.status != 400 or not isinstance(reply.content, dict):
        return ""
    lacking = [str(name) for key in ("variables_needed_to_start", "passwords_needed_to_start") for name in _listed(reply.content.get(key))]
    other = [f"{key}: {value}" for key, value in reply.content.items() if not key.endswith("_needed_to_start") and isinstance(value, (str, list))]
    return "; " + "; ".join([*lacking, *other]) if lacking or other else ""


def _ignored(fields: object) -> str:
    """The variables that a controller has dropped, in its words: fields of the launch, and of `extra_vars` its variables."""
    dropped = fields if isinstance(fields, dict) else {"what was sent": None}
    names = [name for key, value in dropped.items() for name in (value if key == "extra_vars" and isinstance(value, dict) else [key])]
    return ", ".join(sorted(map(str, names)))


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []
