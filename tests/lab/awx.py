# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller that speaks AWX's REST contract for launching a job template and following the job, and can be told to misbehave."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml

_ROOT = Path(__file__).resolve().parents[2]
TOKEN = "lab-controller-token-6d1f"


@dataclass
class Controller:
    """What it knows and what it was asked. Set the fields to choose what happens next.

    ``survey``: the questions of the template. As in AWX, an answer that a question does not allow refuses the launch, and a variable that is no
    question is dropped and named in ``ignored_fields``, unless the template ``asks_for_variables``. It never prompts for a limit.
    ``status``: every reply has this HTTP status, where it is not 0. ``launch_status``, ``poll_status``: of these calls alone.
    ``mute_launch``: a launch is carried out, and never answered.
    ``slow``: seconds before each reply. ``drip``: replies come byte by byte and never end. ``course``: a job's statuses, one for each look.
    """

    token: str = TOKEN
    templates: dict[str, int] = field(default_factory=lambda: {"7": 7, "recover++Default": 7})
    survey: Sequence[Mapping[str, Any]] = field(default_factory=lambda: survey_of("Holdfast recover"))
    asks_for_variables: bool = False
    status: int = 0
    launch_status: int = 0
    poll_status: int = 0
    retry_after: str = ""
    slow: float = 0.0
    mute_launch: bool = False
    drip: bool = False
    gibberish: bool = False
    course: tuple[str, ...] = ("pending", "waiting", "running", "successful")
    explanation: str = ""
    location: str = "https://elsewhere.example.org/login?next=secret"
    prefix: str = "/api"
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    canceled: list[int] = field(default_factory=list)
    looks: dict[int, int] = field(default_factory=dict)
    given: dict[int, Any] = field(default_factory=dict)
    released: threading.Event = field(default_factory=threading.Event)

    def answer(self, method: str, path: str, authorization: str, content_type: str, body: bytes) -> tuple[int, Any]:
        """The reply to one request."""
        try:
            content = json.loads(body) if body else None
        except ValueError:
            content = None
        self.requests.append((method, unquote(path), content))
        self.authorizations.append(authorization)
        if self.slow:
            self.released.wait(self.slow)
        if self.status:
            return self.status, {"detail": "as it was told to"}
        if not path.startswith(f"{self.prefix}/v2/"):
            return 404, {"detail": "Not found."}
        if authorization != f"Bearer {self.token}":
            return 401, {"detail": "Authentication credentials were not provided. To establish a login session, visit /api/login/."}
        if method == "POST" and content_type != "application/json":
            return 415, {"detail": f'Unsupported media type "{content_type}" in request.'}
        words = unquote(path[len(self.prefix) :]).partition("?")[0].strip("/").split("/")
        if method == "POST" and words[1] == "job_templates" and words[-1] == "launch":
            reply = self._launch(words[2], content)
            if self.mute_launch:
                self.released.wait()
            return reply
        if words[1] == "job_templates" and words[-1] == "jobs" and words[2] in self.templates:
            jobs = sorted(self.given, reverse=True)
            return 200, {"count": len(jobs), "results": [{"id": job, "extra_vars": json.dumps(self.given[job])} for job in jobs]}
        if words[1] == "jobs" and words[2].isdigit() and int(words[2]) in self.looks:
            return self._cancel(int(words[2])) if method == "POST" and words[-1] == "cancel" else self._job(int(words[2]))
        return 404, {"detail": "Not found."}

    def _launch(self, template: str, content: Any) -> tuple[int, Any]:
        if self.launch_status:
            return self.launch_status, {"detail": "as it was told to"}
        if template not in self.templates:
            return 404, {"detail": "Not found."}
        sent = content if isinstance(content, dict) else {}
        given = sent.get("extra_vars", {})
        wrong = [told for question in self.survey for told in _wrong(question, given)]
        if wrong:
            return 400, {"variables_needed_to_start": wrong}
        asked = {question["variable"] for question in self.survey}
        rejected = {} if self.asks_for_variables else {name: value for name, value in given.items() if name not in asked}
        defaults = {question["variable"]: question["default"] for question in self.survey if "default" in question}
        job = 100 + len(self.looks)
        self.looks[job], self.given[job] = 0, {**defaults, **{name: value for name, value in given.items() if name not in rejected}}
        ignored = {name: value for name, value in sent.items() if name != "extra_vars"}
        if rejected:
            ignored["extra_vars"] = rejected
        url = f"{self.prefix}/v2/jobs/{job}/"
        return 201, {"job": job, "id": job, "type": "job", "url": url, "status": "pending", "ignored_fields": ignored}

    def _job(self, job: int) -> tuple[int, Any]:
        if self.poll_status:
            return self.poll_status, {"detail": "as it was told to"}
        status = "canceled" if job in self.canceled else self.course[min(self.looks[job], len(self.course) - 1)]
        self.looks[job] += 1
        return 200, {"id": job, "status": status, "job_explanation": self.explanation, "result_traceback": ""}

    def _cancel(self, job: int) -> tuple[int, Any]:
        self.canceled.append(job)
        return 202, {}


class _Loader(yaml.SafeLoader):
    """Ansible's own tags are texts here."""


_Loader.add_constructor("!unsafe", lambda _loader, node: str(node.value))


def controller_variables() -> dict[str, Any]:
    """What `extensions/aap/controller.yml` brings into a controller."""
    loader = _Loader((_ROOT / "extensions/aap/controller.yml").read_text(encoding="utf-8"))
    found: dict[str, Any] = loader.get_single_data()
    return found


def survey_of(name: str) -> list[dict[str, Any]]:
    """The questions that the job template has."""
    (template,) = (one for one in controller_variables()["controller_templates"] if one["name"] == name)
    questions: list[dict[str, Any]] = template["survey_spec"].get("spec", [])
    return questions


def _wrong(question: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Why AWX refuses the answer to a question, in its words (awx/main/models/mixins.py)."""
    name, kind = question["variable"], question["type"]
    if name not in given:
        return [f"'{name}' value missing"] if question["required"] else []
    value, choices = given[name], question.get("choices", [])
    if kind in ("text", "textarea", "password"):
        if not isinstance(value, str):
            return [f"Value {value} for '{name}' expected to be a string."]
        if len(value) < question.get("min", 0):
            return [f"'{name}' value {value} is too small (length is {len(value)} must be at least {question['min']})."]
        if len(value) > question.get("max", len(value)):
            return [f"'{name}' value {value} is too large (must be no more than {question['max']})."]
        return []
    if kind == "multiselect" and not isinstance(value, list):
        return [f"'{name}' value is expected to be a list."]
    chosen = value if kind == "multiselect" else [value]
    return [f"Value {one} for '{name}' expected to be one of {choices}." for one in chosen if one not in choices]


def certificate_of(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for ``name``, such as ``DNS:localhost`` or ``IP:192.0.2.1``, signed by itself, and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    subject = ["-subj", "/CN=controller", "-addext", f"subjectAltName={name}"]
    usage = ["-addext", "keyUsage=critical,digitalSignature,keyCertSign"]  # from Python 3.13 on, a CA's certificate has to have one
    subprocess.run([*words, "-keyout", key, "-out", certificate, *subject, *usage], check=True, capture_output=True)
    return certificate, key


class AwxServer:
    """Serves a `Controller` over HTTP, or over HTTPS with a certificate and key. A context manager.

    :param listener: A TCP socket that is bound to an address; by default one of loopback. ``name``: how callers call it.
    """

    def __init__(
        self,
        controller: Controller,
        *,
        certificate: Path | None = None,
        key: Path | None = None,
        listener: socket.socket | None = None,
        name: str = "localhost",
    ) -> None:
        self.controller = controller

        class Handler(_Handler):
            answers = controller

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=listener is None)
        if listener is not None:
            self._server.socket.close()
            self._server.socket = listener
            self._server.server_activate()
        port = self._server.socket.getsockname()[1]
        self._server.daemon_threads = True
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        self.url = f"{scheme}://{name}:{port}"

    def __enter__(self) -> AwxServer:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.controller.released.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    answers: Controller
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._reply("GET")

    def do_POST(self) -> None:
        self._reply("POST")

    def _reply(self, method: str) -> None:
        controller = self.answers
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, content = controller.answer(method, self.path, self.headers.get("Authorization", ""), self.headers.get("Content-Type", ""), body)
        raw = b"<html>not what you want</html>" if controller.gibberish else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw) + (1_000_000 if controller.drip else 0)))
        if controller.retry_after:
            self.send_header("Retry-After", controller.retry_after)
        if 300 <= status < 400:
            self.send_header("Location", controller.location)
        self.end_headers()
        try:
            self.wfile.write(raw)
            while controller.drip and not controller.released.is_set():
                self.wfile.write(b" ")
                time.sleep(0.05)
        except OSError:
            pass  # the caller has had enough

    def log_message(self, *_: object) -> None:
        """Nothing."""
