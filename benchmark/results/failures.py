"""Why a task, model and protocol has no result: kept beside the results, for the report."""

import contextlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path

from benchmark.results.json_types import misfit
from benchmark.results.schema import ResultError, ResultKey
from wavebyol_hear.files.atomic import lock, write_text

FILE = "missing.json"
KEYS = ("task", "model", "protocol", "reason")
LOCK_SECONDS = 10.0


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

    Args:
        folder: of the results.
        failures: why there is no result.
        measured: what has a result now.

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
