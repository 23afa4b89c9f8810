"""From embeddings to a result: seeds are repeated where there is chance, and nowhere else."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from benchmark.data.clip import Task
from benchmark.data.split import Fold
from benchmark.embed.cost import Cost
from benchmark.measure import Probed, measure, probe
from benchmark.probes.protocols import Protocol
from benchmark.probes.rows import ProbeResult, Rows, Selection, predict_test
from benchmark.results.schema import read_result, write_result
from benchmark.stats.metrics import over_seeds, score

CLIPS, CLASSES = 60, 3
TASK = Task(
    "toy", "Toy", ("a", "b", "c"), "folds", CLIPS, None, "", "", (), "", lambda root: []
)  # fmt: skip


def guess(
    embeddings: np.ndarray,
    labels: np.ndarray,
    folds: Sequence[Fold],
    n_classes: int,
    *,
    device: str = "cpu",
    seed: int = 0,
) -> ProbeResult:
    """Chance, by the seed."""

    def classify(place: int, rows: Rows) -> np.ndarray:
        return np.random.default_rng([seed, place]).integers(0, n_classes, len(rows))

    selection = Selection(0.5, ((0.25, 10.0), (0.5, 20.0)))
    return predict_test(embeddings, labels, folds, [selection] * len(folds), classify)


def embedded() -> SimpleNamespace:
    draw = np.random.default_rng(0)
    return SimpleNamespace(
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
        cost=Cost(None, None, None, None, None, None, "", {}),
    )


def probed(random: bool, seeds: int) -> Probed:
    return probe(TASK, embedded(), Protocol("chance", "chance-1", "p", random, guess), seeds=seeds)


def test_a_random_protocol_runs_once_a_seed_and_another_once() -> None:
    assert len(probed(True, 3).repeats) == 3
    assert len(probed(False, 3).repeats) == 1
    first, second, _ = probed(True, 3).repeats
    assert not np.array_equal(first, second)
    assert np.array_equal(first, probed(False, 1).outcome.predicted)


def test_mean_and_deviation_are_those_of_scikit_learns_scores() -> None:
    draw = np.random.default_rng(0)
    labels, *runs = (draw.integers(0, 4, 200) for _ in range(4))
    found = over_seeds(labels, runs, 5)
    accuracies = [100 * accuracy_score(labels, run) for run in runs]
    f1 = [100 * f1_score(labels, run, average="macro") for run in runs]
    for metric, wanted in (("accuracy", accuracies), ("f1", f1)):
        assert found[metric]["values"] == pytest.approx(wanted)
        assert found[metric]["mean"] == pytest.approx(np.mean(wanted))
        assert found[metric]["deviation"] == pytest.approx(np.std(wanted, ddof=1))


def test_the_result_says_protocol_setting_and_seeds(tmp_path: Path) -> None:
    results = [
        measure(TASK, embedded(), "m", probed(True, seeds), n_listed=CLIPS) for seeds in (1, 4)
    ]
    one, four = (read_result(write_result(result, tmp_path)) for result in results)
    assert one.seeds is None
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
    found = []
    for each in (apart, shared):
        chance = Protocol("chance", "chance-1", "p", False, guess)
        result = measure(TASK, each, "m", probe(TASK, each, chance), n_listed=CLIPS)
        found.append(read_result(write_result(result, tmp_path)))
    assert found[0].groups() is None
    assert found[1].groups().tolist() == shared.groups.tolist()
    assert found[0].metrics["accuracy"]["value"] == found[1].metrics["accuracy"]["value"]
    assert found[0].metrics["accuracy"]["low"] != found[1].metrics["accuracy"]["low"]


def test_intervals_are_those_of_groups_overall_and_of_every_fold() -> None:
    data = embedded()
    data.groups = np.array([f"speaker{i % 10}" for i in range(CLIPS)])  # six clips of a fold
    chance = Protocol("chance", "chance-1", "p", False, guess)
    run = probe(TASK, data, chance)
    result = measure(TASK, data, "m", run, n_listed=CLIPS)
    predicted = np.array(result.predictions["predicted"])
    parts = [(f.test, kept["metrics"]) for f, kept in zip(run.folds, result.folds, strict=True)]
    for rows, metrics in [(np.arange(CLIPS), result.metrics), *parts]:
        grouped, alone = (
            score(data.labels[rows], predicted[rows], CLASSES, groups).overall
            for groups in (data.groups[rows], None)
        )
        assert metrics == {name: vars(interval) for name, interval in grouped.items()}
        assert grouped != alone
