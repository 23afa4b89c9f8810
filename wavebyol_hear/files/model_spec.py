"""A HEAR module as users write it: `module[:weights][?key=value&...]`."""

import ast
from dataclasses import dataclass


class HearError(ValueError):
    """A module that does not honour the HEAR API; one line with the module and the remedy."""


@dataclass(frozen=True)
class ModelSpec:
    """A model as users write it: `module[:weights][?key=value&...]`.

    The module is an import path, the weights a path or "", the options keyword arguments for the
    module's `load_model`.
    """

    module: str
    weights: str
    options: dict[str, bool | int | float | str]


def parse_spec(spec: str) -> ModelSpec:
    """Return the parts of a model specification.

    The module ends at the first `:` or `?`, the options begin behind the last `?`. So a path may
    hold `:`; one that holds `?` is written with a `?` at its end. A value is true, false, a number,
    a quoted text, or else the text as it stands.

    Raises:
        HearError: no module, or an option that is no `key=value`.

    Example:
        >>> parse_spec("baselines.byol_a:C:/w.pth?mean=-5.5&std=5")
        ModelSpec(module='baselines.byol_a', weights='C:/w.pth', options={'mean': -5.5, 'std': 5})
        >>> parse_spec("wavebyol_hear?whiten=false&pooling=bands").options
        {'whiten': False, 'pooling': 'bands'}
        >>> parse_spec("wavebyol_hear:odd?name.safetensors?").weights
        'odd?name.safetensors'
    """
    path, _, query = spec.rpartition("?") if "?" in spec else (spec, "", "")
    module, _, weights = path.partition(":")
    options: dict[str, bool | int | float | str] = {}
    for option in query.split("&") if query else ():
        key, equals, text = option.partition("=")
        if not equals or not key.isidentifier():
            raise HearError(
                f"{spec}: {option!r} is not an option key=value; a path that has ? is written with "
                "a ? at its end"
            )
        options[key] = _literal(text)
    if not module:
        raise HearError(f"{spec!r} names no module; write module[:weights][?key=value&...]")
    return ModelSpec(module, weights, options)


def _literal(text: str) -> bool | int | float | str:
    """Return what a text says as a truth value, a number or a quoted text, else the text."""
    try:
        value = ast.literal_eval({"true": "True", "false": "False"}.get(text.lower(), text))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if isinstance(value, int | float | str) else text


def one_line(error: BaseException) -> str:
    """Return an exception as one line: its kind and its message."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
