"""Labeled files of one's own: splits as given or drawn, and every fault with its line."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from wavebyol_hear.files.labels import LabeledFiles, read_labels, stratified_folds
from wavebyol_hear.files.tables import TableError


def table(folder: Path, text: str) -> Path:
    """Write a table, and an empty file for each path in it that has none."""
    path = folder / "labels.csv"
    path.write_text(text)
    for line in text.splitlines()[1:]:
        name = line.partition(",")[0]
        if name and name != "gone.wav":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
    return path


def splits_of(files: LabeledFiles) -> dict[str, str]:
    """Return the split of each path."""
    return {file.path: file.split for file in files.files}


def test_folds_are_drawn_that_are_even_and_keep_groups_whole(tmp_path: Path) -> None:
    rows = [f"{i}.wav,{'dog' if i % 2 else 'cat'},g{i // 4}" for i in range(80)]
    files = read_labels(table(tmp_path, "path,label,group\n" + "\n".join(rows)))
    assert not files.fixed
    assert files.classes == ("cat", "dog")
    assert "5 folds were drawn" in files.note
    sides: dict[str, set[str]] = {}
    for file in files.files:
        sides.setdefault(file.group, set()).add(file.split)
    assert all(len(side) == 1 for side in sides.values())
    assert set(Counter((f.split, f.labels[0]) for f in files.files).values()) == {8}


def test_the_same_table_gives_the_same_folds_and_another_seed_others(tmp_path: Path) -> None:
    path = table(tmp_path, "path,label\n" + "\n".join(f"{i}.wav,c{i % 3}" for i in range(60)))
    assert read_labels(path) == read_labels(path)
    assert splits_of(read_labels(path)) != splits_of(read_labels(path, seed=1))


def test_train_and_test_get_a_validation_part_from_the_training_clips(tmp_path: Path) -> None:
    rows = [f"{i}.wav,c{i % 2},{'Train' if i < 40 else 'test'}" for i in range(50)]
    files = read_labels(table(tmp_path, "path,label,split\n" + "\n".join(rows)))
    counts = Counter(splits_of(files).values())
    assert counts == {"train": 32, "valid": 8, "test": 10}
    assert {f.path for f in files.files if f.split == "test"} == {f"{i}.wav" for i in range(40, 50)}


def test_class_folders_are_read_at_any_depth(tmp_path: Path) -> None:
    for name in ("dog/a.wav", "dog/b/c.flac", "cat/d.mp3", "cat/e.ogg", "cat/._e.ogg", "cat/t.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for i in range(4):
        (tmp_path / "dog" / f"{i}.wav").touch()
        (tmp_path / "cat" / f"{i}.wav").touch()
    files = read_labels(tmp_path)
    labels = {file.path: file.labels[0] for file in files.files}
    assert {"dog/a.wav", "dog/b/c.flac", "cat/d.mp3", "cat/e.ogg"} <= labels.keys()
    assert len(labels) == 12
    assert labels["dog/b/c.flac"] == "dog"


def test_several_labels_per_clip(tmp_path: Path) -> None:
    rows = ["a.wav,dog;bark", "b.wav,bark", "c.wav,dog", "d.wav,dog; bark"]
    files = read_labels(table(tmp_path, "path,label\n" + "\n".join(rows)))
    assert files.multilabel
    assert files.classes == ("bark", "dog")
    assert files.targets().tolist() == [[True, True], [True, False], [False, True], [True, True]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\n", "holds no labeled audio file"),
        ("path,label\na.wav,x\nb.wav,x\n", "the only class is 'x'"),
        ("path,label\na.wav,x\nb.wav,\n", "line 3: the label is ''; name the class"),
        ("path,label\na.wav,x\n,y\n", "line 3: no path"),
        ("path,label\na.wav,x\na.wav,y\n", r"line 3: a.wav is listed before \(line 2\)"),
        ("path,label\na.wav,x\n./a.wav,y\n", r"line 3: ./a.wav is listed before \(line 2\)"),
        ("path,label\na.wav,x\ngone.wav,y\n", "line 3: no file .*gone.wav; correct the path"),
        ("path,label\na.wav,x\nb.wav,x\nc.wav,y\n", "line 4: the class 'y' has one clip or group"),
        ("path,label,split,fold\na.wav,x,train,1\n", "a column split and a column fold"),
        ("path,label,split\na.wav,x,left\n", "line 2: split 'left' is not train, valid or test"),
        ("path,label,fold\na.wav,x,\n", "line 2: no fold"),
        (
            "path,label,fold\na.wav,x,1\nb.wav,x,2\nc.wav,y,1\nd.wav,y,2\n",
            "folds need three or more",
        ),
        (
            "path,label,fold\na.wav,x,1\nb.wav,x,2\nc.wav,x,3\nd.wav,y,3\ne.wav,y,3\n",
            "line 5: the class 'y' is in fold '3' only, so that it is never trained on when",
        ),
        (
            "path,label,split\na.wav,x,train\nb.wav,x,train\nc.wav,y,train\nd.wav,y,train\n",
            "no clip has the split test",
        ),
        (
            "path,label,split\na.wav,x,train\nb.wav,x,test\nc.wav,y,test\nd.wav,y,test\ne.wav,x,valid",
            "line 4: the class 'y' is in the test part only",
        ),
        (
            "path,label,fold,group\na.wav,x,1,g\nb.wav,x,2,g\nc.wav,y,3,h\nd.wav,y,3,i\ne.wav,x,3,k",
            "line 3: group 'g' is in 1 and in 2; put all its clips on one side",
        ),
        (
            "path,label,split,group\na.wav,x,train,g\nb.wav,x,test,g\nc.wav,y,train,h\n"
            "d.wav,y,test,i\ne.wav,x,train,k",
            "line 3: group 'g' is in train and in test; put all its clips on one side",
        ),
    ],
)
def test_faults_are_named_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TableError, match=message) as caught:
        read_labels(table(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_missing_files_are_counted(tmp_path: Path) -> None:
    path = table(tmp_path, "path,label\na.wav,x\nb.wav,y\nc.wav,x\nd.wav,y\n")
    for name in ("b.wav", "c.wav", "d.wav"):
        (tmp_path / name).unlink()
    with pytest.raises(TableError, match=r"line 3: no file .*b\.wav \(and 2 more files\); correct"):
        read_labels(path)


def test_one_file_by_two_names_is_a_fault(tmp_path: Path) -> None:
    """By a linked folder, it would be trained on and tested."""
    (tmp_path / "linked").symlink_to(tmp_path)
    path = table(tmp_path, "path,label\na.wav,x\nb.wav,y\nlinked/a.wav,x\n")
    with pytest.raises(TableError, match=r"line 4: linked/a.wav is listed before \(line 2\)"):
        read_labels(path)


def test_folds_are_as_even_as_scikit_learns() -> None:
    model_selection = pytest.importorskip("sklearn.model_selection")
    random = np.random.default_rng(0)
    labels = random.integers(0, 6, 600)
    groups = random.integers(0, 90, 600)
    targets = np.eye(6, dtype=bool)[labels]
    ours = stratified_folds(targets, [f"g{i}" for i in groups], 5, seed=0)
    theirs = np.empty(600, dtype=np.int64)
    splitter = model_selection.StratifiedGroupKFold(5)
    for fold, (_, rows) in enumerate(splitter.split(labels, labels, groups)):
        theirs[rows] = fold
    deviation = [
        np.stack([targets[folds == f].sum(0) for f in range(5)]).std(0).sum()
        for folds in (ours, theirs)
    ]
    assert deviation[0] <= 1.1 * deviation[1]
