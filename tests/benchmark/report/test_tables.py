"""Tables keep protocols apart and say what is missing, partial, untrained, corrupted or costly."""

import dataclasses

import numpy as np
import pytest

from benchmark.report.leaderboard import leaderboards
from benchmark.report.published import read_published
from benchmark.report.render import report_markdown, to_csv, to_text
from benchmark.report.scores import (
    MAX_CLASSES,
    class_table,
    confusion_table,
    robustness_tables,
    score_table,
    task_table,
)
from benchmark.report.table import Cell, Table
from benchmark.report.tables import about, cost_table, sections, summary, tables
from benchmark.results.schema import Result, ResultKey
from tests.benchmark.made_results import BASE, made, made_cost, some


def cells(table: Table) -> dict[tuple[str, str], Cell]:
    """The cells of a table by the text of their row and the name of their column."""
    return {
        (row[0].text, column.name): cell
        for row in table.rows
        for column, cell in zip(table.columns, row, strict=True)
    }


def printed(results: list[Result], failures: dict[ResultKey, str] | None = None) -> str:
    return "\n\n".join(map(to_text, tables(results, failures or {})))


def test_protocols_never_share_a_table() -> None:
    results = some()
    linear, mlp = printed(results).split("Protocol ")[1:]
    values = [f"{r.metrics['accuracy']['value']:.1f} (" for r in results]
    assert all(value in linear for value in values[:5])
    assert values[5] not in linear
    assert values[5] in mlp
    assert not any(value in mlp for value in values[:5])


def test_values_intervals_ranks_and_means_are_shown_highest_first() -> None:
    (board,) = leaderboards(some()[:5])
    table = score_table(board)
    shown = cells(table)
    assert [row[0].text for row in table.rows] == ["good", BASE, "bad"]
    for result in some()[:5]:
        cell = shown[result.model, result.task]
        assert {k: getattr(cell, k) for k in ("value", "low", "high")} == result.metrics["accuracy"]
    assert (shown["good", "Rank"].value, shown[BASE, "Rank"].value) == (1, 2)
    assert shown["good", "Mean"].value == board.means["good"]["value"]
    assert (shown["bad", "Mean"].text, shown["bad", "Rank"].text) == ("-", "-")
    assert table.breaks == {1, 2}
    assert (shown["good", "birds"].mark, shown["bad", "birds"].mark) == (1, -1)


def test_tied_models_are_marked_and_stand_in_one_group() -> None:
    results = [made("birds", "a", 0.8), made("birds", BASE, 0.3)]
    results.append(dataclasses.replace(results[0], model="b"))
    (board,) = leaderboards(results)
    table = score_table(board)
    assert sorted(row[1].text for row in table.rows) == ["1=", "1=", "3"]
    assert table.breaks == {2}
    first, second = (row[0].text for row in table.rows[:2])
    line = summary(board)
    assert f"{first} leads on birds" in line
    assert f"tied with {second}" in line
    assert f"points (46.5 to 57.8) above the baseline {BASE}" in line


def test_a_missing_result_is_a_dash_with_its_reason() -> None:
    failures = {("cars", "bad", "linear-1"): "clip 7 broke", ("x", "m", "gone-1"): "absent"}
    text = printed(some(), failures)
    assert "] cars: clip 7 broke" in text
    (table,) = text.split("Protocol gone-1: no result\n\n")[1:]
    assert table.split("\n\n")[0].split()[-3:] == ["x", "m", "absent"]
    assert printed([], failures).startswith("Protocol linear-1: no result")


def test_partial_bad_and_untrained_are_marked() -> None:
    bad = [{"clip": "x", "reason": "x.wav: is empty"}]
    result = made("a", "m", 0.5, partial="500 of 2000 clips", bad_clips=bad, untrained=True)
    text = printed([dataclasses.replace(result, n_listed=401)])
    assert "partial) [1] [2]" in text
    assert "1 of 401 clips could not be used, the first: x.wav: is empty" in text
    assert "400 clips tested; 500 of 2000 clips" in text
    assert "m (untrained)" in text


def test_a_note_of_all_models_stands_at_the_task_and_others_at_the_score() -> None:
    results = [made("a", "m", 0.5, notes=["all"]), made("a", "n", 0.4, notes=["all", "mine"])]
    (board,) = leaderboards(results)
    table = score_table(board)
    assert table.columns[-1].notes == ("all",)
    assert [row[-1].notes for row in table.rows] == [(), ("mine",)]


def test_another_precision_than_fp32_is_marked() -> None:
    results = [made("a", p, 0.5, provenance={"precision": p}) for p in ("bf16", "fp32")]
    rows = score_table(leaderboards(results)[0]).rows
    assert {row[0].text: row[0].tags for row in rows} == {"bf16": ("bf16", "baseline"), "fp32": ()}


def test_several_seeds_show_their_mean_and_deviation() -> None:
    of_seeds = {"mean": 61.24, "deviation": 0.86, "values": [60.4, 62.1]}
    seeds = {"count": 2, "accuracy": of_seeds, "f1": of_seeds}
    (board,) = leaderboards([made("birds", BASE, 0.5), made("birds", "good", 0.6, seeds=seeds)])
    shown = cells(task_table(board, "birds", None))
    assert shown["good", "Mean of seeds"] == Cell("61.2 ± 0.9", 61.24)
    assert shown[BASE, "Mean of seeds"].text == "-"
    assert "2 seeds 61.2 ± 0.9" in printed([made("birds", "good", 0.6, seeds=seeds)])


def test_the_task_has_all_metrics_the_comparison_and_its_facts() -> None:
    results = some()
    board = leaderboards(results)[0]
    table = task_table(board, "cars", None)
    shown = cells(table)
    entry = board.entries["cars", "good"]
    assert entry.comparison
    for name in ("precision", "recall", "f1"):
        assert shown["good", name.capitalize()].low == results[4].metrics[name]["low"]
    assert shown["good", "p"].value == entry.comparison.p
    assert shown["good", "p (Holm)"].value == entry.adjusted
    gain = results[4].metrics["accuracy"]["value"] - results[3].metrics["accuracy"]["value"]
    assert shown["good", "Difference"].value == pytest.approx(gain)
    assert shown[BASE, "Difference"].text == "-"
    facts = dict(table.facts)
    assert facts["Missing from the set"] == "400 of 900 clips are listed"
    assert facts["Split"] == "fixed: 60 training, 20 validation and 400 test clips"


def test_scores_by_class_are_those_of_the_result_highest_first() -> None:
    result, base = made("birds", "good", 0.8), made("birds", BASE, 0.5)
    table = class_table(result, base)
    shown = cells(table)
    f1 = [float(row[1].value) for row in table.rows if row[1].value is not None]
    assert len(f1) == len(table.rows)
    assert f1 == sorted(f1, reverse=True)
    for name, values in result.by_class.items():
        assert shown[name, "Recall"].value == values["recall"]["value"]
        gain = values["f1"]["value"] - base.by_class[name]["f1"]["value"]
        assert shown[name, "Difference"].value == gain
        assert shown[name, "Clips"].value == 80
    many = made("birds", "good", 0.8, n=400, classes=MAX_CLASSES + 7)
    assert len(class_table(many, None).rows) == MAX_CLASSES
    assert f"of {MAX_CLASSES + 7} classes" in class_table(many, None).caption


def test_the_commonest_confusions_are_counted_again() -> None:
    result = made("birds", "good", 0.2)
    pairs = list(zip(result.labels().tolist(), result.predicted().tolist(), strict=True))
    wrong = [pair for pair in pairs if pair[0] != pair[1]]
    counts = [row[2].value for row in confusion_table(result).rows]
    assert counts == sorted(map(wrong.count, set(wrong)), reverse=True)[:20]
    for true, predicted, clips in confusion_table(result).rows:
        pair = result.classes.index(true.text), result.classes.index(predicted.text)
        assert clips.value == wrong.count(pair)
        assert clips.below.endswith("of 80")


def corrupted(result: Result, **values: float) -> Result:
    """The result with a made-up accuracy by corruption, its colon written "_"."""
    clean = result.metrics["accuracy"]["value"]
    scores = {}
    for name, value in values.items():
        interval = {"value": value, "low": value - 2, "high": value + 2}
        change = {"value": value - clean, "low": value - clean - 1, "high": value - clean + 1}
        scores[name.replace("_", ":")] = {
            "n_clips": 400,
            "metrics": dict.fromkeys(("accuracy", "precision", "recall", "f1"), interval),
            "difference": change | {"p": 0.01},
        }
    return dataclasses.replace(result, corrupted=scores)


def test_corrupted_scores_stand_beside_clean_ones_and_apart_from_others() -> None:
    results = [
        corrupted(made("birds", BASE, 0.5), noise_20=33.25, clip_10=44.5),
        corrupted(made("birds", "good", 0.8), noise_20=71.75),
        made("cars", "good", 0.6),
    ]
    (table,) = robustness_tables(results)
    shown = cells(table)
    assert [row[0].text for row in table.rows] == ["good", BASE]
    assert table.columns[2].below == "pink noise, SNR 20 dB"
    change = 71.75 - results[1].metrics["accuracy"]["value"]
    assert shown["good", "noise:20"].value == 71.75
    assert shown["good", "noise:20 - clean"].value == change
    assert shown["good", "clip:10"].text == "-"
    assert shown[BASE, "clip:10"].value == 44.5
    scores, robustness = printed(results).split("Robustness")
    assert "71.8" not in scores
    assert "71.8" in robustness.split("Cost of each model")[0]
    assert "Robustness" not in printed(results[2:])


def costing(task: str, model: str, speed: float, protocol: str = "linear-1", **cost) -> Result:
    source = {"embedding_size": 8, "clips_per_second": speed, "cost": made_cost(**cost)}
    return made(task, model, 0.5, protocol=protocol, provenance=source)


def test_costs_count_a_task_once_speed_is_a_median_and_memory_the_maximum() -> None:
    results = [
        costing("a", "m", 10.0, real_time_factor=100.0, peak_bytes=200 << 20),
        costing("b", "m", 30.0, real_time_factor=300.0, peak_bytes=500 << 20, held_bytes=9 << 20),
        costing("a", "m", 10.0, "mlp-1", real_time_factor=100.0, peak_bytes=200 << 20),
        costing("a", "n", 5.0, gflop_per_second=None, missing={"gflop_per_second": "an LSTM"}),
    ]
    table = cost_table(results, ["n", "m"])
    shown = cells(table)
    assert [row[0].text for row in table.rows] == ["n", "m"]
    assert (shown["m", "Clips per second"].value, shown["m", "Speed"].value) == (20.0, 200.0)
    assert (shown["m", "Peak memory"].value, shown["m", "Before"].value) == (500, 9)
    assert shown["m", "Parameters"].text == "1.23"
    assert shown["n", "GFLOP"].text == "-"
    assert shown["n", "GFLOP"].notes == ("GFLOP: an LSTM",)
    assert "GPU memory" not in {column.name for column in table.columns}
    on_gpu = cost_table([costing("a", "g", 5.0, gpu_bytes=700 << 20)], ["g"])
    assert cells(on_gpu)["g", "GPU memory"].value == 700


def test_a_cost_of_an_earlier_version_says_so() -> None:
    table = cost_table([made("a", "old", 0.5, provenance={})], ["old"])
    assert "run the benchmark again" in cells(table)["old", "Parameters"].notes[0]


def test_a_speed_beside_other_load_is_marked() -> None:
    table = cost_table([costing("a", "g", 5.0, other_load=0.4)], ["g"])
    for column in ("Speed", "Clips per second"):
        assert "other processes used 40%" in cells(table)["g", column].notes[0]
    quiet = cost_table([costing("a", "g", 5.0, other_load=0.04)], ["g"])
    assert not cells(quiet)["g", "Speed"].notes


def test_published_figures_stand_apart_with_source_and_protocol() -> None:
    figures = read_published()
    parts = {part.anchor: part for part in sections(leaderboards(some()), figures, {})}
    published = parts.pop("published")
    assert "not measured here" in published.caption
    assert len(published.tables) == len({figure.protocol for figure in figures})
    by_protocol = {table.kind[1]: cells(table) for table in published.tables}
    for figure in figures:
        shown = by_protocol[figure.protocol]
        assert shown[figure.model, figure.task].value == figure.score
        assert shown[figure.model, "Source"].text == figure.source
    others = report_markdown(parts.values())
    assert not any(figure.model in others for figure in figures)


def test_the_report_does_not_depend_on_the_order_of_results() -> None:
    results, seen = some(), set()
    for order in np.random.default_rng(0).permutation([range(6)] * 3, axis=1).tolist():
        chosen = [results[i] for i in order]
        parts = sections(leaderboards(chosen), read_published(), {})
        every = [t for part in parts for t in (*part.tables, *part.tasks)]
        seen.add((report_markdown(parts), to_csv(every), about(chosen)))
    assert len(seen) == 1


def test_scores_in_hears_measures_have_a_section_of_their_own() -> None:
    measures = [
        dataclasses.replace(
            made("birds", model, 0.5),
            protocol="heareval-2021.1.3",
            task="esc50-v2.0.0-full",
            unit="own",
            metric="mAP",
            metrics={"mAP": {"value": value}},
            hear_task="esc50",
        )
        for model, value in (("low", 0.1234), ("high", 0.5678))
    ]
    parts = {part.anchor: part for part in sections(leaderboards(some()), [], {}, measures)}
    (table,) = parts["hear"].tables
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["high", "0.568"],
        ["low", "0.123"],
    ]
    assert "0.568" not in report_markdown([parts["linear-1"], parts["mlp-1"]])
    assert {"high", "low"} < {row[0].text for row in parts["cost"].tables[0].rows}
    alone = [part.anchor for part in sections([], [], {}, measures)]
    assert alone == ["hear", "cost"]


def test_without_corruptions_and_figures_there_is_no_such_section() -> None:
    parts = sections(leaderboards(some()), [], {})
    assert [part.anchor for part in parts] == ["linear-1", "mlp-1", "cost", "provenance"]


def test_a_model_without_a_result_has_no_row_of_cost() -> None:
    table = cost_table([costing("a", "g", 5.0)], ["absent", "g"])
    assert len(table.rows) == 1
