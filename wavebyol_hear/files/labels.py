"""Labeled audio files of one's own: a CSV table or class folders, with drawn folds if need be."""

import os
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from wavebyol_hear.files.sources import AUDIO_SUFFIXES
from wavebyol_hear.files.tables import TableError, read_table

FOLDS = 5
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "val", "validation", "dev", "development"), "valid"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""Names of the parts of a fixed split."""
VALID_SHARE = 5
"""One in this many training clips validates where the table names train and test alone."""


@dataclass(frozen=True, slots=True)
class LabeledFile:
    """One audio file with its labels."""

    path: str  #: as the table has it, or relative to the class folders' parent
    labels: tuple[str, ...]  #: one or several class names
    split: str  #: train, valid or test, or the name of a fold
    group: str  #: files of one are on one side of every split; without groups, the path
    where: str  #: the table and line that name it, or the file itself, for messages


Rows = list[LabeledFile]


@dataclass(frozen=True)
class LabeledFiles:
    """All labeled files of a table or of class folders."""

    source: Path  #: the table or the folder
    root: Path  #: what the files' paths are relative to
    files: Rows  #: in the order of the table, or of the paths
    classes: tuple[str, ...]  #: names, sorted
    fixed: bool  #: whether the split is train, valid and test; False for folds
    note: str  #: how the split came about, one sentence for whoever reads the scores

    @property
    def multilabel(self) -> bool:
        """Whether a file has several labels."""
        return any(len(file.labels) > 1 for file in self.files)

    def targets(self) -> np.ndarray:
        """Return which file has which class, bool `[files, classes]`."""
        return _one_hot(self.files, self.classes)


def read_labels(
    source: str | Path, *, seed: int = 0, leave_out: Collection[str] = ()
) -> LabeledFiles:
    """Read a CSV table (`path,label` and optionally `split` or `fold`, `group`) or class folders.

    Paths in a table are relative to its folder. Several labels of a clip are separated by `;`.
    With `split`, the parts are train, valid and test; where none validates, one in five groups of
    the training part does. With `fold`, every fold is tested once. With neither, five folds are
    drawn (fewer where a class has fewer groups, at least three) that keep groups whole and classes
    evenly spread.

    Args:
        source: a CSV file, or a folder whose folders are named by their class; files below them,
            at any depth, are its clips.
        seed: random seed of the drawn folds.
        leave_out: paths of files to leave out, as `LabeledFile.path` has them.

    Raises:
        TableError: a file is missing or listed twice, a label is empty, a class cannot be both
            trained on and tested, a group is on two sides of the split: one line each, with file,
            line and remedy.
        OSError: the table or the folder cannot be read.
    """
    source = Path(source)
    if source.is_dir():
        rows, given, root = _class_folders(source), "", source
    else:
        rows, given = _table(source)
        root = source.parent
    rows = [row for row in rows if row.path not in leave_out]
    if not rows:
        raise TableError(
            f"{source}: holds no labeled audio file; give a CSV file with the columns path and "
            "label, or a folder of class folders"
        )
    groups = _by_class(rows, "group")
    if len(groups) < 2:
        raise TableError(f"{source}: the only class is {min(groups)!r}; two or more are needed")
    _check_classes(source, rows, groups)
    note = f"folds as in {source.name}"
    if not given:
        rows, note = _with_folds(source, rows, min(map(len, groups.values())), seed)
    _check_split(source, rows, fixed=given == "split")
    if given == "split":
        rows, note = _with_validation(source, rows, seed)
    return LabeledFiles(source, root, rows, tuple(sorted(groups)), given == "split", note)


def _by_class(rows: Rows, attribute: str) -> dict[str, set[str]]:
    """Return the groups, or the splits, that the files of each class are in."""
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for label in row.labels:
            found[label].add(getattr(row, attribute))
    return found


def _table(path: Path) -> tuple[Rows, str]:
    """Return the files that a table names, and which column gives the split."""
    rows, given, missing = [], "", []
    first: dict[str, str] = {}
    for line, row in read_table(path, ("path", "label"), ("split", "fold", "group")):
        here = f"{path}, line {line}"
        if {"split", "fold"} <= row.keys():
            raise TableError(f"{path}: has a column split and a column fold; keep one of them")
        given = next((name for name in ("split", "fold") if name in row), "")
        labels = tuple(dict.fromkeys(t.strip() for t in row["label"].split(";")))
        if not all(labels):
            raise TableError(f"{here}: the label is {row['label']!r}; name the class")
        if not row["path"]:
            raise TableError(f"{here}: no path; name the file")
        same = os.path.realpath(path.parent / row["path"])  # one file, however it is written
        if same in first:
            raise TableError(f"{here}: {row['path']} is listed before ({first[same]})")
        if not os.path.isfile(path.parent / row["path"]):
            missing.append(f"{here}: no file {path.parent / row['path']}")
        split = row.get(given, "")
        if given == "split" and split.lower() not in PARTS:
            raise TableError(f"{here}: split {split!r} is not train, valid or test; correct it")
        if given == "fold" and not split:
            raise TableError(f"{here}: no fold; name it")
        split = PARTS[split.lower()] if given == "split" else split
        first[same] = f"line {line}"
        rows.append(LabeledFile(row["path"], labels, split, row.get("group") or row["path"], here))
    if missing:
        more = f" (and {len(missing) - 1} more files)" if missing[1:] else ""
        raise TableError(f"{missing[0]}{more}; correct the path")
    return rows, given


def _class_folders(root: Path) -> Rows:
    """Return the audio files below each folder of `root`, whose name is their class, sorted.

    Hidden files and folders are left out.
    """
    rows = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        parts = Path(folder).relative_to(root).parts
        for name in sorted(names) if parts else ():
            if not name.startswith(".") and Path(name).suffix.lower() in AUDIO_SUFFIXES:
                path = "/".join((*parts, name))
                rows.append(LabeledFile(path, parts[:1], "", path, os.path.join(folder, name)))
    return rows


def _check_classes(source: Path, rows: Rows, groups: Mapping[str, set[str]]) -> None:
    """Raise where all files of a class are of one group: it cannot be trained on and tested."""
    alone = [label for label, members in groups.items() if len(members) < 2]
    if alone:
        where = next(row.where for row in rows if alone[0] in row.labels)
        more = f" (and {len(alone) - 1} more classes)" if len(alone) > 1 else ""
        raise TableError(
            f"{where}: the class {alone[0]!r}{more} has one clip or group, which cannot be "
            f"trained on and tested; add clips to it or leave it out of {source.name}"
        )


def _with_validation(source: Path, rows: Rows, seed: int) -> tuple[Rows, str]:
    """Return the rows of a fixed split with a validation part, and how it came about."""
    present = {row.split for row in rows}
    if not {"train", "test"} <= present:
        absent = " and ".join(sorted({"train", "test"} - present))
        raise TableError(f"{source}: no clip has the split {absent}; name the parts train and test")
    if "valid" in present:
        return rows, f"split as in {source.name}"
    train = [row for row in rows if row.split == "train"]
    drawn = _drawn_folds(train, VALID_SHARE, seed)
    valid = {row.path for row, fold in zip(train, drawn, strict=True) if fold == 0}
    rows = [replace(row, split="valid") if row.path in valid else row for row in rows]
    return rows, (
        f"train and test as in {source.name}, of whose training clips one in {VALID_SHARE} "
        "validates (drawn, groups kept whole)"
    )


def _with_folds(source: Path, rows: Rows, fewest: int, seed: int) -> tuple[Rows, str]:
    """Return the rows in drawn folds, and how they came about; a class has `fewest` groups."""
    count = max(3, min(FOLDS, fewest))
    groups = len({row.group for row in rows})
    if groups < count:
        raise TableError(f"{source}: {groups} groups are too few for {count} folds; add more")
    drawn = _drawn_folds(rows, count, seed)
    kept = "groups kept whole, " if groups < len(rows) else ""
    rows = [replace(row, split=f"fold{i + 1}") for row, i in zip(rows, drawn, strict=True)]
    return rows, f"{source.name} has no split: {count} folds were drawn ({kept}seed {seed})"


def _check_split(source: Path, rows: Rows, *, fixed: bool) -> None:
    """Raise where a group is on two sides, a class is only tested, or folds are too few."""
    homes: dict[str, str] = {}
    for row in rows:
        if homes.setdefault(row.group, row.split) != row.split:
            raise TableError(
                f"{row.where}: group {row.group!r} is in {homes[row.group]} and in {row.split}; "
                "put all its clips on one side"
            )
    if not fixed and len({row.split for row in rows}) < 3:
        raise TableError(f"{source}: folds need three or more; name more, or leave the column out")
    sides = _by_class(rows, "split")
    for row in rows:
        for label in row.labels:
            if fixed and sides[label] == {"test"}:
                raise TableError(
                    f"{row.where}: the class {label!r} is in the test part only; add training clips"
                )
            if not fixed and len(sides[label]) < 2:
                raise TableError(
                    f"{row.where}: the class {label!r} is in fold {row.split!r} only, so that it "
                    "is never trained on when it is tested; spread it over two or more folds"
                )


def _one_hot(rows: Rows, classes: Sequence[str]) -> np.ndarray:
    """Return which file has which class, bool `[rows, classes]`."""
    index = {name: i for i, name in enumerate(classes)}
    targets = np.zeros((len(rows), len(classes)), dtype=bool)
    for target, row in zip(targets, rows, strict=True):
        target[[index[name] for name in row.labels]] = True
    return targets


def _drawn_folds(rows: Rows, folds: int, seed: int) -> list[int]:
    """Return a drawn fold of each row; see `stratified_folds`."""
    targets = _one_hot(rows, sorted({label for row in rows for label in row.labels}))
    return stratified_folds(targets, [row.group for row in rows], folds, seed).tolist()


def stratified_folds(
    targets: np.ndarray, groups: Sequence[str], folds: int, seed: int
) -> np.ndarray:
    """Draw folds that keep groups whole and classes evenly spread.

    Groups are dealt one after another, the largest first and equal ones in drawn order, each to the
    fold whose number of clips per class it brings closest to an even share (the sum of squares over
    classes, each in units of its own size, grows least).

    Args:
        targets: which row has which class.
        groups: of each row.
        folds: how many, >= 2.
        seed: of the order of equal groups.

    Shape:
        targets bool `[n, classes]`, groups n names, result int64 `[n]` from 0 to folds - 1.

    Example:
        >>> targets = np.eye(2, dtype=bool)[[0, 0, 0, 1, 1, 1]]
        >>> folds = stratified_folds(targets, ["a", "a", "b", "c", "d", "d"], 3, seed=0)
        >>> folds[0] == folds[1], folds[4] == folds[5], np.bincount(folds).tolist()
        (np.True_, np.True_, [2, 2, 2])
    """
    names, of_row = np.unique(np.asarray(groups), return_inverse=True)
    counts = np.zeros((len(names), targets.shape[1] + 1))
    np.add.at(counts, of_row, np.column_stack([targets, np.ones(len(targets))]))
    counts /= np.maximum(counts.sum(0), 1)  # the last column is of all clips
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-counts[order].sum(1), kind="stable")]
    filled = np.zeros((folds, counts.shape[1]))
    chosen = np.empty(len(names), dtype=np.int64)
    for group in order:
        # |f + c|^2 - |f|^2 = 2 f.c + |c|^2, of which only the first term differs between folds.
        chosen[group] = np.argmin(filled @ counts[group])
        filled[chosen[group]] += counts[group]
    return chosen[of_row]
