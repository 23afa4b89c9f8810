"""Results compared clip by clip: the right pairs, the right words, the right exit code."""

import re
from pathlib import Path

import numpy as np
import pytest

from benchmark.compare import compare_pair, main, render
from benchmark.results.schema import METRICS, Result, ResultError, write_result
from benchmark.stats.paired import paired
from tests.benchmark.made_results import bare


def made(task: str, model: str, hits: np.ndarray, **changes: object) -> Result:
    """A result on two classes that is right where `hits` says so."""
    labels = np.arange(len(hits)) % 2
    predictions = {
        "clip": [f"clip{i}" for i in range(len(hits))],
        "label": labels.tolist(),
        "predicted": np.where(hits, labels, 1 - labels).tolist(),
    }
    point = {"value": 100 * float(hits.mean()), "low": 0.0, "high": 100.0}
    metrics = {name: point for name in METRICS}
    return bare(
        task, model, len(hits), **{"predictions": predictions, "metrics": metrics, **changes}
    )


def hits(n: int, share: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(n) < share


def test_difference_and_interval_equal_those_of_resampled_pairs() -> None:
    left, right = hits(300, 0.7, 1), hits(300, 0.6, 2)
    actual = compare_pair(made("t", "a", left), made("t", "b", right))
    assert actual.left - actual.right == pytest.approx(100 * (left.mean() - right.mean()))
    draw = np.random.default_rng(0)
    clips = draw.integers(0, 300, (4000, 300))
    wanted = np.percentile(100 * (left[clips].mean(1) - right[clips].mean(1)), [2.5, 97.5])
    assert np.percentile(actual.resampled, [2.5, 97.5]) == pytest.approx(wanted, abs=0.6)


def test_pairs_are_matched_by_clip_and_class_name_not_by_place() -> None:
    left, right = made("t", "a", hits(80, 0.7, 1)), made("t", "b", hits(80, 0.6, 2))
    turned = {name: column[::-1] for name, column in right.predictions.items()}
    for name in ("label", "predicted"):
        turned[name] = [1 - number for number in turned[name]]
    other = made("t", "b", hits(80, 0.6, 2), predictions=turned, classes=["dog", "cat"])
    first, second = compare_pair(left, right), compare_pair(left, other)
    assert (first.left, first.right, first.p) == (second.left, second.right, second.p)


def test_clips_of_a_group_count_together() -> None:
    left, right = hits(300, 0.7, 1), hits(300, 0.6, 2)
    groups = [f"speaker{i // 10}" for i in range(300)]
    pair = [made("t", model, x) for model, x in (("a", left), ("b", right))]
    for result in pair:
        result.predictions["group"] = groups
    actual = compare_pair(*pair)
    wanted = paired(left, right, np.array(groups))
    assert actual.p == wanted.p
    np.testing.assert_array_equal(actual.resampled, wanted.resampled)
    del pair[0].predictions["group"]
    assert compare_pair(*pair).p == wanted.p  # the other result tells the groups


def test_equal_models_differ_by_nothing() -> None:
    same = hits(50, 0.5, 1)
    actual = compare_pair(made("t", "a", same), made("t", "b", same))
    assert actual.p == 1.0
    assert not actual.resampled.any()


def test_only_shared_clips_count() -> None:
    actual = compare_pair(made("t", "a", np.ones(30, bool)), made("t", "b", np.ones(20, bool)))
    assert actual.n_clips == 20


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocol": "mlp-1"}, "cannot be compared"),
        ({"classes": ["dog", "cat"]}, "disagree about the label"),
        ({"predictions": {"clip": ["other"] * 10, "label": [], "predicted": []}}, "no clip"),
    ],
)
def test_what_cannot_be_paired_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ResultError, match=message):
        compare_pair(
            made("t", "a", np.ones(10, bool)), made("t", "b", np.ones(10, bool), **changes)
        )


def test_the_mean_over_tasks_is_that_of_their_differences() -> None:
    pairs = {
        t: compare_pair(made(t, "a", hits(200, p, 1)), made(t, "b", hits(200, q, 2)), seed=i)
        for i, (t, p, q) in enumerate([("one", 0.9, 0.5), ("two", 0.6, 0.6)])
    }
    last = render(pairs, "linear-1").splitlines()[-1]
    wanted = np.mean([actual.left - actual.right for actual in pairs.values()])
    assert f"{wanted:+.2f}" in last
    assert last.startswith("mean of 2 tasks")


def test_the_command_prints_every_shared_task(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for task in ("one", "two"):
        write_result(made(task, "a", hits(60, 0.9, 1)), tmp_path / "a")
        write_result(made(task, "b", hits(60, 0.5, 2)), tmp_path / "b")
    write_result(made("three", "a", hits(60, 0.9, 1)), tmp_path / "a")
    assert main([str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    text = capsys.readouterr().out
    assert "one " in text
    assert "two " in text
    assert "\none and two share 60 clips: the mean counts them twice" in text
    assert text.endswith(
        "left out, because only one of the two has a result: three under linear-1\n"
    )


def test_data_that_differ_are_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for model, n, data in (("a", 60, "x"), ("b", 50, "y")):
        result = made("one", model, hits(n, 0.9, 1), provenance={"data_hash": data})
        write_result(result, tmp_path / model)
    assert main([str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    first, second = capsys.readouterr().out.splitlines()[-2:]
    assert first == "one under linear-1: 10 clips were tested with one model only and are left out"
    assert "one under linear-1: the two results are from different data" in second
    assert main([str(tmp_path / "a"), str(tmp_path / "a")]) == 0
    assert "differ," not in capsys.readouterr().out


def test_the_command_asks_which_model_and_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for model in ("a", "b"):
        write_result(made("one", model, hits(60, 0.9, 1)), tmp_path)
    index = str(tmp_path)
    assert main([index, index]) == 1
    assert "choose one with --model-a" in capsys.readouterr().err
    assert main([index, index, "--model-a", "a", "--model-b", "b"]) == 0
    assert main([index, index, "--model-a", "a", "--model-b", "c"]) == 1
    assert "no result of c" in capsys.readouterr().err


def test_tasks_are_resampled_independently(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Of four tasks with the same right and wrong clips the mean's interval is half as wide."""
    for model, share in (("a", 0.7), ("b", 0.6)):
        for task in "wxyz":
            write_result(made(task, model, hits(300, share, ord(model))), tmp_path / model)
    assert main([str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    text = capsys.readouterr().out
    spans = [[float(end) for end in pair] for pair in re.findall(r"\[(.*), (.*)\]", text)]
    *tasks, mean = [high - low for low, high in spans]
    assert len(tasks) == 4
    assert mean == pytest.approx(np.mean(tasks) / 2, rel=0.1)
