# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics for Prometheus: to a text file that node_exporter reads, and over HTTP on loopback (DESIGN.md section 7).

prometheus_client is needed only where metrics are asked for, so it is imported only then.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.defects import Containment
from ansible_collections.holdfast.ha.plugins.module_utils._checker.reporting.log import MetricsSettings
from ansible_collections.holdfast.ha.plugins.module_utils._checker.reporting.metrics_server import MetricsServer, listen
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, HoldfastError, NotConverged

#: Seconds between two writings of the text file.
_EVERY = 15.0
#: Bounds of the histograms, in seconds.
_RECOVERY = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300)
_OUTAGE = (0.002, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800)
_HEALTHS = ("healthy", "failed", "unknown")
Status = Callable[[], Sequence[Mapping[str, Any]]]


class Metrics:
    """Takes what there is to count, and forgets it: for a checker without metrics. Every method may be called from any thread."""

    def check(self, tag: str, result: str) -> None:
        """A check has ended: ``healthy``, ``failed`` or ``unknown``."""

    def recovery(self, tag: str, ok: bool, seconds: float) -> None:
        """A recovery has ended."""

    def outage(self, tag: str, seconds: float) -> None:
        """A resource is healthy again after so many seconds."""

    def ec2_call(self, operation: str, result: str) -> None:
        """A call of the EC2 API: ``ok``, or the code of its error."""

    def watch_client(self, client: Any) -> None:
        """Have every call that this boto3 client makes counted."""

    def start(self, status: Status) -> None:
        """Begin to write and to serve. ``status``: of all resources, as the socket tells it."""

    def stop(self) -> None:
        """Write a last time, and end."""


def make_metrics(settings: MetricsSettings, cluster: str, node: str, log: Callable[..., None] = lambda event, **facts: None) -> Metrics:
    """``log`` takes the name of an event and its facts. Raises `BadInput` where metrics are wanted and prometheus_client is not installed."""
    if settings.textfile is None and settings.listen is None:
        return Metrics()
    try:
        import prometheus_client
        import prometheus_client.core
    except ImportError:
        raise BadInput("metrics are asked for and the Python library prometheus_client is missing; install it, or take metrics out") from None
    return _Prometheus(prometheus_client, settings, cluster, node, log)


def try_port(settings: MetricsSettings) -> None:
    """Raises `NotConverged` where the port is not to be had."""
    if settings.listen is None:
        return
    host, port = settings.listen
    try:
        listen(host, port).close()
    except OSError as error:
        raise NotConverged(f"metrics.listen: {host}:{port} cannot be used: {error.strerror}; choose another port") from None


class _Prometheus(Metrics):
    def __init__(self, library: Any, settings: MetricsSettings, cluster: str, node: str, log: Callable[..., None]) -> None:
        self._library, self._settings = library, settings
        self._registry = library.CollectorRegistry()
        self._about = {"cluster": cluster, "node": node}
        names = {"registry": self._registry}
        self._checks = library.Counter("holdfast_checks", "Checks of a resource, by result.", ("tag", "result"), **names)
        self._recoveries = library.Counter("holdfast_recoveries", "Recoveries of a resource, by result.", ("tag", "result"), **names)
        seconds = "Duration of recoveries in seconds."
        self._recovery_seconds = library.Histogram("holdfast_recovery_seconds", seconds, ("tag",), buckets=_RECOVERY, **names)
        seconds = "From a fault as the checker saw it to the resource being healthy again, in seconds."
        self._outage_seconds = library.Histogram("holdfast_outage_seconds", seconds, ("tag",), buckets=_OUTAGE, **names)
        self._calls = library.Counter("holdfast_ec2_calls", "Calls of the EC2 API.", ("operation", "result"), **names)
        self._status: Status = tuple
        self._registry.register(self)
        self._stopping = threading.Event()
        self._writer: threading.Thread | None = None
        self._server: MetricsServer | None = None
        self._log = log

    def check(self, tag: str, result: str) -> None:
        self._checks.labels(tag, result).inc()

    def recovery(self, tag: str, ok: bool, seconds: float) -> None:
        self._recoveries.labels(tag, "ok" if ok else "failed").inc()
        self._recovery_seconds.labels(tag).observe(seconds)

    def outage(self, tag: str, seconds: float) -> None:
        self._outage_seconds.labels(tag).observe(seconds)

    def ec2_call(self, operation: str, result: str) -> None:
        self._calls.labels(operation, result).inc()

    def watch_client(self, client: Any) -> None:
        def ended(http_response: Any, parsed: Mapping[str, Any], model: Any, **_: Any) -> None:
            failed = http_response is None or http_response.status_code >= 300
            self.ec2_call(model.name, str(parsed.get("Error", {}).get("Code", "error")) if failed else "ok")

        def unanswered(exception: BaseException, context: Mapping[str, Any], **_: Any) -> None:
            self.ec2_call(str(context.get("operation_name", "")) or "unknown", type(exception).__name__)

        client.meta.events.register("after-call.ec2", ended, unique_id="holdfast-count")
        client.meta.events.register("after-call-error.ec2", unanswered, unique_id="holdfast-count-errors")

    def collect(self) -> Iterator[Any]:
        """What is asked for at the moment of a look, rather than counted."""
        gauge = self._library.core.GaugeMetricFamily
        health = gauge("holdfast_resource_health", "1 for the health that the resource has.", labels=("tag", "health"))
        simple = {
            "held": gauge("holdfast_held", "1 where this node holds the lease.", labels=("tag",)),
            "epoch": gauge("holdfast_epoch", "The lease's epoch, on the node that holds it.", labels=("tag",)),
            "expires_in": gauge("holdfast_lease_expires_in_seconds", "Seconds that the lease has left, on its holder.", labels=("tag",)),
            "in_service": gauge("holdfast_in_service", "1 where the resource is in service here.", labels=("tag",)),
            "flapping": gauge("holdfast_flapping", "1 where recoveries come too often.", labels=("tag",)),
        }
        for one in self._status():
            tag = str(one.get("tag"))
            for name in _HEALTHS:
                health.add_metric((tag, name), float((one.get("health") or "unknown") == name))
            for name, family in simple.items():
                value = one.get(name)
                if isinstance(value, (bool, int, float)):
                    family.add_metric((tag,), float(value))
        info = gauge("holdfast_checker_info", "The node and its cluster.", labels=tuple(self._about))
        info.add_metric(tuple(self._about.values()), 1.0)
        now = gauge("holdfast_metrics_time_seconds", "When this was written, in seconds since 1970.")
        now.add_metric((), time.time())
        yield from (health, *simple.values(), info, now)

    def describe(self) -> Sequence[Any]:
        """Nothing: the library is not to ask for the status before there is one."""
        return ()

    def start(self, status: Status) -> None:
        self._status = status
        if self._settings.listen is not None:
            host, port = self._settings.listen
            page = partial(self._page, Containment("metrics http", self._log))
            try:
                self._server = MetricsServer(host, port, page, self._library.CONTENT_TYPE_LATEST)
            except OSError as error:
                raise HoldfastError(f"metrics.listen: {host}:{port} cannot be used: {error.strerror}; choose another port") from None
            self._server.start()
        if self._settings.textfile is not None:
            self._writer = threading.Thread(target=self._keep_writing, args=(Path(self._settings.textfile),), name="metrics", daemon=True)
            self._writer.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._writer is not None:
            self._writer.join(timeout=5)
        if self._server is not None:
            self._server.stop()

    def _page(self, containment: Containment) -> bytes:
        """The metrics as text; empty after a defect."""
        page: bytes = containment.run(lambda: self._library.generate_latest(self._registry), lambda cause: b"")
        return page

    def _keep_writing(self, path: Path) -> None:
        over, containment = False, Containment("metrics", self._log)
        while not over:
            over = self._stopping.wait(0 if not path.exists() else _EVERY)
            page = self._page(containment)
            try:
                if page:
                    replace(path, page)
            except OSError:
                over = over or self._stopping.wait(_EVERY)  # no folder, no space: seen by the age of the file


def replace(path: Path, content: bytes) -> None:
    """Write a file that everybody may read, by rename, so that a reader sees all of the old one or of the new one. Raises `OSError`."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "wb") as file:
            file.write(content)
            os.fchmod(handle, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
