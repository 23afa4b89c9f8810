"""The part of the report's page that says what each model costs."""

import statistics
from collections.abc import Sequence
from html import escape

from benchmark.report.cost_table import SHOWN, ModelCost, model_costs
from benchmark.report.html import (
    NONE,
    THIN,
    Column,
    Entry,
    model_name,
    number,
    small,
    sorting_table,
)
from benchmark.results.schema import Result

MIB = 2**20


def cost(results: Sequence[Result]) -> str:
    """Return the section with parameters, arithmetic, speed and memory of each model.

    Args:
        results: of any tasks and protocols.
    """
    costs = model_costs(results)
    gpu = any(found.gpu_bytes is not None for found in costs)
    columns = [
        Column("Model", text=True),
        Column("Dimensions"),
        Column("Parameters", below="millions"),
        Column("GFLOP", below="per second of sound"),
        Column("Clips per second"),
        Column("Speed", below="times real time"),
        Column("Peak memory", below="MiB, the process"),
        Column("Held before", below="MiB"),
        *[Column("Peak on the GPU", below="MiB, tensors")] * gpu,
        Column("Device", text=True),
    ]
    rows = [_row(found, gpu) for found in costs]
    counted = sorted({c["counted"] for r in results if (c := r.provenance.get("cost"))})
    caption = (
        "Medians over the tasks measured; of memory, the most. Speed counts decoding and embedding "
        "together, on the machine named, so compare it only where machine and tasks are the same. "
        "Memory holds interpreter, libraries and what earlier models of a run left, so compare "
        "what is above the memory held before. Speed and memory are those of the run that "
        "embedded, not of one that took embeddings from the cache."
    )
    if counted:
        caption += f" GFLOP counts {escape('; '.join(counted))}."
    reasons = "".join(
        f"<li>{escape(found.model)}, {SHOWN[name]}: {escape(why)}</li>"
        for found in costs
        for name, why in found.missing.items()
    )
    why = f'<p class="note">Not known:</p><ul class="note">{reasons}</ul>' if reasons else ""
    return (
        f'<section><h2 id="cost">Cost of each model</h2>'
        f"{sorting_table(caption, columns, rows)}{why}</section>"
    )


def _row(found: ModelCost, gpu: bool) -> list[Entry]:
    """Return the cells of one model."""
    speeds = found.speeds
    speed = number(statistics.median(speeds) if speeds else None, 0)
    if speeds[1:]:
        reach = f"{speeds[0]:,.0f} to {speeds[-1]:,.0f}".replace(",", THIN)
        speed = Entry(speed.shown + small(reach), speed.value)
    millions = None if found.parameters is None else found.parameters / 1e6
    memory = [found.peak_bytes, found.held_bytes, *[found.gpu_bytes] * gpu]
    devices = "; ".join(found.devices)
    return [
        Entry(model_name(found.model), found.model),
        number(found.embedding_size, 0),
        number(millions, 2),
        number(found.gflop_per_second, 3),
        speed,
        number(found.real_time_factor, 0),
        *[number(None if size is None else size / MIB, 0) for size in memory],
        Entry(escape(devices) or NONE, devices, wrap=True),
    ]
