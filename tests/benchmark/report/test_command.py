"""`python -m benchmark.report` writes four files whole, and leaves bad files out by name."""

import csv
import dataclasses
import json
import os
from pathlib import Path

import pytest

from benchmark.report.__main__ import main
from benchmark.report.published import read_published
from benchmark.results.schema import write_result
from tests.benchmark.made_results import made, some


def test_it_writes_page_markdown_csv_and_latex(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = [*some(), made("esc50", "good", 0.5)]
    for result in results:
        write_result(result, tmp_path)
    assert main([str(tmp_path)]) == 0
    assert "report.html" in capsys.readouterr().out
    with (tmp_path / "report.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    measured = {
        (row["protocol"], row["task"], row["row"], row["column"]): row
        for row in rows
        if row["kind"] == "measured"
    }
    for result in results:
        row = measured[result.protocol, result.task, result.model, "F1"]
        assert float(row["low"]) == result.metrics["f1"]["low"]
    published = [row for row in rows if row["kind"] == "published" and row["value"]]
    assert len(published) == len([f for f in read_published() if f.task == "esc50"])
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    measured_part, published_part = text.split("## Published figures")
    assert "ATST" not in measured_part
    assert "not measured" in published_part
    assert r"\begin{tabular}" in (tmp_path / "report.tex").read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.glob("report.*")) == [
        f"report.{suffix}" for suffix in ("csv", "html", "md", "tex")
    ]


def test_an_empty_folder_is_one_line_and_exit_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 1
    line = capsys.readouterr().err
    assert line.startswith("error: ")
    assert line.count("\n") == 1
    assert not (tmp_path / "report.html").exists()


def test_files_that_are_no_results_and_newer_ones_are_named_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_result(made("birds", "good", 0.5), tmp_path)
    newer = json.loads(path.read_text()) | {"schema": 999, "unheard_of": 1}
    bad = {
        "a--newer--x.json": json.dumps(newer),
        "a--cut--x.json": path.read_text()[:200],
        "a--list--x.json": "[]",
        "a--deep--x.json": "[" * 100_000,
        "a--empty--x.json": "",
        "a--binary--x.json": "\0\1",
    }
    for name, text in bad.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "notes.json").write_text("{}")
    assert main([str(tmp_path)]) == 0
    error = capsys.readouterr().err
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for name in bad:
        assert name in error
        assert name in page
    path.unlink()
    assert main([str(tmp_path)]) == 1


def test_scores_of_heareval_alone_make_a_report(tmp_path: Path) -> None:
    result = dataclasses.replace(
        made("birds", "good", 0.5),
        unit="own",
        metric="mAP",
        metrics={"mAP": {"value": 0.25}},
        folds=[{"name": "test", "metrics": {"mAP": {"value": 0.25}}}],
        predictions={},
    )
    write_result(result, tmp_path)
    assert main([str(tmp_path)]) == 0
    assert "0.250" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_link_at_the_place_of_the_page_is_replaced_and_not_followed(tmp_path: Path) -> None:
    write_result(made("birds", "good", 0.5), tmp_path)
    (tmp_path / "victim").write_text("mine")
    os.symlink(tmp_path / "victim", tmp_path / "report.html")
    assert main([str(tmp_path)]) == 0
    assert (tmp_path / "victim").read_text() == "mine"
    assert not (tmp_path / "report.html").is_symlink()
