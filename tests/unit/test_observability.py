# SPDX-License-Identifier: GPL-3.0-or-later
"""Dashboard and alert rules: they ask for metrics and labels that the checker has, and promtool agrees with the rules."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.holdfast.ha.plugins.module_utils._checker.reporting.log import MetricsSettings
from ansible_collections.holdfast.ha.plugins.module_utils._checker.reporting.metrics import make_metrics

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "extensions/prometheus/holdfast-rules.yml"
DASHBOARD = ROOT / "extensions/grafana/holdfast.json"
#: Labels that Prometheus itself adds, or PromQL.
ADDED = {"instance", "job", "le"}
SERIES = re.compile(r"\b(holdfast_\w+)(?:\{([^}]*)\})?")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Every series that a checker with one resource writes, with its labels."""
    pytest.importorskip("prometheus_client")
    path = tmp_path_factory.mktemp("metrics") / "holdfast.prom"
    metrics = make_metrics(MetricsSettings(str(path), None), "web-prod", "node-a")
    metrics.check("web", "healthy")
    metrics.recovery("web", True, 1.0)
    metrics.outage("web", 0.1)
    metrics.ec2_call("DescribeRouteTables", "ok")
    metrics.start(lambda: [{"tag": "web", "health": "healthy", "held": True, "epoch": 3, "expires_in": 7.5, "in_service": True, "flapping": False}])
    metrics.stop()
    series: dict[str, set[str]] = {}
    for line in path.read_text().splitlines():
        if found := re.match(r"(holdfast_\w+)(?:\{(.*)\})? ", line):
            series.setdefault(found[1], set()).update(re.findall(r'(\w+)="', found[2] or ""))
    return series


def rules() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    return found


def questions() -> Iterator[str]:
    """Every PromQL expression in rules and dashboard."""
    yield from (rule["expr"] for rule in rules())
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    yield from (note["expr"] for note in dashboard["annotations"]["list"])
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["definition"]


@pytest.mark.parametrize("expression", list(questions()))
def test_what_is_asked_for_exists(expression: str, known: dict[str, set[str]]) -> None:
    asked = SERIES.findall(expression) or re.findall(r"\b(holdfast:\w+)()", expression)
    assert asked, expression
    for name, selectors in asked:
        if name == "holdfast:in_service":
            assert name in {rule.get("record") for rule in rules()}
            continue
        assert name in known, f"{name}: the checker has no such metric, but {sorted(known)}"
        labels = set(re.findall(r"(\w+)\s*[=!]~?", selectors))
        assert labels <= known[name] | ADDED, expression


def test_every_metric_is_shown_somewhere(known: dict[str, set[str]]) -> None:
    parts = re.compile(r"_(bucket|sum|count|created)$")
    asked = {parts.sub("", name) for expression in questions() for name, _selectors in SERIES.findall(expression)}
    assert {parts.sub("", name) for name in known if f"{parts.sub('', name)}_total" not in known} - asked == set()


def test_dashboard_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not there: install Debian's package prometheus")
def test_rules_fire_when_they_should() -> None:
    for words in (("check", "rules", str(RULES)), ("test", "rules", str(ROOT / "tests/unit/prometheus/holdfast-rules-test.yml"))):
        done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


#: What Grafana puts in place of its variables.
GRAFANA = {
    "$__rate_interval": "1m",
    "$__range": "1h",
    "$__interval": "15s",
    "$cluster": "web-prod",
    "$tag": "web",
    "$node": "node-a",
    "$instance": "a",
}


def shown() -> list[str]:
    """The dashboard's expressions as Prometheus gets them."""
    dashboard = json.loads(DASHBOARD.read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    found += [note["expr"] for note in dashboard["annotations"]["list"]]
    for name, value in sorted(GRAFANA.items(), reverse=True):
        found = [expression.replace(name, value) for expression in found]
    return found


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not there: install Debian's package prometheus")
def test_dashboard_asks_in_prometheus_language(tmp_path: Path) -> None:
    assert len(shown()) > 5
    assert not [expression for expression in shown() if "$" in expression]
    wrapped = tmp_path / "rules.yml"
    wrapped.write_text(yaml.safe_dump({"groups": [{"name": "shown", "rules": [{"record": f"n{n}", "expr": one} for n, one in enumerate(shown())]}]}))
    done = subprocess.run(["promtool", "check", "rules", str(wrapped)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
