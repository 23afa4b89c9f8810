"""What a HEAR module must be and return; whatever else it does is an error of one line."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from wavebyol_hear.files.model_spec import HearError, one_line

SIZES = ("scene_embedding_size", "timestamp_embedding_size")
SAMPLE_RATES = (16000, 22050, 32000, 44100, 48000)


@contextmanager
def foreign_errors(kind: type[Exception], what: str, remedy: str = "") -> Iterator[None]:
    """Turn whatever foreign code raises, `SystemExit` too, into an error of one line.

    Example:
        >>> import sys
        >>> with foreign_errors(HearError, "m: load_model failed", "; check the weights"):
        ...     sys.exit("no file")
        Traceback (most recent call last):
        ...
        wavebyol_hear.files.model_spec.HearError: m: load_model failed (SystemExit: no file); \
check the weights
    """
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise kind(f"{what} ({one_line(error)}){remedy}") from error


def check_options(
    spec: str, function: Callable[..., object], options: Mapping[str, object]
) -> None:
    """Raise unless a `load_model`, whose first parameter is the weights, takes these options."""
    parameters = list(inspect.signature(function).parameters.values()) if options else []
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = {each.name: each for each in parameters[1:] if each.kind in named}
    for name, value in options.items():
        if name not in known:
            exist = f"it has {', '.join(known)}" if known else "it has none"
            raise HearError(f"{spec}: load_model has no option {name!r}; {exist}")
        if isinstance(known[name].default, bool) and not isinstance(value, bool):
            raise HearError(f"{spec}: {name} is {value!r}; give true or false")


def check_attributes(name: str, model: object) -> None:
    """Check that a loaded model is a torch module with the attributes HEAR asks for."""
    if not isinstance(model, nn.Module):
        raise HearError(
            f"{name}: load_model returned {type(model).__name__}; return a torch.nn.Module"
        )
    for attribute in ("sample_rate", *SIZES):
        value = getattr(model, attribute, None)
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            raise HearError(f"{name}: model.{attribute} is {value!r}; set a positive int")
    if model.sample_rate not in SAMPLE_RATES:
        raise HearError(
            f"{name}: model.sample_rate is {model.sample_rate}; HEAR knows {SAMPLE_RATES}"
        )


def check_tensor(what: str, answer: object, shape: tuple[int, ...]) -> Tensor:
    """Return an answer that is a float32 tensor of one shape."""
    if not isinstance(answer, Tensor):
        raise HearError(f"{what} returned {type(answer).__name__}; return a torch.Tensor")
    if tuple(answer.shape) != shape:
        got = tuple(answer.shape)
        raise HearError(
            f"{what} returned shape {got} where {shape} is wanted; make it fit the batch and the "
            "model's embedding size"
        )
    if answer.dtype != torch.float32:
        raise HearError(f"{what} returned {answer.dtype}; return torch.float32")
    return answer


def check_timestamps(what: str, answer: object, clips: int, size: int) -> tuple[Tensor, Tensor]:
    """Return an answer that is a pair of embeddings and of finite instants in ms.

    Shape:
        embeddings float32 `[clips, T, size]`, instants floating point `[clips, T]`.
    """
    values, stamps = answer if isinstance(answer, tuple) and len(answer) == 2 else (None, None)
    if not isinstance(stamps, Tensor):
        raise HearError(
            f"{what} returned {type(answer).__name__}; return a pair of tensors, embeddings "
            "and timestamps"
        )
    # HEAR leaves the timestamps' precision open; in float32 they blur after hours.
    if not stamps.is_floating_point():
        raise HearError(f"{what}: the timestamps are {stamps.dtype}; return floating point ms")
    if stamps.ndim != 2 or len(stamps) != clips or not stamps.shape[1]:
        raise HearError(
            f"{what}: the timestamps' shape is {tuple(stamps.shape)}; make it [{clips}, T]"
        )
    if not stamps.isfinite().all():
        raise HearError(f"{what}: a timestamp is NaN or infinity; return finite ms")
    return check_tensor(f"{what} (embeddings)", values, (*stamps.shape, size)), stamps
