"""Scores of heareval: read strictly, kept apart from our results, shown as on the leaderboard."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from benchmark import leaderboard as hear_board
from benchmark.data.hear_catalogue import known_tasks
from benchmark.hear_scores import HearScore, finite_measures, means, read_score, write_score
from benchmark.hear_scores import read_scores as read_written
from benchmark.heareval.predict import SCORES, HearevalError, protocol, read_scores
from benchmark.heareval.published import PublishedRow, read_leaderboard
from benchmark.leaderboard import board
from benchmark.report.published import PublishedError, read_published
from benchmark.report.render import TableError
from benchmark.results.schema import ResultError, read_results

LEFT = {
    "fold00": {"test_loss": 3.0, "test_score": 0.5, "test_top1_acc": 0.5, "epoch": 3},
    "fold01": {"test_loss": 2.0, "test_score": 0.75, "test_top1_acc": 0.75, "epoch": 9},
    "aggregated_scores": {"test_score_mean": 0.625},
    "hparams": {"lr": 0.001},
    "postprocessing": [],
    "score_mode": "max",
}


def made(task: str, model: str, value: float, **changes: object) -> HearScore:
    values = {
        "task": task,
        "known": None,
        "model": model,
        "protocol": protocol("default"),
        "metric": "top1_acc",
        "n_clips": 10,
        "metrics": {"top1_acc": {"mean": value, "deviation": None}},
        "folds": {"test": {"top1_acc": value}},
        "hyperparameters": {},
        "untrained": False,
        "notes": [],
        "provenance": {},
    }
    return HearScore(**(values | changes))


def test_heareval_s_file_is_read_and_its_means_are_ours(tmp_path: Path) -> None:
    (tmp_path / SCORES).write_text(json.dumps(LEFT))
    found = read_scores(tmp_path)
    assert found.folds == {"fold00": {"top1_acc": 0.5}, "fold01": {"top1_acc": 0.75}}
    assert found.hyperparameters == {"lr": 0.001}
    mean = means(found.folds)["top1_acc"]
    assert mean["mean"] == pytest.approx(0.625)
    assert mean["deviation"] == pytest.approx(np.std([0.5, 0.75], ddof=1))
    assert means({"test": {"mAP": 0.25}}) == {"mAP": {"mean": 0.25, "deviation": None}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no scores"),
        ("{}", "holds no scores"),
        ('{"test": {"test_score": NaN, "test_mAP": null}}', "mAP of test is None, no number"),
        ('{"test": {"test_score": 1, "test_mAP": "1"}}', "mAP of test is '1', no number"),
    ],
)
def test_a_scores_file_without_numbers_is_an_error(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / SCORES).write_text(content)
    with pytest.raises(HearevalError, match=message):
        read_scores(tmp_path)


def test_an_infinite_measure_is_left_out_and_the_others_stay(tmp_path: Path) -> None:
    # As heareval leaves them where one class of a small fold is ranked without a mistake.
    (tmp_path / SCORES).write_text(
        '{"fold00": {"test_score": 0.5, "test_top1_acc": 0.5, "test_d_prime": Infinity},'
        ' "fold01": {"test_score": 0.7, "test_top1_acc": 0.7, "test_d_prime": 2.5}}'
    )
    folds, dropped = finite_measures(read_scores(tmp_path).folds)
    assert folds == {"fold00": {"top1_acc": 0.5}, "fold01": {"top1_acc": 0.7}}
    assert dropped == ["d_prime"]


def test_another_grid_is_another_protocol() -> None:
    assert protocol("default") == "heareval-2021.1.3"
    names = {protocol(grid, points) for grid in ("default", "fast", "faster") for points in (1, 8)}
    assert len(names) == 6


def test_a_score_comes_back_as_it_was_and_no_result_reader_sees_it(tmp_path: Path) -> None:
    score = made("esc50-v2.0.0-full", "some.module:/a/b.pt", 0.5, known="esc50", notes=["n"])
    path = write_score(score, tmp_path)
    assert path.parent != tmp_path
    assert read_written(tmp_path) == [score]
    with pytest.raises(ResultError, match="holds no result"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no JSON score"),
        ("[]", "no score of heareval's"),
        ('{"task": "a"}', "no score of heareval's"),
    ],
)
def test_a_damaged_score_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "a--b--c.json"
    path.write_text(content)
    with pytest.raises(ResultError, match=message) as caught:
        read_score(path)
    assert str(path) in str(caught.value)
    values = dataclasses.asdict(made("a", "b", 0.5)) | {"metric": "absent"}
    path.write_text(json.dumps(values))
    with pytest.raises(ResultError, match="lack absent"):
        read_score(path)
    with pytest.raises(ResultError, match="Out of range"):
        write_score(made("a", "b", float("nan")), tmp_path)


def test_published_rows_stand_beside_the_default_grid_on_the_full_task_only() -> None:
    rows = [
        PublishedRow("theirs", "a paper", {"esc50": 0.25}),
        PublishedRow("other", "b paper", {"fsd50k": 0.5}),
    ]
    full = made("esc50-v2.0.0-full", "ours", 0.125, known="esc50")
    text = board([full], rows)
    assert "ESC-50: ESC-50; scene, multiclass, 5-fold, 2000 clips of 5.0 s, Accuracy" in text
    assert "0.125" in text
    assert "theirs (published)  0.250" in text
    assert "(published): a paper" in text
    assert "other" not in text
    part = dataclasses.replace(full, task="esc50-v2.0.0-5h", known=None)
    quick = dataclasses.replace(full, protocol=protocol("faster"))
    for alone in (part, quick):
        assert "published" not in board([alone], rows)
    both = board([full, quick], rows)
    assert both.index("heareval-2021.1.3-faster") > both.index("theirs")
    with pytest.raises(TableError, match="two scores of ours"):
        board([full, dataclasses.replace(full, task="esc50-v3-full")], rows)


def test_a_column_a_task_a_row_a_model_and_a_dash_for_what_is_not_there() -> None:
    scores = [made("a-1-small", "x", 0.1), made("b-1-small", "y", 0.2, untrained=True)]
    lines = board(scores, markdown=True).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert table == [
        "| model | a-1-small (top1_acc) | b-1-small (top1_acc) |",
        "| --- | --- | --- |",
        "| x | 0.100 | - |",
        "| y (untrained) | - | 0.200 |",
    ]


def test_the_19_tasks_are_those_hear_lists() -> None:
    tasks = known_tasks()
    assert len(tasks) == len({task.short for task in tasks.values()}) == 19
    assert sum(task.clips for task in tasks.values()) == 266_608
    assert {name for name, task in tasks.items() if task.embedding == "event"} == {
        "dcase2016_task2",
        "maestro_5h",
    }
    assert {name for name, task in tasks.items() if task.prediction == "multilabel"} == {
        "dcase2016_task2",
        "maestro_5h",
        "fsd50k",
    }


def test_published_scores_agree_with_the_other_table_of_published_figures() -> None:
    rows = {row.model: row for row in read_leaderboard()}
    names = {"BYOL-S (SERAB)": "Logitech AI SERAB BYOL-S", "WavJEPA-base": "WavJEPA-base"}
    both = [figure for figure in read_published() if figure.task.startswith("hear:")]
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
        ("0.5,", "1.5,", "no fraction"),
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
    write_score(made("esc50-v2.0.0-full", "ours", 0.4321, known="esc50"), tmp_path)
    write_score(made("beeps-1-small", "ours", 0.9, protocol="frames-1"), tmp_path)
    assert hear_board.main([str(tmp_path), "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    other, head = (line for line in lines if line.startswith("| model"))
    assert other == "| model | beeps-1-small (top1_acc) |"
    for task in known_tasks().values():
        assert f" {task.short} |" in head
        assert sum(task.line in line for line in lines) == 1
    assert any("| ours |" in line and "0.432" in line for line in lines)
    assert sum("(published) |" in line for line in lines) == len(read_leaderboard())
    (tmp_path / "hear" / "a--b--c.json").write_text("{")
    assert hear_board.main([str(tmp_path)]) == 1
    assert hear_board.main([str(tmp_path / "nowhere")]) == 1
