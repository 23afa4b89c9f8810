"""Scores in HEAR's own measures, laid out as on the leaderboard, apart from our own results."""

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmark import leaderboard as hear_board
from benchmark.data.hear_catalogue import TABLE, known_tasks
from benchmark.heareval.predict import protocol
from benchmark.report.published import (
    PublishedError,
    PublishedRow,
    read_leaderboard,
    read_published,
)
from benchmark.report.render import to_markdown, to_text
from benchmark.report.scores import hear_tables
from benchmark.report.table import TableError
from benchmark.results.schema import Result, write_result


def made(task: str, model: str, value: float, **changes: Any) -> Result:
    values: dict[str, Any] = {
        "task": task,
        "model": model,
        "protocol": protocol("default"),
        "metric": "top1_acc",
        "unit": "own",
        "n_clips": 10,
        "metrics": {"top1_acc": {"value": value}},
        "folds": [{"name": "test", "metrics": {"top1_acc": {"value": value}}}],
        "untrained": False,
        "notes": [],
        "provenance": {},
    }
    return Result(**(values | changes))


def leaderboard(results: list[Result], published: Sequence[PublishedRow] = ()) -> str:
    return "\n\n".join(map(to_text, hear_tables(results, published)))


def test_another_grid_is_another_protocol() -> None:
    assert protocol("default") == "heareval-2021.1.3"
    names = {protocol(grid, points) for grid in ("default", "fast", "faster") for points in (1, 8)}
    assert len(names) == 6


def test_published_rows_stand_beside_the_default_grid_on_the_full_task_only() -> None:
    rows = [
        PublishedRow("theirs", "a paper", {"esc50": 0.25}),
        PublishedRow("other", "b paper", {"fsd50k": 0.5}),
    ]
    full = made("esc50-v2.0.0-full", "ours", 0.125, hear_task="esc50")
    text = leaderboard([full], rows)
    assert "ESC-50: ESC-50; scene, multiclass, 5-fold, 2000 clips of 5.0 s, Accuracy" in text
    assert "0.125" in text
    assert "theirs (published) [2]       0.250" in text
    assert "[2] a paper" in text
    assert "other" not in text
    part = dataclasses.replace(full, task="esc50-v2.0.0-5h", hear_task=None)
    quick = dataclasses.replace(full, protocol=protocol("faster"))
    for alone in (part, quick):
        assert "published" not in leaderboard([alone], rows)
    both = leaderboard([full, quick], rows)
    assert both.index("heareval-2021.1.3-faster") > both.index("theirs")
    with pytest.raises(TableError, match="two scores of ours"):
        leaderboard([full, dataclasses.replace(full, task="esc50-v3-full")], rows)


def test_one_column_per_task_one_row_per_model_and_a_dash_for_what_is_not_there() -> None:
    scores = [made("a-1-small", "x", 0.1), made("b-1-small", "y", 0.2, untrained=True)]
    (shown,) = hear_tables(scores)
    lines = to_markdown(shown).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert table == [
        "| Model | a-1-small (top1_acc) | b-1-small (top1_acc) |",
        "| --- | ---: | ---: |",
        "| y (untrained) | - | 0.200 |",
        "| x | 0.100 | - |",
    ]


def test_an_interval_has_three_digits_as_its_value_has() -> None:
    point = {"value": 0.5, "low": 0.4321, "high": 0.5678}
    text = leaderboard([made("a-1-small", "x", 0.5, metrics={"top1_acc": point})])
    assert "0.500 (0.432 to 0.568)" in text


def test_the_19_tasks_are_those_hear_lists() -> None:
    tasks = known_tasks()
    assert len(tasks) == len({task.short for task in tasks.values()}) == 19
    with TABLE.open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert sum(int(row["clips"]) for row in rows) == 266_608
    assert {row["name"] for row in rows if row["embedding"] == "event"} == {
        "dcase2016_task2",
        "maestro_5h",
    }
    assert {row["name"] for row in rows if row["prediction"] == "multilabel"} == {
        "dcase2016_task2",
        "maestro_5h",
        "fsd50k",
    }


def test_published_scores_agree_with_the_other_table_of_published_figures() -> None:
    rows = {row.model: row for row in read_leaderboard()}
    names = {"BYOL-S (SERAB)": "Logitech AI SERAB BYOL-S", "WavJEPA-base": "WavJEPA-base"}
    hear = [figure for figure in read_published() if figure.task.startswith("hear:")]
    both = [figure for figure in hear if figure.model in names]
    assert len(both) == 3
    for figure in both:
        score = rows[names[figure.model]].scores[figure.task.removeprefix("hear:")]
        assert 100 * score == pytest.approx(figure.score, abs=0.051)
    for wanted in ("OpenL3", "wav2vec2", "CREPE", "CP-JKU PaSST base"):
        assert len(rows[wanted].scores) >= 17
    assert all(row.source for row in rows.values())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("model,source", "model,origin", "columns must be"),
        ("0.5,", "x,", "could not convert"),
        ("0.5,", "1.5,", "score is 1.5; give a fraction"),
        ("a,s,", "a,,", "needs a model and a source"),
    ],
)
def test_published_rows_that_cannot_be_believed_are_refused(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    head = ",".join(["model", "source", *known_tasks()])
    path = tmp_path / "rows.csv"
    path.write_text(f"{head}\na,s,0.5,{',' * 17}\n".replace(old, new))
    with pytest.raises(PublishedError, match=message):
        read_leaderboard(path)


def test_the_leaderboard_command_shows_all_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    write_result(made("esc50-v2.0.0-full", "ours", 0.4321, hear_task="esc50"), tmp_path)
    write_result(made("beeps-1-small", "ours", 0.9, protocol="frames-1"), tmp_path)
    assert hear_board.main([str(tmp_path), "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    other, head = (line for line in lines if line.startswith("| Model"))
    assert other == "| Model | beeps-1-small (top1_acc) |"
    for task in known_tasks().values():
        assert f" {task.short} [" in head
        assert sum(task.line in line for line in lines) == 1
    assert any("| ours |" in line and "0.432" in line for line in lines)
    assert sum("(published) [" in line for line in lines) == len(read_leaderboard())
    (tmp_path / "a--b--c.json").write_text("{")
    assert hear_board.main([str(tmp_path)]) == 1
    assert hear_board.main([str(tmp_path / "nowhere")]) == 1
