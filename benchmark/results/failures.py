"""Failures: each is caught, recorded with its reason, and does not affect other results."""

import contextlib
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

from benchmark.results.json_types import misfits
from benchmark.results.schema import Result, ResultError, ResultKey, read_result
from benchmark.results.supervisor import Journal
from wavebyol_hear.files.atomic import LockedError, lock, write_text

FILE = "missing.json"
KEYS = ("task", "model", "protocol", "reason")
LOCK_SECONDS = 10.0
MAX_REASON = 500
"""Characters of a reason."""
P = ParamSpec("P")
T = TypeVar("T")


class Guard:
    """Runs work, and records why results are missing.

    Args:
        out: folder of the results, for reasons and tracebacks.
        expected: errors whose message is sufficient; of others, type and traceback are kept too.
        journal: of the work of this command in earlier processes, which this one continues.
    """

    def __init__(
        self, out: Path, expected: tuple[type[Exception], ...], journal: Journal | None = None
    ) -> None:
        self.out, self.expected, self.journal = out, expected, journal or Journal()
        self.results: list[Result] = [read_result(out / name) for name in self.journal.results]
        self.failures = self.journal.failures
        if self.failures:
            self._write(self.failures)

    def attempt(
        self,
        keys: Sequence[ResultKey],
        work: Callable[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T | None:
        """Return the result of some work, or None if it fails or all results exist already.

        If it fails, the results with these keys are recorded as missing. Interrupts are raised.
        """
        there = {*self.failures, *(result.key for result in self.results)}
        keys = [key for key in keys if key not in there]
        if not keys:
            return None
        self.journal.note(under_way=keys)
        try:
            with state_put_back():
                return work(*args, **kwargs)
        except self.expected as error:
            reason = " ".join(str(error).split())
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # foreign code may raise anything
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:MAX_REASON]
            reason += self._traceback(keys[0])
        finally:
            self.journal.note(under_way=[])
        self.fail(keys, reason)
        return None

    def fail(self, keys: Sequence[ResultKey], reason: str) -> None:
        """Record why results are missing."""
        failures = dict.fromkeys(keys, reason)
        self.journal.note(failures=list(failures.items()))
        self.failures |= failures
        self._write(failures)

    def add(self, result: Result) -> None:
        """Record a written result, and remove the reason why it was missing."""
        self.results.append(result)
        self.journal.note(results=[result.file_name])
        self._write({}, result.key)

    def _write(self, failures: Mapping[ResultKey, str], *measured: ResultKey) -> None:
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            write_failures(self.out, failures, measured)
        except (OSError, LockedError) as error:
            sys.stderr.write(f"warning: the reasons for missing results are not kept: {error}\n")

    def _traceback(self, key: ResultKey) -> str:
        """Write the traceback of the error being handled, and say where."""
        name = re.sub(r"[^A-Za-z0-9._]+", "_", "--".join(key))[-150:]
        path = self.out / "tracebacks" / f"{name}.txt"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, traceback.format_exc())
        except OSError:
            return ""
        return f" (traceback in {path})"


@contextlib.contextmanager
def state_put_back() -> Iterator[None]:
    """Restore the settings of torch and the working directory, which models may change."""
    import torch  # here, as the report takes reasons from this file and needs no torch

    device, cudnn = torch.get_default_device(), torch.backends.cudnn
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    deterministic = torch.are_deterministic_algorithms_enabled()

    def restore_device() -> None:
        if torch.get_default_device() != device:
            torch.set_default_device(device)

    with contextlib.ExitStack() as at_exit:
        restore = at_exit.callback
        restore(torch.set_default_dtype, torch.get_default_dtype())
        restore(torch.set_grad_enabled, torch.is_grad_enabled())
        restore(torch.use_deterministic_algorithms, deterministic, warn_only=warn_only)
        restore(setattr, cudnn, "deterministic", cudnn.deterministic)
        restore(setattr, cudnn, "benchmark", cudnn.benchmark)
        restore(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
        restore(restore_device)
        restore(os.chdir, Path.cwd())
        yield


def read_failures(folder: Path) -> dict[ResultKey, str]:
    """Return the recorded reasons of a folder; none if nothing failed.

    Raises:
        ResultError: the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return {}
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        for wrong in misfits(listed, [dict.fromkeys(KEYS, str)], "it"):
            raise ValueError(wrong)
        return {(row["task"], row["model"], row["protocol"]): row["reason"] for row in listed}
    except (OSError, ValueError, RecursionError) as error:
        raise ResultError(f"{path}: is not a list of reasons ({error}); delete it") from None


def write_failures(
    folder: Path, failures: Mapping[ResultKey, str], measured: Collection[ResultKey]
) -> None:
    """Add reasons to a folder, and remove those of results that exist now.

    Runs that share the folder take turns, with a timeout of 10 s. A damaged file is replaced.

    Raises:
        OSError, LockedError: the file cannot be written, or another run holds it for longer.
    """
    path = folder / FILE
    with lock(folder / ".missing.lock", str(path), "choose another --out", timeout=LOCK_SECONDS):
        kept: dict[ResultKey, str] = {}
        with contextlib.suppress(ResultError):
            kept = read_failures(folder)
        after = {key: why for key, why in kept.items() if key not in measured} | dict(failures)
        if not after:
            path.unlink(missing_ok=True)
        elif after != kept:
            rows = [dict(zip(KEYS, (*key, why), strict=True)) for key, why in sorted(after.items())]
            write_text(path, json.dumps(rows, indent=1) + "\n")
