"""Cost of a model: parameters, arithmetic, speed and memory, each a number or a reason.

torch's counter of operations passes over what it has no formula for: an LSTM or a product of a
matrix and a vector counts nothing there. A sum that lacks such a part is a wrong number, so
everything that runs is looked at, and one operation of that kind makes the answer a reason.
"""

import math
import re
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from benchmark.embed.cache import Progress
from wavebyol_hear.files.hear_checks import foreign_errors
from wavebyol_hear.files.hear_module import HearModel
from wavebyol_hear.files.memory import PeakMemory
from wavebyol_hear.files.threads import OtherLoad

EARLIER = "embedded by an earlier version, which did not measure it"
SECONDS = 4.0
COUNTED = (
    f"convolutions and matrix products of one scene embedding of {SECONDS:g} s, multiply and add "
    "as 2; no FFT, resampling or element-wise work"
)
PRODUCT = re.compile(
    r"rnn|lstm|gru|attention|transformer|conv(olution|\d)|linalg|cdist|einsum|matmul|mkldnn"
    r"|(^|_)(add|b|addb|int_|scaled_)?m[mv](_|$)|(^|_)v?dot(_|$)|(^|_)(bi|tri)?linear$"
)
"""Names of operations that multiply and add, wherever they have no formula."""
AUDIO_SIZE = 1000
"""Values from which a tensor that leaves torch is taken to be audio and not a setting."""


@dataclass(frozen=True)
class Cost:
    """Cost of one model on one task.

    Speed and memory are those of the run that embedded: a run that takes embeddings from the cache
    reports what was measured when they were made.
    """

    parameters: int | None  #: of the loaded model, all of them
    gflop_per_second: float | None  #: 10^9 operations per second of audio, see `counted`
    real_time_factor: float | None  #: seconds of audio embedded per second, decoding included
    peak_bytes: int | None  #: maximum of resident memory of the embedding process
    #: of these, what was held when it began: interpreter, libraries, weights, and what earlier
    #: models of the same run left
    held_bytes: int | None
    gpu_bytes: int | None  #: maximum of memory of tensors on the GPU; None where there was none
    #: share of this process's cores, 0 to 1, that others used meanwhile; None where not known
    other_load: float | None
    counted: str  #: what `gflop_per_second` counts
    missing: dict[str, str]  #: why a number is None, by its name


def note_run(progress: Progress, peak: PeakMemory, other: OtherLoad) -> None:
    """Keep a run's peak memory and what others used of its cores, or an earlier run's if larger."""
    now, before = peak.process_bytes(), progress.cost.get("peak_bytes", 0)
    if isinstance(now, str) or isinstance(before, str):
        progress.cost["peak_bytes"] = now if isinstance(now, str) else before
        progress.cost["held_bytes"] = None
    elif now > before:
        progress.cost |= {"peak_bytes": now, "held_bytes": peak.held}
    gpu = peak.gpu_bytes()
    if gpu is not None:
        progress.cost["gpu_bytes"] = max(gpu, progress.cost.get("gpu_bytes") or 0)
    share = other.share()
    if share is not None:
        progress.cost["other_load"] = max(round(share, 3), progress.cost.get("other_load") or 0.0)


def note_arithmetic(progress: Progress, model: HearModel) -> bool:
    """Count the model's arithmetic unless the cache holds it; return whether it was counted."""
    if "gflop_per_second" in progress.cost:
        return False
    try:
        progress.cost["gflop_per_second"] = gflop_per_second(model)
    except CountError as error:
        progress.cost["gflop_per_second"] = str(error)
    return True


def cost_of(progress: Progress, model: HearModel) -> Cost:
    """Return what is known of a model's cost on a task."""
    parameters: int | str = sum(p.numel() for p in model.model.parameters())
    gflop = progress.cost.get("gflop_per_second", "not counted")
    if not parameters and isinstance(gflop, str):
        parameters = "no torch parameters, and it may compute elsewhere"
    factor: float | str = EARLIER
    if progress.audio_seconds is not None and progress.seconds > 0:
        factor = progress.audio_seconds / progress.seconds
    values: dict[str, Any] = {
        "parameters": parameters,
        "gflop_per_second": gflop,
        "real_time_factor": factor,
        "peak_bytes": progress.cost.get("peak_bytes", EARLIER),
    }
    missing = {name: value for name, value in values.items() if isinstance(value, str)}
    numbers = {name: None if name in missing else value for name, value in values.items()}
    more = {name: progress.cost.get(name) for name in ("held_bytes", "gpu_bytes", "other_load")}
    return Cost(**numbers, **more, counted=COUNTED, missing=missing)


def _product(_: Sequence[int], left: Sequence[int], right: Sequence[int], **__: object) -> int:
    """Return the operations of a product that is added to what is there."""
    return 2 * math.prod(left) * right[-1]


IN_PLACE = dict.fromkeys((torch.ops.aten.addmm_, torch.ops.aten.baddbmm_), _product)
"""Operations that torch's counter knows only where they return something new."""


class CountError(ValueError):
    """A module whose arithmetic cannot be counted; the message is the reason."""


class _Watch(TorchDispatchMode):
    """Notes operations that compute products and that the counter has no formula for."""

    def __init__(self, formulas: Container[object]) -> None:
        super().__init__()
        self.formulas = formulas
        self.uncounted: set[str] = set()

    def __torch_dispatch__(
        self, func: OpOverload, types: Sequence[type], args: tuple = (), kwargs: dict | None = None
    ) -> object:
        """Run an operation and look at its name."""
        space, _, name = func.name().partition("::")
        name = name.partition(".")[0]
        known = space in ("aten", "prim", "prims", "profiler") and not PRODUCT.search(name)
        if not known and func.overloadpacket not in self.formulas:
            self.uncounted.add(f"{space}::{name}")
        return func(*args, **(kwargs or {}))


class _Exit(TorchFunctionMode):
    """Notes audio that leaves torch for code that cannot be seen from here."""

    DOORS = ("numpy", "__array__", "__dlpack__", "tolist")

    def __init__(self) -> None:
        super().__init__()
        self.left: set[str] = set()

    def __torch_function__(
        self, func: Callable, types: Sequence[type], args: tuple = (), kwargs: dict | None = None
    ) -> object:
        """Call a function and note whether it is a way out."""
        name = getattr(func, "__name__", "")
        if name in self.DOORS and isinstance(args[0], Tensor) and args[0].numel() >= AUDIO_SIZE:
            self.left.add(name)
        return func(*args, **(kwargs or {}))


def gflop_per_second(model: HearModel, seconds: float = SECONDS) -> float:
    """Count what one scene embedding of noise computes, in 10^9 operations per second of audio.

    A module that pads audio of `seconds` to a longer window counts its padding.

    Raises:
        CountError: the module fails, leaves torch, is compiled, or computes products of a kind
            that has no formula.
    """
    # Such parts run outside what torch's modes see.
    kinds = torch.jit.ScriptModule | torch._dynamo.OptimizedModule
    compiled = [type(part).__name__ for part in model.model.modules() if isinstance(part, kinds)]
    if compiled:
        raise CountError(f"its {compiled[0]} is compiled, and what runs inside cannot be seen")
    samples = round(seconds * model.sample_rate)
    audio = 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
    audio = audio.to(model.device)
    counter = FlopCounterMode(display=False, custom_mapping=IN_PLACE)
    watch, exit_mode = _Watch(counter.flop_registry), _Exit()
    fast_attention = torch.backends.mha.get_fastpath_enabled()
    try:
        with foreign_errors(CountError, "it failed while it was counted"), torch.inference_mode():
            # The first call may prepare things once, such as try which precision is faster.
            model.module.get_scene_embeddings(audio, model.model)
            # A CPU's fused kernels of attention have no formula; plain matrix products have.
            torch.backends.mha.set_fastpath_enabled(False)
            with sdpa_kernel(SDPBackend.MATH), watch, counter, exit_mode:
                model.module.get_scene_embeddings(audio, model.model)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_attention)
    if exit_mode.left:
        raise CountError(f"audio leaves torch (by {', '.join(sorted(exit_mode.left))})")
    if watch.uncounted:
        raise CountError(f"no formula for {', '.join(sorted(watch.uncounted))}")
    if not counter.get_total_flops():
        raise CountError("no convolution and no matrix product was seen")
    return counter.get_total_flops() / seconds / 1e9
