"""Tables keep protocols apart and say what is missing, partial or untrained."""

import pytest

from benchmark.report.tables import TableError, table, tables
from benchmark.results.schema import Result
from tests.benchmark.made_results import bare


def made(task: str, model: str, value: float = 50.0, **changes: object) -> Result:
    interval = {"value": value, "low": value - 5, "high": value + 5}
    metrics = dict.fromkeys(("accuracy", "precision", "recall", "f1"), interval)
    return bare(task, model, **{"metrics": metrics, "n_listed": 12, **changes})


def test_values_intervals_and_means_are_shown() -> None:
    text = table([made("a", "m", 40), made("b", "m", 61)])
    assert "40.0 (35.0-45.0)" in text
    assert "61.0 (56.0-66.0)" in text
    assert "50.5" in text


def test_protocols_never_share_a_table() -> None:
    results = [made("a", "m", 40), made("a", "m", 90, protocol="mlp-1")]
    with pytest.raises(TableError, match="linear-1, mlp-1"):
        table(results)
    first, second = tables(results).split("Protocol ")[1:]
    assert "40.0" in first
    assert "90.0" not in first
    assert "90.0" in second
    assert "40.0" not in second


def test_the_linear_probe_comes_first() -> None:
    versions = ("knn-1", "linear-1", "finetune-1")
    text = tables([made("a", "m", protocol=version) for version in versions])
    shown = [line.split()[1][:-1] for line in text.splitlines() if line.startswith("Protocol")]
    assert shown == ["linear-1", "finetune-1", "knn-1"]


def test_two_results_for_one_cell_are_refused() -> None:
    with pytest.raises(TableError, match="keep one"):
        table([made("a", "m", 40), made("a", "m", 41)])


def test_a_missing_result_is_a_dash_with_its_reason_and_has_no_mean() -> None:
    missing = {("b", "m"): "no clips in /data/b"}
    text = table([made("a", "m", 40), made("a", "n", 30), made("b", "n", 20)], missing)
    row, other = (next(x for x in text.splitlines() if x.startswith(m)) for m in ("m ", "n "))
    assert row.split()[-1] == "-"
    assert other.split()[-1] == "25.0"
    assert "- [1]" in row
    assert "[1] b, m: no clips in /data/b" in text


def test_partial_bad_and_untrained_are_marked() -> None:
    bad = [{"clip": "x", "reason": "x.wav: is empty"}]
    text = table([made("a", "m", partial="500 of 2000 clips", bad_clips=bad, untrained=True)])
    assert "partial [1]" in text
    assert "10 clips tested; 500 of 2000 clips" in text
    assert "1 of 12 clips could not be used, the first: x.wav: is empty" in text
    assert "m (untrained)" in text


def test_markdown_has_a_cell_for_every_model_and_task() -> None:
    text = table([made("a", "m"), made("b", "n")], markdown=True)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert [row.count("|") for row in rows] == [5, 5, 5, 5]


def test_no_result_at_all_gives_the_reasons() -> None:
    text = tables([], {("a", "m", "linear-1"): "absent"})
    assert text.splitlines() == ["Protocol linear-1: no result", "", "a, m: absent"]


def test_a_reason_stands_only_under_its_own_protocol() -> None:
    results = [made("a", "m"), made("a", "m", protocol="mlp-1"), made("b", "m", protocol="mlp-1")]
    first, second = tables(results, {("b", "m", "linear-1"): "broke"}).split("Protocol ")[1:]
    assert "b, m: broke" in first
    assert "broke" not in second


def test_several_seeds_show_their_mean_and_deviation() -> None:
    seeds = {"count": 3, "accuracy": {"mean": 41.26, "deviation": 0.84, "values": [40, 41, 42]}}
    text = table([made("a", "m", 40, seeds=seeds)])
    assert "40.0 (35.0-45.0), 3 seeds 41.3 ± 0.8" in text
    assert "seeds" not in table([made("a", "m", 40, seeds=seeds)], metric="f1")
