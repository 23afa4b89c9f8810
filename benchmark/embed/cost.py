"""What a model costs: parameters, arithmetic, speed and memory, each a number or a reason."""

from dataclasses import dataclass
from typing import Any

from benchmark.embed.arithmetic import COUNTED, CountError, gflop_per_second
from benchmark.embed.cache import Progress
from benchmark.embed.model import HearModel
from benchmark.embed.peak_memory import PeakMemory

EARLIER = "embedded by an earlier version, which did not measure it"


@dataclass(frozen=True)
class Cost:
    """What one model cost on one task.

    Speed and memory are those of the run that embedded: a run that takes embeddings from the cache
    reports what was measured when they were made.

    Attributes:
        parameters: of the loaded model, all of them.
        gflop_per_second: 10^9 operations a second of sound, see `counted`.
        real_time_factor: seconds of sound embedded in a second, decoding included.
        peak_bytes: most resident memory of the embedding process.
        held_bytes: of these, what was held when it began: interpreter, libraries, weights, and
            what earlier models of the same run left.
        gpu_bytes: most memory of tensors on the GPU; None where there was none.
        counted: what `gflop_per_second` counts.
        missing: why a number is None, by its name.
    """

    parameters: int | None
    gflop_per_second: float | None
    real_time_factor: float | None
    peak_bytes: int | None
    held_bytes: int | None
    gpu_bytes: int | None
    counted: str
    missing: dict[str, str]


def note_peak(progress: Progress, peak: PeakMemory) -> None:
    """Keep the peak memory of a run, or the larger of it and an earlier run's.

    Args:
        progress: of the array that was filled.
        peak: made before the run.
    """
    found, before = peak.process_bytes(), progress.cost.get("peak_bytes", 0)
    if isinstance(found, str) or isinstance(before, str):
        progress.cost["peak_bytes"] = found if isinstance(found, str) else before
        progress.cost["held_bytes"] = None
    elif found > before:
        progress.cost |= {"peak_bytes": found, "held_bytes": peak.held}
    gpu = peak.gpu_bytes()
    if gpu is not None:
        progress.cost["gpu_bytes"] = max(gpu, progress.cost.get("gpu_bytes") or 0)


def note_arithmetic(progress: Progress, model: HearModel) -> bool:
    """Count the model's arithmetic unless the cache holds it; return whether it was counted.

    Args:
        progress: of the model's array.
        model: loaded.
    """
    if "gflop_per_second" in progress.cost:
        return False
    try:
        progress.cost["gflop_per_second"] = gflop_per_second(model)
    except CountError as error:
        progress.cost["gflop_per_second"] = str(error)
    return True


def cost_of(progress: Progress, model: HearModel) -> Cost:
    """Return what is known of a model's cost on a task.

    Args:
        progress: of its array, after the arithmetic was noted.
        model: loaded.
    """
    parameters: int | str = sum(p.numel() for p in model.model.parameters())
    gflop = progress.cost.get("gflop_per_second", "not counted")
    if not parameters and isinstance(gflop, str):
        parameters = "no torch parameters, and it may compute elsewhere"
    factor: float | str = EARLIER
    if progress.sound is not None and progress.seconds > 0:
        factor = progress.sound / progress.seconds
    found: dict[str, Any] = {
        "parameters": parameters,
        "gflop_per_second": gflop,
        "real_time_factor": factor,
        "peak_bytes": progress.cost.get("peak_bytes", EARLIER),
    }
    missing = {name: value for name, value in found.items() if isinstance(value, str)}
    numbers = {name: None if name in missing else value for name, value in found.items()}
    more = {name: progress.cost.get(name) for name in ("held_bytes", "gpu_bytes")}
    return Cost(**numbers, **more, counted=COUNTED, missing=missing)
