"""Why a task, model and protocol has no result: kept beside the results, for the report."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmark.results.schema import Result, ResultError

FILE = "missing.json"
ResultKey = tuple[str, str, str]
"""Task, model and version of the protocol."""
KEYS = ("task", "model", "protocol", "reason")


def result_key(result: Result) -> ResultKey:
    """Return the place of a result."""
    return result.task, result.model, result.protocol


def read_failures(folder: Path) -> dict[ResultKey, str]:
    """Return the reasons kept in a folder; none where nothing was missing.

    Raises:
        ResultError: the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return {}
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        return {(row["task"], row["model"], row["protocol"]): str(row["reason"]) for row in listed}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResultError(f"{path}: is no list of reasons ({error}); delete it") from None


def write_failures(
    folder: Path, missing: Mapping[ResultKey, str], measured: Iterable[Result]
) -> None:
    """Add reasons to those kept, and forget those of what was measured since.

    Args:
        folder: of the results.
        missing: why there is no result, of this run.
        measured: results of this run.

    Raises:
        ResultError: the file that is there is damaged.
        OSError: the file cannot be written.
    """
    done = {result_key(result) for result in measured}
    kept = {place: why for place, why in read_failures(folder).items() if place not in done}
    kept |= missing
    path = folder / FILE
    if not kept:
        path.unlink(missing_ok=True)
        return
    rows = [dict(zip(KEYS, (*place, why), strict=True)) for place, why in sorted(kept.items())]
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)
