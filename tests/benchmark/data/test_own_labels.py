"""Labels of the user are measured like a published task, from a table or from class folders."""

import csv
import shutil
from pathlib import Path

import pytest

from benchmark import run
from benchmark.data.registry import own_task
from benchmark.report.scores import hear_tables
from benchmark.results.schema import read_results

LOG_MEL = "baselines.log_mel"


def listed(esc50_root: Path) -> list[dict[str, str]]:
    """Return the rows of the corpus's official table."""
    with next(esc50_root.rglob("esc50.csv")).open(newline="") as lines:
        return list(csv.DictReader(lines))


def call(tmp_path: Path, *more: str) -> int:
    """Run the benchmark of the log-mel baseline."""
    where = ["--data-dir", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    where += ["--cache-dir", str(tmp_path / "cache")]  # the corpus is that of other tests, too
    return run.main([*where, "--models", LOG_MEL, "--workers", "0", "--device", "cpu", *more])


def test_a_table_with_the_official_folds_scores_as_the_official_task(
    esc50_root: Path, tmp_path: Path
) -> None:
    audio = next(esc50_root.rglob("audio"))
    table = tmp_path / "sounds.csv"
    rows = [f"{audio / r['filename']};{r['category']};{r['fold']}" for r in listed(esc50_root)]
    table.write_bytes("\r\n".join(["path;label;fold", *rows]).encode("utf-16"))
    official = ["--tasks", "esc50", "--allow-partial", "--csv", str(table)]
    assert call(tmp_path, "--data-dir", str(esc50_root.parent), *official) == 0
    results = {result.task: result for result in read_results(tmp_path / "out")}
    own, esc50 = results["sounds"], results["esc50"]
    assert own.metrics["accuracy"]["value"] == esc50.metrics["accuracy"]["value"]
    assert [fold["n_test"] for fold in own.folds] == [12] * 5
    assert "folds as in sounds.csv" in " ".join(own.notes)


def test_class_folders_are_measured_and_their_folds_are_said(
    esc50_root: Path, tmp_path: Path
) -> None:
    audio = next(esc50_root.rglob("audio"))
    for row in listed(esc50_root):
        target = tmp_path / "my sounds" / row["category"] / row["filename"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(audio / row["filename"], target)
    before = sorted((tmp_path / "my sounds").rglob("*"))
    assert call(tmp_path, "--folder", str(tmp_path / "my sounds")) == 0
    assert sorted((tmp_path / "my sounds").rglob("*")) == before  # the cache is elsewhere
    assert list((tmp_path / "cache").glob("my_sounds-*"))
    (result,) = read_results(tmp_path / "out")
    assert result.task == "my_sounds"
    assert result.n_clips == 60
    assert result.partial is None
    assert result.metrics["accuracy"]["low"] > 30
    assert "5 folds were drawn" in " ".join(result.notes)


def test_a_fault_in_the_labels_is_one_line_before_any_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("path,label\nabsent.wav,dog\n")
    assert call(tmp_path, "--csv", str(table), "--models", "no_such_module") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{table}, line 2: no file" in error


def test_results_of_another_table_of_the_same_name_are_not_replaced(
    esc50_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    audio = next(esc50_root.rglob("audio"))
    rows = [f"{audio / r['filename']},{r['category']}" for r in listed(esc50_root)]
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "labels.csv").write_text("\n".join(["path,label", *rows]))
    assert call(tmp_path, "--csv", str(tmp_path / "one" / "labels.csv")) == 0
    (first,) = read_results(tmp_path / "out")
    capsys.readouterr()
    assert call(tmp_path, "--csv", str(tmp_path / "two" / "labels.csv")) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "give another --out, or rename" in error
    assert read_results(tmp_path / "out") == [first]
    (tmp_path / "one" / "labels.csv").write_text("\n".join(["path,label", *rows[1:]]))
    assert call(tmp_path, "--csv", str(tmp_path / "one" / "labels.csv")) == 0  # an edited table
    assert read_results(tmp_path / "out")[0].n_listed == first.n_listed - 1


def test_a_name_of_a_published_task_is_not_taken(tmp_path: Path) -> None:
    table = tmp_path / "esc50.csv"
    for i in range(8):
        (tmp_path / f"{i}.wav").touch()
    table.write_text("path,label\n" + "\n".join(f"{i}.wav,c{i % 2}" for i in range(8)))
    assert own_task(table).name == "esc50_labels"


def test_a_path_through_a_link_and_up_is_read_as_the_disk_has_it(tmp_path: Path) -> None:
    (tmp_path / "other" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "other" / "deep")
    names = [f"{i}.wav" for i in range(8)]
    for name in names:
        (tmp_path / "other" / name).write_text("this one")
        (tmp_path / name).write_text("not this one")
    table = tmp_path / "mine.csv"
    table.write_text(
        "path,label\n" + "\n".join(f"link/../{n},c{i % 2}" for i, n in enumerate(names))
    )
    task = own_task(table)
    paths = [Path(str(task.folder), clip.path) for clip in task.index(tmp_path)]
    assert {path.read_text() for path in paths} == {"this one"}


def test_clips_of_several_labels_that_cannot_be_used_are_counted(
    esc50_root: Path, tmp_path: Path
) -> None:
    audio = next(esc50_root.rglob("audio"))
    rows = [f"{audio / r['filename']},{r['category']};all" for r in listed(esc50_root)]
    rows = [row.replace(";all", ";some") if i % 2 else row for i, row in enumerate(rows)]
    for name in ("x.wav", "y.wav"):
        (tmp_path / name).write_text("no audio")
    (tmp_path / "many.csv").write_text(
        "\n".join(["path,label", *rows, "x.wav,all;some", "y.wav,all"])
    )
    assert call(tmp_path, "--csv", str(tmp_path / "many.csv"), "--allow-partial") == 0
    (result,) = read_results(tmp_path / "out")
    assert (result.n_clips, result.n_listed) == (60, 62)
    assert [bad["clip"] for bad in result.bad_clips] == ["x.wav", "y.wav"]
    assert "2 of 62 clips cannot be used" in str(result.partial)
    (table,) = hear_tables([result])
    assert table.rows[0][1].tags == ("partial",)
    assert any("2 of 62 clips could not be used" in note for note in table.notes)


def test_several_labels_per_clip_are_ranked_whatever_the_order_of_the_table(
    esc50_root: Path, tmp_path: Path
) -> None:
    """Each clip has its own label and one that half of all clips have."""
    audio = next(esc50_root.rglob("audio"))
    kinds = sorted({row["category"] for row in listed(esc50_root)})
    half = {kind: ("even", "odd")[number % 2] for number, kind in enumerate(kinds)}
    rows = [
        f"{audio / row['filename']},{row['category']};{half[row['category']]}"
        for row in listed(esc50_root)
    ]
    for name, lines in (("one", rows), ("two", rows[::-1])):
        (tmp_path / f"{name}.csv").write_text("\n".join(["path,label", *lines]))
    tables = [word for name in ("one", "two") for word in ("--csv", str(tmp_path / f"{name}.csv"))]
    assert call(tmp_path, *tables) == 0
    one, two = read_results(tmp_path / "out")
    assert one.protocol == "multilabel-2"
    assert one.metrics["mAP"]["value"] == pytest.approx(two.metrics["mAP"]["value"], abs=0.02)
    assert one.metrics["mAP"]["low"] > 0.5
