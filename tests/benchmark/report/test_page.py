"""The page shows results as text, loads nothing, and hides no score on a telephone or a screen."""

import dataclasses
import functools
import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.report.leaderboard import leaderboards
from benchmark.report.page import page
from benchmark.report.published import FIGURES, read_published
from benchmark.report.table import clean
from benchmark.report.tables import sections
from benchmark.results.schema import Result
from tests.benchmark.made_results import BASE, made, some
from tests.benchmark.report.test_render import HOSTILE

CHROMIUM = shutil.which("chromium")


def page_of(results: list[Result], failures: dict | None = None, **more) -> str:
    boards = leaderboards(results, None, failures)
    return page(sections(boards, read_published(), {}), boards, **more)


@functools.cache
def plain_page() -> str:
    return page_of(some())


class Checker(HTMLParser):
    """Collects what a page would load, what it shows, and whether its elements close in order."""

    VOID = frozenset({"meta", "br", "input", "link", "img", "wbr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.shown = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            elif name in {"href", "xlink:href"} and str(value).startswith("#"):
                self.links.append(str(value)[1:])
            elif name in {"src", "href", "xlink:href", "srcset", "data", "action"}:
                self.loads.append(f"{tag} {value}"[:40])
            elif name.startswith("on"):
                self.handlers.append(name)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.shown += data


def test_the_page_is_well_formed_and_loads_nothing() -> None:
    checker = Checker(plain_page())
    assert not checker.open
    assert all(load.startswith("image data:image/png;base64,") for load in checker.loads)
    assert len(checker.ids) == len(set(checker.ids))
    assert set(checker.links) <= set(checker.ids)
    assert not checker.handlers
    style = (FIGURES.parent / "report.css").read_text() + (FIGURES.parent / "report.js").read_text()
    assert not re.search(r"url\(|@import|fetch\(|https?:", style)


@functools.cache
def checked(name: str) -> Checker:
    """The page of a result that says a name wherever it can say one."""
    base = made("birds", "good", 0.5, n=40, notes=[name], partial=name)
    classes = [name, *base.classes[1:]]
    by_class = dict(zip(classes, base.by_class.values(), strict=True))
    xy = {"x": [0.1] * 9, "y": [0.2] * 9, "label": [0] * 9, "explained": [50.0, 20.0]}
    cost = {"weights_hash": name, "data_hash": name, "written": name, "precision": name}
    result = dataclasses.replace(
        base,
        model=name,
        classes=classes,
        by_class=by_class,
        map=xy,
        bad_clips=[{"clip": name, "reason": name}],
        provenance=cost,
    )
    failures = {("cars", "other", "linear-1"): name}
    return Checker(page_of([result], failures, about=name, bad_files=[name]))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_adds_no_element_and_is_shown(name: str) -> None:
    plain, checker = checked("plain"), checked(name)
    without = [tag for tag in checker.tags if tag != "wbr"]
    assert without == [tag for tag in plain.tags if tag != "wbr"]
    assert not checker.handlers
    assert checker.shown.count(clean(name)) >= 10


def test_the_page_does_not_depend_on_the_order_of_results() -> None:
    assert page_of(some()[::-1]) == plain_page()


def test_every_number_of_the_tables_is_on_the_page() -> None:
    results = some()
    boards = leaderboards(results)
    shown = Checker(plain_page()).shown
    for part in sections(boards, read_published(), {}):
        for table in (*part.tables, *part.tasks):
            for row in table.rows:
                for column, cell in zip(table.columns, row, strict=True):
                    for text in (cell.text, cell.below):
                        typeset = text.replace("-", "\N{MINUS SIGN}") if column.numeric else text
                        assert typeset in shown


def luminance(color: str) -> float:
    shares = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_is_legible_by_wcag(scheme: int) -> None:
    style = (FIGURES.parent / "report.css").read_text(encoding="utf-8")
    block = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[scheme]
    colors = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
    pairs = [(ink, ground) for ink in ("ink", "soft", "accent", "better", "worse")
             for ground in ("page", "sheet", "faint")]  # fmt: skip
    for ink, ground in [*pairs, ("warn", "warn-sheet")]:
        high, low = sorted((luminance(colors[ink]), luminance(colors[ground])), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, ground)


WATCH = """<script>
window.caught = [];
addEventListener("error", (e) => caught.push("error: " + e.message), true);
addEventListener("unhandledrejection", (e) => caught.push("rejection: " + e.reason));
addEventListener("securitypolicyviolation", (e) => caught.push("blocked: " + e.blockedURI));
for (const kind of ["error", "warn"]) console[kind] = (...args) => caught.push(args.join(" "));
</script>"""
DRIVE = """<script>
const seen = { width: innerWidth };
// What of all scores a reader would not see: outside the window, without size, or under another.
const out = (e) => {
  const box = e.getBoundingClientRect();
  return box.width === 0 || box.left < -0.5 || box.right > innerWidth + 0.5;
};
document.querySelectorAll("details").forEach((d) => { d.open = true; });
const scores = Array.from(document.querySelectorAll("td, tbody th"))
  .filter((e) => !e.closest("[hidden]"));
seen.scores = scores.length;
seen.hidden = scores.filter((e) => out(e) || e.scrollWidth > e.clientWidth + 1)
  .map((e) => e.innerText);
seen.figures = Array.from(document.querySelectorAll("svg"))
  .filter((e) => !e.closest("[hidden]") && out(e)).length;
seen.wide = document.documentElement.scrollWidth > innerWidth;
document.querySelectorAll("details").forEach((d) => { d.open = false; });
const table = document.querySelector("section table");
const shown = (column) => Array.from(table.tBodies[0].rows, (r) => r.cells[column].innerText);
const press = (column) => table.tHead.rows[0].cells[column].querySelector("button").click();
seen.models = shown(0);
press(3); seen.descending = shown(3);
press(3); seen.ascending = shown(3);
seen.sorted = table.tHead.rows[0].cells[3].getAttribute("aria-sort");
press(4); seen.gap = shown(4);
press(0); seen.alphabet = shown(0);
const task = document.querySelector("details");
const labels = () => Array.from(task.querySelectorAll("svg"),
  (s) => s.checkVisibility() && s.getBoundingClientRect().height > 0 ? s.ariaLabel : "");
seen.closed = labels().join("");
location.hash = "#" + task.id;
openTarget();
seen.open = task.open;
seen.first = labels().filter(Boolean);
const select = task.querySelector("select");
select.value = "1";
select.dispatchEvent(new Event("change"));
seen.second = labels().filter(Boolean);
seen.ground = getComputedStyle(document.body).backgroundColor;
const tick = task.querySelector("[data-panel]:not([hidden]) svg text");
seen.ink = [getComputedStyle(tick).fill, getComputedStyle(document.body).color];
addEventListener("load", () => {
  parent.postMessage(JSON.stringify({ ...seen, caught }), "*");
});
</script>"""
FRAME = """<!DOCTYPE html><body style="margin: 0">
<script>
addEventListener("message", (e) => { document.documentElement.dataset.outcome = e.data; });
</script>
<iframe src="driven.html" style="width: {width}px; height: 900px; border: 0"></iframe>"""
"""A window is 500 pixels wide at least, a frame as narrow as one likes."""


def opened(text: str, folder: Path, width: int, *options: str) -> dict[str, Any]:
    """Open a page in a real browser, use it as DRIVE says, and return what was seen."""
    if CHROMIUM is None:
        pytest.skip("no browser: install Debian's chromium to see the report opened")
    path = folder / "frame.html"
    path.write_text(FRAME.replace("{width}", str(width)), encoding="utf-8")
    driven = text.replace("<head>", "<head>" + WATCH).replace("</body>", DRIVE + "</body>")
    (folder / "driven.html").write_text(driven, encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += ["--disable-dev-shm-usage", f"--user-data-dir={folder / 'profile'}"]
    command += [f"--window-size={max(width, 500)},900", "--virtual-time-budget=20000", *options]
    done = subprocess.run(
        [*command, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120
    )
    match = re.search(r'data-outcome="(.*?)"', done.stdout)
    assert match, done.stderr[-2000:]
    seen: dict[str, Any] = json.loads(html.unescape(match.group(1)))
    return seen


def many_results() -> list[Result]:
    """Seven tasks of six models with long names, more than any table of ours has."""
    tasks = ["birds", "cars", *(f"a_rather_long_task_{i}" for i in range(5))]
    models = {
        BASE: 0.5,
        "good": 0.8,
        "wavebyol_hear:baselines/weights/slim_333k.safetensors?whiten=false": 0.7,
        "somebody.with.a.package.of.many.parts:/home/somebody/weights.pt": 0.6,
    }
    lacking = ("cars", "good")
    xy = {"x": [0.1, -0.2], "y": [0.2, 0.9], "label": [0, 1], "explained": [50.0, 20.0]}
    return [
        made(task, model, share, n=100, map=xy if task == "cars" else None)
        for task in tasks
        for model, share in models.items()
        if (task, model) != lacking
    ]


@functools.cache
def many_page() -> str:
    return page_of(many_results())


@pytest.mark.parametrize("width", [390, 1280])
def test_no_score_is_hidden_or_cut_off(tmp_path: Path, width: int) -> None:
    seen = opened(many_page(), tmp_path, width)
    assert seen["caught"] == []
    assert seen["width"] == width
    assert seen["scores"] > 400
    assert seen["hidden"] == []
    assert seen["figures"] == 0
    assert seen["wide"] is False


def test_columns_sort_a_task_opens_and_its_models_are_chosen(tmp_path: Path) -> None:
    results = some()
    seen = opened(plain_page(), tmp_path, 1280)
    assert seen["caught"] == []
    expected = [f"{r.metrics['accuracy']['value']:.1f}" for r in results[:3]]
    assert [text[:4] for text in seen["ascending"]] == sorted(expected)
    assert [text[:4] for text in seen["descending"]] == sorted(expected)[::-1]
    assert seen["sorted"] == "ascending"
    assert seen["gap"][-1].startswith("\N{MINUS SIGN}")
    assert [name.split()[0] for name in seen["alphabet"]] == ["bad", BASE, "good"]
    assert (seen["closed"], seen["open"]) == ("", True)
    assert len(seen["first"]) == len(seen["second"]) == 2
    assert all(" of good on birds" in label for label in seen["first"])
    assert all(f" of {BASE} on birds" in label for label in seen["second"])
    assert seen["ground"] == "rgb(252, 252, 251)"
    assert seen["ink"] == ["rgb(28, 30, 33)"] * 2


def test_it_is_dark_for_those_who_like_it_and_faults_are_caught(tmp_path: Path) -> None:
    """The same probe finds planted faults, so that it would find others."""
    planted = '<img src="https://example.org/x.png"><script>absent();</script></main>'
    seen = opened(
        plain_page().replace("</main>", planted),
        tmp_path,
        390,
        "--blink-settings=preferredColorScheme=0",
    )
    assert any("absent is not defined" in line for line in seen["caught"])
    assert any("example.org" in line for line in seen["caught"])
    assert seen["ground"] == "rgb(21, 23, 26)"
    assert seen["ink"] == ["rgb(230, 232, 235)"] * 2
