"""Models stand in the order of their scores; ties and marks are counted again independently."""

import numpy as np
import pytest
from scipy.stats import binomtest

from benchmark.report.leaderboard import leaderboards, protocol_order
from benchmark.report.scores import score_table
from benchmark.report.table import TableError
from benchmark.results.schema import Result
from tests.benchmark.made_results import BASE, made, some


def right(result: Result) -> np.ndarray:
    return result.labels() == result.predicted()


def test_marks_follow_mcnemar_and_holm() -> None:
    results = some()
    board = leaderboards(results)[0]
    by_key = {(r.task, r.model): right(r) for r in results[:5]}
    raw = {}
    for task, model in (("birds", "good"), ("birds", "bad"), ("cars", "good")):
        mine, base = by_key[task, model], by_key[task, BASE]
        only, lost = int((mine & ~base).sum()), int((~mine & base).sum())
        raw[task, model] = binomtest(only, only + lost, 0.5).pvalue
    largest = 0.0
    for rank, key in enumerate(sorted(raw, key=raw.__getitem__)):
        largest = max(largest, min(1.0, (len(raw) - rank) * raw[key]))
        assert board.entries[key].adjusted == pytest.approx(largest)
    assert board.entries["birds", "good"].mark == 1
    assert board.entries["birds", "bad"].mark == -1
    assert board.entries["cars", "good"].mark == 0
    assert board.entries["birds", BASE].comparison is None


def test_the_mean_has_all_tasks_and_an_interval_of_resampled_clips() -> None:
    results = some()
    board = leaderboards(results)[0]
    assert set(board.means) == set(board.ranks) == {BASE, "good"}
    hits = [right(r) for r in (results[1], results[4])]
    draw = np.random.default_rng(7)
    sampled = [np.mean([draw.choice(hit, len(hit)).mean() for hit in hits]) for _ in range(3000)]
    mean = board.means["good"]
    assert mean["value"] == pytest.approx(100 * np.mean([hit.mean() for hit in hits]))
    ends = 100 * np.percentile(sampled, [2.5, 97.5])
    assert (mean["low"], mean["high"]) == pytest.approx(tuple(ends), abs=0.4)


def test_the_mean_of_one_task_is_its_score() -> None:
    (board,) = leaderboards([made("birds", "good", 0.8)])
    assert board.means["good"] == made("birds", "good", 0.8).metrics["accuracy"]


def test_models_share_a_rank_where_resampled_clips_do_not_part_them() -> None:
    shares = {"a": 0.9, "b": 0.89, "c": 0.8, "d": 0.79, "e": 0.5}
    results = [made(task, m, p) for m, p in shares.items() for task in ("birds", "cars")]
    (board,) = leaderboards(results)
    hits = {(r.task, r.model): right(r) for r in results}
    draw, order = np.random.default_rng(3), board.models
    drawn = [draw.integers(0, 400, (4000, 400)) for _ in range(2)]

    def apart(one: str, other: str) -> bool:
        difference = np.zeros(4000)
        for task, rows in zip(("birds", "cars"), drawn, strict=True):
            gain = hits[task, one].astype(float) - hits[task, other]
            difference += gain[rows].mean(axis=1) / 2
        low, high = np.percentile(difference, [2.5, 97.5])
        return not low <= 0 <= high

    expected, first = {order[0]: 1}, order[0]
    for place, model in enumerate(order[1:], start=2):
        if apart(first, model):
            first = model
            expected[model] = place
        else:
            expected[model] = expected[first]
    assert board.ranks == expected
    assert 1 < len(set(expected.values())) < len(expected)


def test_order_is_by_score_and_does_not_depend_on_the_order_of_files() -> None:
    results = some()
    for order in (results, results[::-1]):
        board = leaderboards(order)[0]
        assert board.models == ["good", BASE, "bad"]  # bad lacks a task
        assert [e.result.model for e in board.of_task("birds")] == ["good", BASE, "bad"]


def test_results_that_cannot_be_compared_say_so_and_are_not_tied() -> None:
    strange = made("birds", "good", 0.5)
    strange.predictions["clip"][:] = [f"else {i}" for i in range(strange.n_clips)]
    (board,) = leaderboards([made("birds", BASE, 0.5), strange])
    assert "share no clip" in board.entries["birds", "good"].reason
    assert board.entries["birds", "good"].mark == 0
    assert sorted(board.ranks.values()) == [1, 2]


def test_results_on_data_that_differ_are_neither_tested_nor_tied() -> None:
    """Nor ranked: those that share the data of most are."""
    hashes = {BASE: "a", "fine": "a", "good": "b"}
    results = [made("birds", m, 0.5, provenance={"data_hash": h}) for m, h in hashes.items()]
    (board,) = leaderboards(results)
    entry = board.entries["birds", "good"]
    assert (entry.comparison, entry.mark) == (None, 0)
    assert set(board.ranks) == set(board.means) == {BASE, "fine"}
    note = "birds: not compared with the baseline: measured on other data"
    assert any(note in each for each in score_table(board).notes)


def test_two_results_for_one_cell_and_an_unknown_baseline_are_refused() -> None:
    with pytest.raises(TableError, match="keep one"):
        leaderboards([made("birds", "good", 0.5), made("birds", "good", 0.6)])
    with pytest.raises(TableError, match="choose one of good"):
        leaderboards([made("birds", "good", 0.5)], "absent")


def test_every_gap_has_its_reason_under_its_own_protocol() -> None:
    failures = {
        ("cars", "bad", "linear-1"): "clip 7 broke",
        ("boats", BASE, "linear-1"): "no data",
        ("birds", "new", "linear-1"): "no module",
        ("birds", BASE, "mlp-1"): "too wide",
        ("birds", "bad", "gone-1"): "never shown",
    }
    linear, other = leaderboards(some(), None, failures)
    assert linear.failures["cars", "bad"] == "clip 7 broke"
    assert linear.failures["cars", "new"] == "not run"
    assert not linear.means
    assert not linear.ranks
    assert other.failures == {("birds", BASE): "too wide"}
    assert other.baseline == "good"


def test_the_linear_probe_comes_first() -> None:
    order = protocol_order(["knn-1", "linear-1", "finetune-1"])
    assert order == ["linear-1", "finetune-1", "knn-1"]
