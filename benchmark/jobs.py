"""Every model on every task that can be measured; what cannot be gets a reason."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmark.cache import CacheError
from benchmark.embed import EmbedError, embed_task
from benchmark.hear_api import HearError
from benchmark.measure import measure
from benchmark.records import Clip, Task, TaskDataError, missing_data
from benchmark.results import Result, ResultError, write_result
from benchmark.rows import ProbeError
from benchmark.splits import SplitError
from benchmark.tasks.registry import absent_files, completeness, data_folder, task_root

BAD_SHARE = 0.01
"""Share of listed files that may be absent before the data counts as partial."""


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        out: folder of the results.
        data_dir: folder of the data sets; None takes the default.
        cache_dir: folder of the embeddings; None puts them in the data folder.
        device: torch device; None takes cuda where there is one.
        workers: processes that decode, 0 or more.
        allow_partial: whether to measure on part of a data set.
    """

    out: Path
    data_dir: Path | None = None
    cache_dir: Path | None = None
    device: str | None = None
    workers: int = 2
    allow_partial: bool = False


def measure_all(
    tasks: Sequence[Task], models: Sequence[str], settings: Settings
) -> tuple[list[Result], dict[tuple[str, str], str]]:
    """Measure every model on every task and write the results.

    Args:
        tasks: to measure on.
        models: `module` or `module:weights`.
        settings: how to measure.

    Returns:
        the results, and for each (task, model) without one the reason.
    """
    results: list[Result] = []
    missing: dict[tuple[str, str], str] = {}
    for task in tasks:
        try:
            clips, partial = _clips(task, settings)
        except (TaskDataError, OSError) as error:
            missing |= {(task.name, model): str(error) for model in models}
            continue
        for model in models:
            try:
                results.append(_measure_one(task, clips, partial, model, settings))
            except (
                TaskDataError,
                HearError,
                CacheError,
                EmbedError,
                SplitError,
                ProbeError,
                ResultError,
                OSError,
            ) as error:
                missing[task.name, model] = str(error)
    return results, missing


def _clips(task: Task, settings: Settings) -> tuple[list[Clip], str | None]:
    """Return the clips of a task and what the data lacks of the official set.

    Raises:
        TaskDataError: the data is missing, or partial without leave.
    """
    root = task_root(task, settings.data_dir)
    clips = task.index(root)
    lack = completeness(task, clips)
    absent = absent_files(clips, root)
    if len(absent) > BAD_SHARE * len(clips):
        gone = f"{len(absent)} of {len(clips)} listed files are absent, the first is {absent[0]}"
        lack = f"{lack}; {gone}" if lack else gone
    if lack and not settings.allow_partial:
        raise missing_data(task, root, f"{lack} (--allow-partial measures on what is there)")
    return clips, lack


def _measure_one(
    task: Task, clips: list[Clip], partial: str | None, model: str, settings: Settings
) -> Result:
    """Return the result of a model on a task after writing it."""
    device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
    root = task_root(task, settings.data_dir)
    cache = settings.cache_dir or data_folder(settings.data_dir) / "embeddings"
    notes = [f"{task.name}: {task.note}"] if task.note else []
    if task.convention:
        notes.append(f"{task.name}: {task.convention(root)}")
    with _untrained(notes) as untrained:
        embedded = embed_task(
            task, clips, root, model, device=device, cache_dir=cache, workers=settings.workers
        )
    result = measure(
        task,
        embedded,
        model,
        n_listed=len(clips),
        partial=partial,
        notes=notes,
        untrained=bool(untrained),
        device=device,
    )
    write_result(result, settings.out)
    return result


@contextmanager
def _untrained(notes: list[str]) -> Iterator[list[str]]:
    """Note a module's warning that its weights are untrained; all warnings are shown as ever.

    Args:
        notes: get the warning's text.

    Yields:
        the warnings found, filled at the end.
    """
    found: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        # Python shows a warning once a place: the second task must hear of it too.
        warnings.filterwarnings("always", message="(?i).*untrained", category=UserWarning)
        yield found
    for warning in caught:
        warnings.showwarning(
            warning.message, warning.category, warning.filename, warning.lineno, line=""
        )
        if "untrained" in str(warning.message).lower():
            found.append(str(warning.message))
    notes += dict.fromkeys(found)
