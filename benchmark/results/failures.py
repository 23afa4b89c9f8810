"""Why a task, model and protocol has no result: what fails costs itself, and the reason is kept."""

import contextlib
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

from benchmark.results.json_types import misfit
from benchmark.results.schema import Result, ResultError, ResultKey, read_result, result_key
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
    """Runs work, and keeps why a result is missing as it arises.

    Args:
        out: folder of the results, where reasons and tracebacks are written.
        expected: errors whose message is a whole reason; others get kind and traceback.
        journal: with what processes before this one have done, and notes what this one does.
    """

    def __init__(
        self, out: Path, expected: tuple[type[Exception], ...], journal: Journal | None = None
    ) -> None:
        self.out, self.expected, self.journal = out, expected, journal or Journal()
        self.results: list[Result] = [read_result(out / name) for name in self.journal.results]
        self.failures: dict[ResultKey, str] = {}
        if self.journal.failures:
            self._keep(self.journal.failures, ())

    def attempt(
        self,
        keys: Sequence[ResultKey],
        work: Callable[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T | None:
        """Return what work returns, or None where it raises or exits, or all results are there.

        An interrupt passes through. The results of these keys are missing where there is none.
        """
        there = {*self.failures, *map(result_key, self.results)}
        keys = [key for key in keys if key not in there]
        if not keys:
            return None
        self.journal.begin(keys)
        try:
            with state_put_back():
                return work(*args, **kwargs)
        except self.expected as error:
            reason = " ".join(str(error).split())
        except (Exception, SystemExit) as error:  # foreign code may raise anything
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:MAX_REASON]
            reason += self._traceback(keys[0])
        finally:
            self.journal.begin([])
        self.fail(keys, reason)
        return None

    def fail(self, keys: Sequence[ResultKey], reason: str) -> None:
        """Keep why there is no result."""
        self.journal.fail(keys, reason)
        self._keep(dict.fromkeys(keys, reason), ())

    def add(self, result: Result) -> None:
        """Keep a result that was written, and drop the reason why there was none."""
        self.results.append(result)
        self.journal.add(result.file_name)
        self._keep({}, (result_key(result),))

    def _keep(self, failures: dict[ResultKey, str], measured: tuple[ResultKey, ...]) -> None:
        self.failures |= failures
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
    """Put back what foreign code may change for the whole process.

    That is torch's default type and device, gradients, determinism and precision of products, and
    the working directory.
    """
    import torch  # here, as the report takes reasons from this file and needs no torch

    dtype, gradients = torch.get_default_dtype(), torch.is_grad_enabled()
    device = torch.get_default_device()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    precision, folder = torch.get_float32_matmul_precision(), Path.cwd()
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            torch.set_default_device(device)
        torch.set_grad_enabled(gradients)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
        torch.set_float32_matmul_precision(precision)
        os.chdir(folder)


def read_failures(folder: Path) -> dict[ResultKey, str]:
    """Return the reasons kept in a folder; none where nothing failed.

    Raises:
        ResultError: the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return {}
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        wrong = misfit(listed, list[dict[str, str]], "it")
        if wrong:
            raise ValueError(wrong)
        return {(row["task"], row["model"], row["protocol"]): row["reason"] for row in listed}
    except (OSError, ValueError, KeyError, RecursionError) as error:
        raise ResultError(f"{path}: is no list of reasons ({error}); delete it") from None


def write_failures(
    folder: Path, failures: Mapping[ResultKey, str], measured: Collection[ResultKey]
) -> None:
    """Add reasons to those kept, and drop those of what was measured since.

    Runs that share the folder take turns. A damaged file is replaced.

    Raises:
        OSError: the file cannot be written.
        LockedError: another run holds it for longer than 10 s.
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
