"""HEAR task folders from strangers: each fault is one line that names the file."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmark.data.clip import TaskDataError
from benchmark.data.hear_catalogue import resolve
from benchmark.data.hear_folder import read_task

METADATA = {
    "task_name": "beeps",
    "version": "1.0",
    "embedding_type": "scene",
    "prediction_type": "multiclass",
    "split_mode": "trainvaltest",
    "sample_duration": 0.5,
    "evaluation": ["top1_acc"],
    "splits": ["train", "valid", "test"],
}
EVENTS: dict[str, Any] = {"embedding_type": "event", "prediction_type": "multilabel"}


def write(folder: Path, content: dict, rate: int = 44100, **changes: Any) -> Path:
    """A task of two labels and the given splits, with a tone for every clip at one rate."""
    folder.mkdir(parents=True)
    (folder / "task_metadata.json").write_text(json.dumps(METADATA | changes))
    with (folder / "labelvocabulary.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("idx", "label"), (1, "high"), (0, "low")])
    for split, clips in content.items():
        (folder / f"{split}.json").write_text(json.dumps(clips))
        (folder / str(rate) / split).mkdir(parents=True)
        for number, name in enumerate(clips):
            tone = np.sin(2 * np.pi * 440 * (1 + number) * np.arange(rate // 2) / rate)
            if "/" not in name:
                soundfile.write(folder / str(rate) / split / name, 0.5 * tone, rate)
    return folder


def small(**train: list) -> dict:
    pair = {"a.wav": ["low"], "b.wav": ["high"]}
    return {"train": pair | {f"{k}.wav": v for k, v in train.items()}, "valid": pair, "test": pair}


def test_a_good_folder_is_read_as_it_is(tmp_path: Path) -> None:
    task = read_task(write(tmp_path / "beeps-1.0-small", small(c=["high"])))
    assert (task.name, task.embedding, task.metrics) == ("beeps", "scene", ("top1_acc",))
    assert task.labels == ("low", "high")
    assert list(task.clips) == ["train", "valid", "test"]
    assert task.clips["train"]["c.wav"] == ["high"]
    assert task.count == 7


def text(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "task_metadata.json").unlink(), "task_metadata.json: cannot"),
        (text("task_metadata.json", "{"), "not valid JSON"),
        (text("task_metadata.json", "[" * 100_000), "not valid JSON"),
        (text("task_metadata.json", "[]"), "no JSON object"),
        (text("train.json", '{"a.wav": ["low"'), r"train.json: is not valid JSON"),
        (text("train.json", "{}"), "lists no clip"),
        (text("train.json", '{"../a.wav": ["low"]}'), "'../a.wav' is not a plain file name"),
        (text("train.json", '{"..": ["low"]}'), "'..' is not a plain file name"),
        (text("train.json", '{"/etc/passwd": ["low"]}'), "not a plain file name"),
        (text("train.json", '{"a\\\\b.wav": ["low"]}'), "not a plain file name"),
        (text("train.json", '{"a.wav": "low"}'), "a.wav has no list"),
        (text("train.json", '{"a.wav": ["mid"]}'), "label 'mid', which labelvocabulary.csv"),
        (text("train.json", '{"a.wav": []}'), "a.wav has 0 labels"),
        (text("train.json", '{"a.wav": ["low", "high"]}'), "a.wav has 2 labels"),
        (text("labelvocabulary.csv", "idx,label\n0,low\n2,high\n"), "idx must count from 0"),
        (text("labelvocabulary.csv", "idx,label\n0,low\n1,low\n"), "a label is listed twice"),
        (text("labelvocabulary.csv", "name\nlow\n"), "lacks the column idx, label"),
    ],
)
def test_a_broken_folder_is_one_line_with_the_file(
    tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    folder = write(tmp_path / "beeps-1.0-small", small())
    damage(folder)
    with pytest.raises(TaskDataError, match=message) as caught:
        read_task(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embedding_type": "smell"}, "embedding_type is 'smell', not scene or event"),
        ({"embedding_type": None}, "embedding_type is None"),
        ({"split_mode": "none"}, "split_mode is 'none'"),
        ({"splits": ["train", "../../x", "test"]}, "'../../x' is not a plain file name"),
        ({"splits": ["train", "test"]}, "splits are train, test, not"),
        ({"splits": "train"}, "give a list of names"),
        ({"evaluation": ["taste"]}, "'taste', which heareval does not have"),
        ({"sample_duration": -1}, "sample_duration is -1"),
        ({"task_name": ""}, "task_name is ''"),
        ({"embedding_type": "event"}, "an event task must be multilabel"),
    ],
)
def test_metadata_that_make_no_sense_are_named(tmp_path: Path, changes: dict, message: str) -> None:
    folder = write(tmp_path / "beeps-1.0-small", small(), **changes)
    with pytest.raises(TaskDataError, match=message):
        read_task(folder)


@pytest.mark.parametrize(
    "event",
    [
        {"label": "low", "start": 5, "end": 4},
        {"label": "low", "start": -5, "end": 4},
        {"label": "low", "start": "0", "end": 4},
        {"label": "low", "start": 0, "end": float("nan")},
        {"start": 0, "end": 4},
        "low",
    ],
)
def test_an_event_needs_a_label_and_a_span(tmp_path: Path, event: object) -> None:
    folder = write(tmp_path / "beeps-1.0-small", small(), **EVENTS)
    for split in ("train", "valid", "test"):
        (folder / f"{split}.json").write_text(json.dumps({"a.wav": [event]}))
    with pytest.raises(TaskDataError, match=r"a\.wav has .*; an event needs"):
        read_task(folder)


def test_names_find_folders_and_never_leave_the_tasks(tmp_path: Path) -> None:
    for name in ("esc50-v2.0.0-full", "esc50-v2.0.0-5h", "beeps-1.0-small"):
        write(tmp_path / "tasks" / name, small())
    write(tmp_path / "outside-1.0-full", small())
    result = {
        name: [path.name for path in resolve([name], tmp_path)[0]]
        for name in ("all", "esc50", "esc50-v2.0.0-5h", "beeps", "libricount", "../outside", "*")
    }
    assert result == {
        "all": ["beeps-1.0-small", "esc50-v2.0.0-5h", "esc50-v2.0.0-full"],
        "esc50": ["esc50-v2.0.0-full"],
        "esc50-v2.0.0-5h": ["esc50-v2.0.0-5h"],
        "beeps": ["beeps-1.0-small"],
        "libricount": [],
        "../outside": [],
        "*": [],
    }
    assert resolve(["all"], tmp_path / "tasks")[0] == resolve(["all"], tmp_path)[0]
    assert "libricount-*-full" in resolve(["libricount"], tmp_path)[1]["libricount"]
    with pytest.raises(TaskDataError, match="no such folder"):
        resolve(["all"], tmp_path / "nowhere")


def test_an_archive_may_be_left_as_it_unpacks(tmp_path: Path) -> None:
    write(tmp_path / "hear-2021.0.6" / "tasks" / "beeps-1.0-small", small())
    folders, absent = resolve(["beeps"], tmp_path)
    assert [folder.name for folder in folders] == ["beeps-1.0-small"]
    assert absent == {}
    assert resolve(["beeps"], tmp_path / "hear-2021.0.6") == (folders, absent)
