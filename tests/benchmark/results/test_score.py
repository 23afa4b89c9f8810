"""From embeddings to a result: seeds are repeated where there is chance, and nowhere else."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from benchmark.data.clip import Clip, Task
from benchmark.data.registry import TaskClips
from benchmark.embed.cost import Cost
from benchmark.embed.embed import EmbeddedTask
from benchmark.probes.protocols import Protocol
from benchmark.probes.rows import Examples, ProbeError, ProbeResult, Rows, Selection, predict_test
from benchmark.results.schema import read_result, write_result
from benchmark.results.score import Probed, Subject, class_result, measure_result, probe
from benchmark.stats.metrics import over_seeds, score

CLIPS, CLASSES = 60, 3
TASK = Task(
    "toy", "Toy", "", "", (), "", ("a", "b", "c"), "folds", CLIPS, None, lambda root: []
)  # fmt: skip


def guess(data: Examples, *, device: str = "cpu", seed: int = 0) -> ProbeResult:
    """Chance, by the seed."""

    def classify(fold: int, rows: Rows) -> np.ndarray:
        return np.random.default_rng([seed, fold]).integers(0, data.n_classes, len(rows))

    selection = Selection(0.5, ((0.25, 10.0), (0.5, 20.0)))
    return predict_test(data, [selection] * len(data.folds), classify)


class Changing(EmbeddedTask):
    """An EmbeddedTask whose fields tests change."""

    __setattr__ = object.__setattr__


def embedded() -> Any:
    """Return random embeddings."""
    draw = np.random.default_rng(0)
    return Changing(
        embeddings=draw.normal(size=(CLIPS, 4)).astype(np.float32),
        labels=np.arange(CLIPS) % CLASSES,
        splits=np.array([f"fold{i % 5}" for i in range(CLIPS)]),
        groups=np.arange(CLIPS).astype(str),
        clip_ids=np.arange(CLIPS).astype(str),
        errors=(),
        seconds=1.0,
        clips_per_second=60.0,
        encoder_calls=1,
        weights_hash="w",
        data_hash="d",
        precision="float32",
        provenance={"host": "there"},
        cost=Cost(None, None, None, None, None, None, None, "", {}),
    )


def subject(n_listed: int = CLIPS, partial: str | None = None, **more: Any) -> Subject:
    clips = [Clip(str(i), "", "a", "", "") for i in range(n_listed)]
    more = {"embedded": embedded()} | more
    hear: Any = SimpleNamespace(count=CLIPS, folder=Path("esc50-v2.0.0-full"))
    return Subject(TaskClips(TASK, clips, Path(), partial, hear), "m", **more)


def probed(random: bool, seeds: int) -> Probed:
    return probe(TASK, embedded(), Protocol("chance", "chance-1", "p", random, guess), seeds=seeds)


def test_a_random_protocol_runs_once_a_seed_and_another_once() -> None:
    assert len(probed(True, 3).repeats) == 3
    assert len(probed(False, 3).repeats) == 1
    first, second, _ = probed(True, 3).repeats
    assert not np.array_equal(first, second)
    assert np.array_equal(first, probed(False, 1).first.predicted)


def test_mean_and_deviation_are_those_of_scikit_learns_scores() -> None:
    draw = np.random.default_rng(0)
    labels, *runs = (draw.integers(0, 4, 200) for _ in range(4))
    summary = over_seeds(labels, runs, 5)
    accuracies = [100 * accuracy_score(labels, run) for run in runs]
    f1 = [100 * f1_score(labels, run, average="macro") for run in runs]
    for metric, expected in (("accuracy", accuracies), ("f1", f1)):
        assert summary[metric]["values"] == pytest.approx(expected)
        assert summary[metric]["mean"] == pytest.approx(np.mean(expected))
        assert summary[metric]["deviation"] == pytest.approx(np.std(expected, ddof=1))


def test_the_result_says_protocol_setting_and_seeds(tmp_path: Path) -> None:
    results = [class_result(subject(), probed(True, seeds)) for seeds in (1, 4)]
    one, four = (read_result(write_result(result, tmp_path)) for result in results)
    assert one.seeds is None
    assert four.seeds is not None
    assert four.seeds["count"] == len(four.seeds["accuracy"]["values"]) == 4
    assert four.seeds["accuracy"]["values"][0] == pytest.approx(four.metrics["accuracy"]["value"])
    assert four.provenance["seeds"]["protocol"] == [0, 1, 2, 3]
    assert four.protocol == "chance-1"
    assert four.predictions == one.predictions
    assert four.folds[0]["p"] == 0.5
    assert json.dumps(four.folds[0]["validation"][1]) == '{"p": 0.5, "accuracy": 20.0}'


def test_groups_of_several_clips_are_kept_and_drawn_together(tmp_path: Path) -> None:
    apart, shared = embedded(), embedded()
    shared.groups = np.array([f"speaker{i % 5}" for i in range(CLIPS)])  # a fold each
    results = []
    for each in (apart, shared):
        chance = Protocol("chance", "chance-1", "p", False, guess)
        result = class_result(subject(), probe(TASK, each, chance))
        results.append(read_result(write_result(result, tmp_path)))
    assert results[0].groups() is None
    groups = results[1].groups()
    assert groups is not None
    assert groups.tolist() == shared.groups.tolist()
    assert results[0].metrics["accuracy"]["value"] == results[1].metrics["accuracy"]["value"]
    assert results[0].metrics["accuracy"]["low"] != results[1].metrics["accuracy"]["low"]


def test_intervals_are_those_of_groups_overall_and_of_every_fold() -> None:
    data = embedded()
    data.groups = np.array([f"speaker{i % 10}" for i in range(CLIPS)])  # six clips of a fold
    chance = Protocol("chance", "chance-1", "p", False, guess)
    run = probe(TASK, data, chance)
    result = class_result(subject(), run)
    predicted = np.array(result.predictions["predicted"])
    parts = [
        (f.test, kept["metrics"]) for f, kept in zip(run.data.folds, result.folds, strict=True)
    ]
    for rows, metrics in [(np.arange(CLIPS), result.metrics), *parts]:
        grouped, alone = (
            score(data.labels[rows], predicted[rows], CLASSES, groups).overall
            for groups in (data.groups[rows], None)
        )
        assert metrics == grouped
        assert grouped != alone


@pytest.mark.parametrize(("n_groups", "notes"), [(20, []), (15, ["only 15 independent groups"])])
def test_few_groups_are_noted(n_groups: int, notes: list[str]) -> None:
    data = embedded()
    data.groups = np.array([f"speaker{i % n_groups}" for i in range(CLIPS)])
    result = class_result(subject(), probe(TASK, data, Protocol("c", "c-1", "p", False, guess)))
    assert [note.partition("make ")[2] for note in result.notes] == notes


def test_what_the_subject_says_stands_in_the_result() -> None:
    made = embedded()
    made.errors = (("x", "x.wav: is empty"),)
    more = {"device": "cpu:0", "notes": ["a note"], "untrained": True}
    chance = Protocol("chance", "chance-1", "p", False, guess)
    asked = subject(77, "some are absent", embedded=made, **more)
    result = class_result(asked, probe(TASK, made, chance))
    assert (result.n_listed, result.partial, result.untrained) == (77, "some are absent", True)
    assert result.notes == ["a note"]
    assert result.provenance["embedding_run"] == {"host": "there"}
    assert result.bad_clips == [{"clip": "x", "reason": "x.wav: is empty"}]
    assert result.provenance["machine"]["device"] == "cpu:0"
    for name in ("weights_hash", "data_hash", "precision", "encoder_calls", "clips_per_second"):
        assert result.provenance[name] == getattr(made, name)


def test_a_measure_that_is_not_finite_is_left_out_and_the_first_must_be(tmp_path: Path) -> None:
    # As heareval leaves them where one class of a small fold is ranked without a mistake.
    folds = {
        "fold00": {"top1_acc": 0.5, "d_prime": float("inf")},
        "fold01": {"top1_acc": 0.7, "d_prime": 2.5},
    }
    asked = subject(notes=["a note"], untrained=True)
    chosen = {"fold00": {"strength": 0.5}, "fold01": {"strength": 0.25}}
    result = measure_result(asked, "x-1", folds, metric="top1_acc", seconds=2.0, chosen=chosen)
    assert read_result(write_result(result, tmp_path)) == result
    assert result.metrics == {
        "top1_acc": {
            "value": pytest.approx(0.6),
            "deviation": pytest.approx(np.std([0.5, 0.7], ddof=1)),
        }
    }
    assert [fold["strength"] for fold in result.folds] == [0.5, 0.25]
    assert result.notes == [
        "a note",
        "toy: d_prime is left out, because it is infinite or undefined",
    ]
    assert (result.unit, result.hear_task, result.untrained) == ("own", "esc50", True)
    alone = measure_result(asked, "x-1", {"test": {"mAP": 0.25}}, metric="mAP", seconds=2.0)
    assert alone.metrics == {"mAP": {"value": 0.25}}
    with pytest.raises(ProbeError, match="d_prime is not finite"):
        measure_result(asked, "x-1", folds, metric="d_prime", seconds=2.0)
