"""Scores on spoilt clips stand beside clean ones, everywhere, and never as a score of their own."""

import csv
import dataclasses
import io
import json
from pathlib import Path

from benchmark.report.board import boards
from benchmark.report.page import page
from benchmark.report.robust_table import robust_tables
from benchmark.report.text import comma_separated, markdown
from benchmark.results.schema import Result, read_result, write_result
from tests.benchmark.made_results import BASE, made


def spoilt(result: Result, **values: float) -> Result:
    """The result with a made-up accuracy by corruption, its dot written "_"."""
    clean = result.metrics["accuracy"]["value"]
    corrupted = {}
    for name, value in values.items():
        interval = {"value": value, "low": value - 2, "high": value + 2}
        lost = {"value": value - clean, "low": value - clean - 1, "high": value - clean + 1}
        corrupted[name.replace("_", ":")] = {
            "n_clips": 400,
            "metrics": dict.fromkeys(("accuracy", "precision", "recall", "f1"), interval),
            "difference": lost | {"p": 0.01},
        }
    return dataclasses.replace(result, corrupted=corrupted)


def some() -> list[Result]:
    return [
        spoilt(made("birds", BASE, 0.5), noise_20=33.25, clip_10=44.5),
        spoilt(made("birds", "good", 0.8), noise_20=71.75),
        made("cars", "good", 0.6),
    ]


def test_a_row_a_model_and_a_column_a_corruption() -> None:
    results = some()
    text = robust_tables(results)
    lines = text.splitlines()
    good, base = (next(x for x in lines if x.startswith(m)) for m in ("good", BASE))
    lost = 71.75 - results[1].metrics["accuracy"]["value"]
    assert f"71.8 ({lost:+.1f}: {lost - 1:+.1f} to {lost + 1:+.1f})" in good
    assert good.split()[-1] == "-"
    assert "33.2" in base
    assert "44.5" in base
    assert "cars" not in text
    assert "noise:20 = pink noise, SNR 20 dB" in text
    assert robust_tables([results[2]]) == ""


def test_page_markdown_and_csv_show_it_apart() -> None:
    found = boards(some())
    text = page(found, [], {})
    before, section = text.split('<h2 id="robustness">')
    section = section.split("<h2")[0]
    for told in ("71.8", "33.2", "44.5", "noise:20", "SNR 20 dB"):
        assert told in section
    assert "33.2" not in before.split("<h2")[1]
    assert '<a href="#robustness">' in text
    assert "## Robustness" in markdown(found, [])
    rows = list(csv.DictReader(io.StringIO(comma_separated(found, []))))
    lines = [r for r in rows if r["kind"] == "corrupted" and r["metric"] == "accuracy"]
    assert {(r["model"], r["corruption"]): float(r["value"]) for r in lines} == {
        (BASE, "noise:20"): 33.25,
        (BASE, "clip:10"): 44.5,
        ("good", "noise:20"): 71.75,
    }
    assert all(float(r["difference_low"]) < float(r["difference"]) for r in lines)
    assert not any(r["corruption"] for r in rows if r["kind"] == "measured")


def test_without_corruptions_there_is_no_section() -> None:
    found = boards([made("birds", BASE, 0.5)])
    assert "obustness" not in page(found, [], {})
    assert "obustness" not in markdown(found, [])


def test_it_survives_the_disk_and_files_of_earlier_versions_are_read(tmp_path: Path) -> None:
    result = some()[0]
    path = write_result(result, tmp_path)
    assert read_result(path) == result
    values = json.loads(path.read_text())
    del values["corrupted"]
    path.write_text(json.dumps(values))
    assert read_result(path).corrupted == {}
