"""Optional dependencies: imported when they are needed, and named in one line where missing."""

import importlib
from types import ModuleType


class MissingExtraError(ImportError):
    """A package of an extra is not installed; one line that says how to install it."""


def require(module: str, extra: str, what: str) -> ModuleType:
    """Import a package that only an extra of `wavebyol-hear` installs.

    Args:
        module: its import name, such as `pyarrow`.
        extra: of setup.cfg that brings it, such as `files`.
        what: needs it, for the message, such as `wavebyol embed`.

    Raises:
        MissingExtraError: it is not installed, or cannot be imported.

    Example:
        >>> require("json", "files", "wavebyol embed").__name__
        'json'
        >>> require("no_such_package", "files", "wavebyol embed")
        Traceback (most recent call last):
        ...
        wavebyol_hear.files.extras.MissingExtraError: wavebyol embed needs no_such_package: \
pip install '.[files]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or module).partition(".")[0]
        raise MissingExtraError(f"{what} needs {missing}: pip install '.[{extra}]'") from error
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise MissingExtraError(
            f"{what} needs {module}, which cannot be imported ({reason}): "
            f"pip install --force-reinstall '.[{extra}]'"
        ) from error
