"""What each model costs, over the tasks it was measured on, as a table."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.report.text_table import DASH, Notes, aligned, in_markdown
from benchmark.results.schema import Result


@dataclass(frozen=True)
class ModelCost:
    """The cost of one model.

    Attributes:
        model: `module` or `module:weights`.
        embedding_size: None where tasks disagree.
        parameters: of the loaded model.
        gflop_per_second: 10^9 operations a second of sound.
        speeds: clips embedded in a second on each task, ascending.
        real_time_factor: seconds of sound embedded in a second, the median over tasks.
        peak_bytes: most memory of the embedding process on any task.
        held_bytes: of these, what was held before embedding began.
        gpu_bytes: most memory of tensors on the GPU on any task.
        devices: that embedded.
        missing: why a number is None, by its name.
    """

    model: str
    embedding_size: int | None
    parameters: int | None
    gflop_per_second: float | None
    speeds: list[float]
    real_time_factor: float | None
    peak_bytes: int | None
    held_bytes: int | None
    gpu_bytes: int | None
    devices: list[str]
    missing: dict[str, str]


SHOWN = {
    "parameters": "parameters",
    "gflop_per_second": "GFLOP per second of sound",
    "real_time_factor": "times real time",
    "peak_bytes": "peak memory",
}
"""Names of the numbers that every cost has, for readers."""
NO_COST = "measured by an earlier version; run the benchmark again"


def model_costs(results: Sequence[Result]) -> list[ModelCost]:
    """Return the cost of every model among results, by name.

    Args:
        results: of any tasks and protocols.
    """
    found = []
    for model in sorted({result.model for result in results}):
        # One embedding serves all protocols of a task, so each task counts once.
        own = list({r.task: r.provenance for r in results if r.model == model}.values())
        costs: list[dict[str, Any]] = [told["cost"] for told in own if "cost" in told]
        known = {
            name: [cost[name] for cost in costs if cost[name] is not None]
            for name in (*SHOWN, "gpu_bytes")
        }
        why: dict[str, str] = {}
        for cost in costs:
            why |= cost["missing"]
        sizes = {size for told in own if (size := told.get("embedding_size"))}
        speeds = [speed for told in own if (speed := told.get("clips_per_second") or 0.0) > 0]
        found.append(
            ModelCost(
                model=model,
                embedding_size=sizes.pop() if len(sizes) == 1 else None,
                parameters=max(known["parameters"], default=None),
                gflop_per_second=_median(known["gflop_per_second"]),
                speeds=sorted(speeds),
                real_time_factor=_median(known["real_time_factor"]),
                peak_bytes=max(known["peak_bytes"], default=None),
                held_bytes=_held(costs),
                gpu_bytes=max(known["gpu_bytes"], default=None),
                devices=sorted({_device(told) for told in own}),
                missing={name: why.get(name, NO_COST) for name in SHOWN if not known[name]},
            )
        )
    return found


def cost_table(results: Sequence[Result], *, markdown: bool = False) -> str:
    """Return a row a model with its parameters, arithmetic, speed and memory.

    Args:
        results: at least one.
        markdown: whether to write Markdown; otherwise aligned text.
    """
    costs, notes = model_costs(results), Notes()
    gpu = any(cost.gpu_bytes is not None for cost in costs)
    head = [
        "model",
        "parameters",
        "GFLOP/s of sound",
        "clips/s",
        "x real time",
        "peak MiB",
        "held before",
    ]
    rows = [head + ["GPU MiB"] * gpu + ["device"]]
    for cost in costs:
        speed = statistics.median(cost.speeds) if cost.speeds else None
        shown = {
            "parameters": _shown(cost.parameters, 0),
            "gflop_per_second": _shown(cost.gflop_per_second, 3),
            "speed": _shown(speed, 1),
            "real_time_factor": _shown(cost.real_time_factor, 0),
            "peak_bytes": _shown(cost.peak_bytes and cost.peak_bytes / 2**20, 0),
        }
        for name, why in cost.missing.items():
            shown[name] += f" {notes.mark(f'{cost.model}, {SHOWN[name]}: {why}')}"
        memory = [_shown(cost.held_bytes and cost.held_bytes / 2**20, 0)]
        memory += [_shown(cost.gpu_bytes and cost.gpu_bytes / 2**20, 0)] * gpu
        rows.append([cost.model, *shown.values(), *memory, "; ".join(cost.devices)])
    counted = {told["counted"] for r in results if (told := r.provenance.get("cost"))}
    title = "Cost, medians over tasks, decoding included in speed, peak over tasks"
    title += f"; GFLOP: {'; '.join(sorted(counted))}" if counted else ""
    body = in_markdown(rows) if markdown else aligned(rows)
    end = "  \n" if markdown else "\n"
    return "\n\n".join(part for part in (title, body, end.join(notes.lines())) if part)


def _held(costs: Sequence[dict[str, Any]]) -> int | None:
    """Return what was held before the run that had the highest peak."""
    peaks = [cost for cost in costs if cost["peak_bytes"] is not None]
    most = max(peaks, key=lambda cost: cost["peak_bytes"], default={"held_bytes": None})
    return most.get("held_bytes")


def _median(values: Sequence[float]) -> float | None:
    """Return the median; None of nothing."""
    return statistics.median(values) if values else None


def _shown(value: float | None, digits: int) -> str:
    """Return a number as text, a dash where there is none."""
    return DASH if value is None else f"{value:,.{digits}f}"


def _device(provenance: dict[str, Any]) -> str:
    """Return where a result was measured."""
    machine = provenance.get("machine", {})
    told = f"{machine.get('device', 'unknown')}: {machine.get('processor', 'unknown')}"
    cores = machine.get("cores", 0)
    return told + f", {cores} core{'s' * (cores != 1)}" * bool(cores)
