"""The report keeps protocols and published figures apart, and says what its numbers stand on."""

import csv
import html
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from benchmark.report.__main__ import main
from benchmark.report.board import boards
from benchmark.report.page import page
from benchmark.report.published import read_published
from benchmark.report.tables import TableError
from benchmark.report.text import comma_separated, markdown
from benchmark.results.schema import write_result
from tests.benchmark.made_results import BASE, made, some


def sections(text: str) -> dict[str, str]:
    """The page's sections by their title."""
    found = re.findall(r"<section><h2[^>]*>(.*?)</h2>(.*?)</section>", text, re.DOTALL)
    return {re.sub("<.*", "", title).strip(): body for title, body in found}


def test_protocols_never_share_a_table() -> None:
    results = some()
    parts = sections(page(boards(results), [], {}))
    linear, other = (f"{results[i].metrics['accuracy']['value']:.1f}" for i in (1, 5))
    assert linear in parts["Protocol linear-1"]
    assert other not in parts["Protocol linear-1"]
    assert other in parts["Protocol mlp-1"]
    assert linear not in parts["Protocol mlp-1"]


def test_marks_follow_mcnemar_and_holm() -> None:
    results = some()
    board = boards(results)[0]
    right = {(r.task, r.model): r.labels() == r.predicted() for r in results[:5]}
    raw = {}
    for task, model in (("birds", "good"), ("birds", "bad"), ("cars", "good")):
        mine, base = right[task, model], right[task, BASE]
        gained, lost = int((mine & ~base).sum()), int((~mine & base).sum())
        raw[task, model] = binomtest(gained, gained + lost, 0.5).pvalue
    corrected, largest = {}, 0.0
    for rank, place in enumerate(sorted(raw, key=raw.__getitem__)):
        largest = max(largest, min(1.0, (len(raw) - rank) * raw[place]))
        corrected[place] = largest
    for place, p in corrected.items():
        assert board.cells[place].adjusted == pytest.approx(p)
    assert board.cells["birds", "good"].verdict == 1
    assert board.cells["birds", "bad"].verdict == -1
    assert board.cells["cars", "good"].verdict == 0
    assert board.cells["birds", BASE].comparison is None


def test_the_mean_has_all_tasks_and_an_interval_of_resampled_clips() -> None:
    results = some()
    board = boards(results)[0]
    assert set(board.means) == {BASE, "good"}
    hits = [r.labels() == r.predicted() for r in (results[1], results[4])]
    draw = np.random.default_rng(7)
    sampled = [np.mean([draw.choice(hit, len(hit)).mean() for hit in hits]) for _ in range(3000)]
    low, high = 100 * np.percentile(sampled, [2.5, 97.5])
    mean = board.means["good"]
    assert mean.value == pytest.approx(100 * np.mean([hit.mean() for hit in hits]))
    assert (mean.low, mean.high) == pytest.approx((low, high), abs=0.4)


def test_results_that_cannot_be_compared_say_so() -> None:
    strange = made("birds", "good", 0.8)
    strange.predictions["clip"][:] = [f"else {i}" for i in range(strange.n_clips)]
    text = page(boards([made("birds", BASE, 0.5), strange]), [], {})
    assert "share no clip" in text
    assert "▲</span></a>" not in text


def test_two_results_for_one_cell_and_an_unknown_baseline_are_refused() -> None:
    with pytest.raises(TableError, match="keep one"):
        boards([made("birds", "good", 0.5), made("birds", "good", 0.6)])
    with pytest.raises(TableError, match="choose one of good"):
        boards([made("birds", "good", 0.5)], "absent")


def test_published_figures_stand_apart_with_source_and_protocol() -> None:
    figures = read_published()
    parts = sections(page(boards(some()), figures, {}))
    published = parts.pop("Published figures")
    for figure in figures:
        for told in (figure.model, figure.protocol, figure.source, f"{figure.score:.1f}"):
            assert html.escape(told) in published
        assert figure.model not in "".join(parts.values())
    protocols = {figure.protocol for figure in figures}
    assert published.count("Published, not measured") == len(protocols) == 6


def test_names_are_escaped() -> None:
    text = page(boards([made("birds", '<script>alert("x")</script>', 0.5)]), [], {})
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_partial_untrained_and_split_are_said() -> None:
    text = page(boards([*some(), made("birds", "new", 0.2, untrained=True)]), [], {})
    assert "400 of 900 clips are listed" in text
    assert "Measured on part of the set: cars." in text
    assert re.search(r'new <span class="tag warn">untrained</span>', text)
    assert "fixed: 60 training, 20 validation and 400 test clips" in text


def test_seeds_are_shown_in_page_markdown_and_csv() -> None:
    of_seeds = {"mean": 61.24, "deviation": 0.86, "values": [60.4, 62.1]}
    seeds = {"count": 2, "accuracy": of_seeds, "f1": of_seeds}
    found = boards([made("birds", BASE, 0.5), made("birds", "good", 0.6, seeds=seeds)])
    parts = sections(page(found, [], {}))
    assert "2 seeds: 61.2 ± 0.9" in parts["Protocol linear-1"]
    assert "Mean of seeds" in parts["Protocol linear-1"]
    assert "2 seeds 61.2 ± 0.9" in markdown(found, [])
    rows = csv.DictReader(comma_separated(found, []).splitlines())
    shown = {(row["model"], row["metric"]): row["seeds_mean"] for row in rows if row["seeds"]}
    assert shown == {("good", "accuracy"): "61.24", ("good", "f1"): "61.24"}
    assert "seeds" not in page(boards(some()), [], {})


def test_a_dash_has_its_reason() -> None:
    missing = {
        ("cars", "bad", "linear-1"): "clip <7> broke",
        ("boats", BASE, "linear-1"): "no data",
        ("birds", "new", "linear-1"): "no module",
        ("birds", BASE, "mlp-1"): "too wide",
        ("birds", "bad", "gone-1"): "never shown",
    }
    found = boards(some(), None, missing)
    linear, other = found
    assert linear.gaps["cars", "bad"] == "clip <7> broke"
    assert linear.gaps["cars", "new"] == "not run"
    assert set(linear.means) == set()
    assert other.gaps == {("birds", BASE): "too wide"}
    assert other.baseline == "good"
    parts = sections(page(found, [], {}))
    assert "cars, bad: clip &lt;7&gt; broke" in parts["Protocol linear-1"]
    assert "boats, " + BASE + ": no data" in parts["Protocol linear-1"]
    assert "too wide" not in parts["Protocol linear-1"]
    assert "too wide" in parts["Protocol mlp-1"]
    assert "cars, bad: clip <7> broke" in markdown(found, [])


def test_the_command_writes_page_markdown_and_csv(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = some()
    for result in results:
        write_result(result, tmp_path)
    assert main([str(tmp_path)]) == 0
    assert "report.html" in capsys.readouterr().out
    with (tmp_path / "report.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    measured = {
        (row["protocol"], row["task"], row["model"], row["metric"]): row
        for row in rows
        if row["kind"] == "measured"
    }
    assert len(measured) == 4 * len(results)
    for result in results:
        row = measured[result.protocol, result.task, result.model, "f1"]
        assert float(row["low"]) == result.metrics["f1"]["low"]
    published = [row for row in rows if row["kind"] == "published"]
    assert len(published) == len(read_published())
    assert all(row["source"] for row in published)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    measured_part, published_part = text.split("## Published figures")
    assert "ATST" not in measured_part
    assert "not measured" in published_part


def test_an_empty_folder_is_one_line_and_exit_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    assert not (tmp_path / "report.html").exists()
