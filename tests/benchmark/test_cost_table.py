"""The cost of a model is shown once, whatever tasks and protocols it was measured on."""

import csv
import io

from benchmark.report.board import boards
from benchmark.report.cost import cost
from benchmark.report.cost_table import cost_table, model_costs
from benchmark.report.text import comma_separated, markdown
from benchmark.results.schema import Result
from tests.benchmark.made_results import made, made_cost


def costing(task: str, model: str, speed: float, protocol: str = "linear-1", **cost) -> Result:
    told = {"embedding_size": 8, "clips_per_second": speed, "cost": made_cost(**cost)}
    return made(task, model, 0.5, protocol=protocol, provenance=told)


def some() -> list[Result]:
    return [
        costing("a", "m", 10.0, real_time_factor=100.0, peak_bytes=200 << 20),
        costing("b", "m", 30.0, real_time_factor=300.0, peak_bytes=500 << 20, held_bytes=9),
        costing("a", "m", 10.0, "mlp-1", real_time_factor=100.0, peak_bytes=200 << 20),
        costing("a", "n", 5.0, gflop_per_second=None, missing={"gflop_per_second": "an LSTM"}),
    ]


def test_tasks_count_once_speed_is_a_median_and_memory_the_most() -> None:
    m, n = model_costs(some())
    assert m.speeds == [10.0, 30.0]
    assert m.real_time_factor == 200.0
    assert (m.peak_bytes, m.held_bytes) == (500 << 20, 9)
    assert (m.parameters, m.gflop_per_second, m.missing) == (1_234_567, 0.25, {})
    assert (n.gflop_per_second, n.missing) == (None, {"gflop_per_second": "an LSTM"})


def test_what_is_not_known_is_a_dash_with_its_reason() -> None:
    text = cost_table(some())
    row = next(line for line in text.splitlines() if line.startswith("n "))
    assert row.split()[:4] == ["n", "1,234,567", "-", "[1]"]
    assert "[1] n, GFLOP per second of sound: an LSTM" in text
    assert "n, GFLOP per second of sound: an LSTM" in cost(some())


def test_a_result_of_an_earlier_version_says_so() -> None:
    (found,) = model_costs([made("a", "old", 0.5, provenance={})])
    assert found.parameters is None
    assert "run the benchmark again" in found.missing["parameters"]
    assert "run the benchmark again" in cost_table([made("a", "old", 0.5, provenance={})])


def test_a_gpu_has_a_column_only_where_there_is_one() -> None:
    assert "GPU" not in cost_table(some())
    on_gpu = [costing("a", "g", 5.0, gpu_bytes=700 << 20)]
    assert "GPU MiB" in cost_table(on_gpu)
    assert "700" in cost_table(on_gpu)
    assert "Peak on the GPU" in cost(on_gpu)


def test_page_markdown_and_csv_show_it() -> None:
    found = boards(some())
    assert "## Cost of each model" in markdown(found, [])
    rows = csv.DictReader(io.StringIO(comma_separated(found, [])))
    values = {(r["model"], r["metric"]): r["value"] for r in rows if r["kind"] == "cost"}
    assert values["m", "parameters"] == "1234567"
    assert values["n", "gflop_per_second"] == ""
    assert "1.23" in cost(some())
