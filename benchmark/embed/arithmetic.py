"""How much a HEAR module computes: GFLOP a second of sound, or the reason it cannot be said.

torch's counter passes over what it has no formula for: an LSTM or a product of a matrix and a
vector counts nothing there. A sum that lacks such a part is a wrong number, so everything that runs
is looked at, and one operation of that kind makes the answer a reason.
"""

import math
import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from benchmark.embed.model import HearModel, one_line

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
SOUND = 1000
"""Values from which a tensor that leaves torch is taken to be sound and not a setting."""


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
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Run an operation and look at its name."""
        space, _, name = func.name().partition("::")
        name = name.partition(".")[0]
        known = space in ("aten", "prim", "prims", "profiler") and not PRODUCT.search(name)
        if not known and func.overloadpacket not in self.formulas:
            self.uncounted.add(f"{space}::{name}")
        return func(*args, **(kwargs or {}))


class _Border(TorchFunctionMode):
    """Notes sound that leaves torch for code that cannot be seen from here."""

    DOORS = ("numpy", "__array__", "__dlpack__", "tolist")

    def __init__(self) -> None:
        super().__init__()
        self.left: set[str] = set()

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Call a function and note whether it is a way out."""
        name = getattr(func, "__name__", "")
        if name in self.DOORS and isinstance(args[0], Tensor) and args[0].numel() >= SOUND:
            self.left.add(name)
        return func(*args, **(kwargs or {}))


def gflop_per_second(model: HearModel, seconds: float = SECONDS) -> float:
    """Count what one scene embedding of noise computes, in 10^9 operations a second of sound.

    Args:
        model: loaded.
        seconds: of the sound; a module that pads to a longer window counts its padding.

    Raises:
        CountError: the module fails, leaves torch, is compiled, or computes products of a kind
            that has no formula.
    """
    compiled = [type(part).__name__ for part in model.model.modules() if _is_compiled(part)]
    if compiled:
        raise CountError(f"its {compiled[0]} is compiled, and what runs inside cannot be seen")
    samples = round(seconds * model.sample_rate)
    sound = 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
    sound = sound.to(model.device)
    counter = FlopCounterMode(display=False, custom_mapping=IN_PLACE)
    watch, border = _Watch(counter.flop_registry), _Border()
    try:
        with torch.inference_mode():
            # The first call may prepare things once, such as try which precision is faster.
            model.module.get_scene_embeddings(sound, model.model)
            with _open_attention(), watch, counter, border:
                model.module.get_scene_embeddings(sound, model.model)
    except Exception as error:  # foreign code may raise anything, under the counter more so
        raise CountError(f"it failed while it was counted ({one_line(error)})") from error
    if border.left:
        raise CountError(f"sound leaves torch (by {', '.join(sorted(border.left))})")
    if watch.uncounted:
        raise CountError(f"no formula for {', '.join(sorted(watch.uncounted))}")
    if not counter.get_total_flops():
        raise CountError("no convolution and no matrix product was seen")
    return counter.get_total_flops() / seconds / 1e9


def _is_compiled(part: nn.Module) -> bool:
    """Return whether a module runs outside what torch's modes see."""
    return isinstance(part, torch.jit.ScriptModule | torch._dynamo.OptimizedModule)


@contextmanager
def _open_attention() -> Iterator[None]:
    """Compute attention by plain matrix products: the fused kernels of a CPU have no formula."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
