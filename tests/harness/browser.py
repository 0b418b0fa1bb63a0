# SPDX-License-Identifier: GPL-3.0-or-later
"""A page as headless Chromium lays it out: how wide it is, whether it can be read, and what comes out on paper."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Nothing of it leaves this machine.
_QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update")
#: In a frame, since a window cannot be as narrow as a telephone.
_FRAME = """<!doctype html><meta charset="utf-8"><iframe id="frame" style="border: 0; width: {width}px; height: 2000px" srcdoc="{page}"></iframe>
<pre id="told"></pre><script>
addEventListener("load", () => {{
  const inside = document.getElementById("frame").contentDocument, root = inside.documentElement;
  const style = (one) => inside.defaultView.getComputedStyle(one);
  const channels = (color) => color.match(/[\\d.]+/g).slice(0, 3).map((one) => one / 255);
  const light = (color) => channels(color).map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    .reduce((sum, one, index) => sum + one * [0.2126, 0.7152, 0.0722][index], 0);
  const paper = light(style(inside.body).backgroundColor);
  const texts = [...inside.body.querySelectorAll("*")].filter((one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
  const inks = texts.filter((one) => one.closest("title") === null).map((one) => light(one.closest("svg") ? style(one).fill : style(one).color));
  const contrasts = inks.map((ink) => (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05));
  const cut = [...inside.querySelectorAll("th")].filter((one) => one.offsetParent && one.offsetHeight > 2.2 * parseFloat(style(one).lineHeight));
  document.getElementById("told").textContent = JSON.stringify({{paper, contrast: Math.min(...contrasts), texts: texts.length, cut: cut.length,
    needed: root.scrollWidth, there: root.clientWidth}});
}});
</script>"""


@dataclass(frozen=True)
class Layout:
    """How a page came out.

    :param paper: How light it is, from 0 to 1.
    :param contrast: The lowest of any text.
    :param texts: The elements that have text.
    :param cut: Headings of columns that take more than a line.
    :param needed: Its width, of ``there``, which there is.
    """

    paper: float
    contrast: float
    texts: int
    cut: int
    needed: int
    there: int


def is_there() -> bool:
    """Whether a browser is installed."""
    return shutil.which("chromium") is not None


def lay_out(page: str, folder: Path, *, width: int, dark: bool = False) -> Layout:
    """The page on a screen so wide; ``dark``: for somebody who prefers that."""
    file = folder / "frame.html"
    file.write_text(_FRAME.format(width=width, page=html.escape(page)), encoding="utf-8")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    shown = _chromium(folder, scheme, f"--window-size={width + 40},2100", "--dump-dom", file.as_uri())
    told = re.search(r'<pre id="told">(\{.*?\})</pre>', shown)
    assert told is not None, shown[-2000:]
    measured: dict[str, Any] = json.loads(html.unescape(told[1]))
    return Layout(**measured)


def print_out(page: str, folder: Path) -> tuple[int, str]:
    """The page on paper: how many sheets, and their text; without pdftotext no text."""
    file, paper = folder / "page.html", folder / "page.pdf"
    file.write_text(page, encoding="utf-8")
    _chromium(folder, "--no-pdf-header-footer", f"--print-to-pdf={paper}", file.as_uri())
    sheets = len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes()))
    if shutil.which("pdftotext") is None:
        return sheets, ""
    return sheets, subprocess.run(["pdftotext", "-layout", str(paper), "-"], capture_output=True, text=True, check=True).stdout


def _chromium(folder: Path, *words: str) -> str:
    """Run it with a profile of its own; what it prints."""
    argv = ["chromium", *_QUIET, "--disable-sync", f"--user-data-dir={folder / 'profile'}", *words]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
