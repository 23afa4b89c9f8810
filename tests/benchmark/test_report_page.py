"""The report's page is well formed, loads nothing, and works in a real browser, light and dark."""

import dataclasses
import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from benchmark.report.board import boards
from benchmark.report.embedding_map import embedding_map
from benchmark.report.html import NONE
from benchmark.report.page import page
from benchmark.report.published import FIGURES, read_published
from tests.benchmark.made_results import BASE, some

CHROMIUM = shutil.which("chromium")


class Checker(HTMLParser):
    """Collects what a page would load, and whether its elements close in order."""

    VOID = frozenset({"meta", "br", "input", "link", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            elif name == "href" and tag == "a":
                self.links.append(str(value))
            elif name in {"src", "href", "srcset", "data", "action"}:
                self.loads.append(f"{tag} {value}")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_loads_nothing() -> None:
    text = page(boards(some()), read_published(), {})
    checker = Checker()
    checker.feed(text)
    assert not checker.open
    assert not checker.loads
    assert not re.search(r"url\(|@import|fetch\(|https?:", text)
    assert len(checker.ids) == len(set(checker.ids))
    assert {link.removeprefix("#") for link in checker.links} <= set(checker.ids)


def luminance(colour: str) -> float:
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_is_legible_by_wcag(scheme: int) -> None:
    style = (FIGURES.parent / "report.css").read_text(encoding="utf-8")
    block = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[scheme]
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
    pairs = [(ink, ground) for ink in ("ink", "soft", "accent", "better", "worse")
             for ground in ("page", "sheet", "faint")]  # fmt: skip
    for ink, ground in [*pairs, ("warn", "warn-sheet"), ("on-cell", "cell")]:
        high, low = sorted((luminance(colours[ink]), luminance(colours[ground])), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, ground)


WATCH = """<script>
window.caught = [];
addEventListener("error", (e) => caught.push("error: " + e.message), true);
addEventListener("unhandledrejection", (e) => caught.push("rejection: " + e.reason));
addEventListener("securitypolicyviolation", (e) => caught.push("blocked: " + e.blockedURI));
for (const kind of ["error", "warn"]) console[kind] = (...told) => caught.push(told.join(" "));
</script>"""
DRIVE = """<script>
const table = document.querySelector("section table");
const shown = (column) => Array.from(table.tBodies[0].rows, (r) => r.cells[column].innerText);
const press = (column) => table.tHead.rows[0].cells[column].querySelector("button").click();
const seen = { models: shown(0) };
press(1); seen.descending = shown(1);
press(1); seen.ascending = shown(1);
seen.sorted = table.tHead.rows[0].cells[1].getAttribute("aria-sort");
press(2); seen.gap = shown(2);
press(0); seen.alphabet = shown(0);
const task = document.querySelector("details");
const figures = () => Array.from(task.querySelectorAll("svg"),
  (s) => s.checkVisibility() && s.getBoundingClientRect().height > 0 ? s.ariaLabel : "");
seen.closed = figures().join("");
task.querySelector("summary").click();
seen.open = task.open;
seen.first = figures().filter(Boolean);
const select = task.querySelector("select");
select.value = "1";
select.dispatchEvent(new Event("change"));
seen.second = figures().filter(Boolean);
const dots = task.querySelector(".map path");
seen.dots = dots && [dots.getTotalLength() === 0, getComputedStyle(dots).stroke,
  getComputedStyle(dots).strokeLinecap, dots.closest("svg").checkVisibility()];
seen.focusable = [task.querySelector("summary"), table.querySelector("th button")]
  .every((e) => { e.focus(); return document.activeElement === e; });
seen.ground = getComputedStyle(document.body).backgroundColor;
seen.wide = document.documentElement.scrollWidth > innerWidth;
// The browser reports what it blocked before it reports the page as loaded.
addEventListener("load", () => {
  document.documentElement.dataset.outcome = JSON.stringify({ ...seen, caught });
});
</script>"""


def opened(text: str, folder: Path, *options: str) -> dict[str, object]:
    """Open a page in a real browser, use it as DRIVE says, and return what was seen."""
    if CHROMIUM is None:
        pytest.skip("no browser: install Debian's chromium to see the report opened")
    path = folder / "driven.html"
    driven = text.replace("<head>", "<head>" + WATCH).replace("</body>", DRIVE + "</body>")
    path.write_text(driven, encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += ["--disable-dev-shm-usage", f"--user-data-dir={folder / 'profile'}", *options]
    done = subprocess.run(
        [*command, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120
    )
    found = re.search(r'data-outcome="(.*?)"', done.stdout)
    assert found, done.stderr[-2000:]
    return json.loads(html.unescape(found.group(1)))


def test_in_a_browser_columns_sort_and_a_task_opens(tmp_path: Path) -> None:
    results = some()
    # A hue of 0 is a red: more of it than of green or blue, in either scheme.
    found = embedding_map(np.random.default_rng(0).normal(size=(300, 8)), np.arange(300) % 5)
    results[0] = dataclasses.replace(results[0], map=found)
    seen = opened(page(boards(results), read_published(), {}), tmp_path)
    assert seen["caught"] == []
    values = [r.metrics["accuracy"]["value"] for r in results[:3]]
    expected = [f"{value:.1f}" for value in sorted(values)]
    assert [text[:4] for text in seen["ascending"]] == expected
    assert [text[:4] for text in seen["descending"]] == expected[::-1]
    assert seen["sorted"] == "ascending"
    assert seen["gap"][-1] == NONE
    assert [name.split()[0] for name in seen["alphabet"]] == ["bad", BASE, "good"]
    assert seen["closed"] == ""
    assert seen["open"] is True
    assert len(seen["first"]) == 3
    assert all(" of good on birds" in label for label in seen["first"])
    assert len(seen["second"]) == 4
    still, colour, ends, drawn = seen["dots"]
    red, green, blue = map(int, re.findall(r"\d+", colour)[:3])
    assert still
    assert red > 2 * green == 2 * blue
    assert (ends, drawn) == ("round", True)
    assert all(f" of {BASE} on birds" in label for label in seen["second"])
    assert seen["focusable"] is True
    assert seen["ground"] == "rgb(252, 252, 251)"
    assert seen["wide"] is False


def test_in_a_dark_and_narrow_browser_and_errors_are_caught(tmp_path: Path) -> None:
    """The same probe sees a dark page of a telephone's width, and finds planted faults."""
    text = page(boards(some()), [], {})
    planted = '<img src="https://example.org/x.png"><script>absent();</script></main>'
    seen = opened(
        text.replace("</main>", planted),
        tmp_path,
        "--blink-settings=preferredColorScheme=0",
        "--window-size=500,900",
    )
    assert any("absent is not defined" in told for told in seen["caught"])
    assert any("example.org" in told for told in seen["caught"])
    assert seen["ground"] == "rgb(21, 23, 26)"
    assert seen["wide"] is False
