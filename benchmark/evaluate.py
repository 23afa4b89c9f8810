"""Every model on every task that can be measured; what cannot be gets a reason."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark.corrupted import embed_corrupted, rescore
from benchmark.data.clip import Clip, Task, TaskDataError, missing_data
from benchmark.data.corrupt import Corruption
from benchmark.data.registry import absent_files, completeness, data_folder, task_root
from benchmark.data.split import SplitError, make_folds
from benchmark.embed.cache import CacheError
from benchmark.embed.embed import EmbeddedTask, embed_task
from benchmark.embed.embedder import EmbedError
from benchmark.embed.model import HearError, capture_untrained_warning, load
from benchmark.finetune.config import FinetuneConfig
from benchmark.finetune.protocol import Finetune
from benchmark.measure import measure, probe
from benchmark.probes.protocols import PROTOCOLS, Protocol
from benchmark.probes.rows import ProbeError
from benchmark.results.failures import ResultKey, write_failures
from benchmark.results.schema import Result, ResultError, write_result

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
        workers: threads that decode, 0 or more.
        allow_partial: whether to measure on part of a data set.
        protocols: names in `PROTOCOLS`.
        seeds: runs of a protocol that draws at random, 1 or more.
        finetune: how the protocol finetune trains.
        corruptions: of test clips, on which the trained heads are scored too.
    """

    out: Path
    data_dir: Path | None = None
    cache_dir: Path | None = None
    device: str | None = None
    workers: int = 2
    allow_partial: bool = False
    protocols: tuple[str, ...] = ("linear",)
    seeds: int = 1
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    corruptions: tuple[Corruption, ...] = ()

    @property
    def place(self) -> str:
        """The torch device, chosen."""
        return self.device or ("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def cache(self) -> Path:
        """The folder of the embeddings, chosen."""
        return self.cache_dir or data_folder(self.data_dir) / "embeddings"


@dataclass(frozen=True)
class Job:
    """A model on a task.

    Attributes:
        task: to measure on.
        clips: that the task lists.
        root: of the task's data.
        partial: what the data lacks of the official set.
        model: `module` or `module:weights`.
    """

    task: Task
    clips: list[Clip]
    root: Path
    partial: str | None
    model: str


@dataclass(frozen=True)
class Embedded:
    """What the protocols of a job start from.

    Attributes:
        clean: the embeddings of the clips as they are.
        corrupted: those of the test clips under each corruption, by its name.
        notes: what a reader of the scores must know.
        untrained: whether the model warned that its weights are untrained.
    """

    clean: EmbeddedTask
    corrupted: dict[str, EmbeddedTask]
    notes: list[str]
    untrained: bool


EXPECTED = (
    TaskDataError,
    HearError,
    CacheError,
    EmbedError,
    SplitError,
    ProbeError,
    ResultError,
    OSError,
)
"""What may go wrong with one model, task or protocol; the others are measured all the same."""


def measure_all(
    tasks: Sequence[Task], models: Sequence[str], settings: Settings
) -> tuple[list[Result], dict[ResultKey, str]]:
    """Measure every model on every task under every protocol; write results and what is missing.

    Args:
        tasks: to measure on.
        models: `module` or `module:weights`.
        settings: how to measure.

    Returns:
        the results, and for each (task, model, protocol) without one the reason.
    """
    results: list[Result] = []
    missing: dict[ResultKey, str] = {}
    versions = [PROTOCOLS[name].version for name in settings.protocols]
    for task in tasks:
        try:
            clips, partial = _clips(task, settings)
        except (TaskDataError, SplitError, OSError) as error:
            missing |= {(task.name, m, version): str(error) for m in models for version in versions}
            continue
        for model in models:
            job = Job(task, clips, task_root(task, settings.data_dir), partial, model)
            try:
                embedded = _embed(job, settings)
            except EXPECTED as error:
                missing |= {(task.name, model, version): str(error) for version in versions}
                continue
            for protocol in _protocols(job, embedded.clean, settings):
                try:
                    result = _measure(job, embedded, protocol, settings)
                except EXPECTED as error:
                    missing[task.name, model, protocol.version] = str(error)
                else:
                    results.append(result)
    write_failures(settings.out, missing, results)
    return results, missing


def _clips(task: Task, settings: Settings) -> tuple[list[Clip], str | None]:
    """Return the clips of a task and what the data lacks of the official set.

    Raises:
        TaskDataError: the data is missing, or partial without leave.
        SplitError: the listed clips do not make the task's split, whatever files are there.
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
    # Before hours of embedding; once more after it, on the clips that could be read.
    splits, groups = (np.array([getattr(c, name) for c in clips]) for name in ("split", "group"))
    make_folds(task.split_policy, splits, groups)
    return clips, lack


def _embed(job: Job, settings: Settings) -> Embedded:
    """Load the model of a job once and embed the clips as they are and under each corruption."""
    task = job.task
    notes = [f"{task.name}: {task.note}"] if task.note else []
    if task.convention:
        notes.append(f"{task.name}: {task.convention(job.root)}")
    where: dict[str, Any] = {"cache_dir": settings.cache, "workers": settings.workers}
    with capture_untrained_warning(notes) as untrained:
        model = load(job.model, settings.place)
        clean = embed_task(task, job.clips, job.root, model, **where)
        corrupted = embed_corrupted(
            settings.corruptions, task, job.clips, clean, job.root, model, **where
        )
    return Embedded(clean, corrupted, notes, bool(untrained))


def _protocols(job: Job, embedded: EmbeddedTask, settings: Settings) -> list[Protocol]:
    """Return the protocols asked for; one that needs more than embeddings gets the job here."""
    tuning = Finetune(
        job.task,
        embedded,
        job.clips,
        job.root,
        job.model,
        settings.finetune,
        settings.cache,
        settings.workers,
    )
    chosen = [PROTOCOLS[name] for name in settings.protocols]
    return [replace(p, evaluate=tuning) if p.name == "finetune" else p for p in chosen]


def _measure(job: Job, embedded: Embedded, protocol: Protocol, settings: Settings) -> Result:
    """Return the result of a job under a protocol after writing it."""
    clean, corrupted, notes = embedded.clean, embedded.corrupted, embedded.notes
    if corrupted and protocol.name == "finetune":
        corrupted = {}
        notes = [*notes, "finetune: no corrupted clips, as it has no head for embeddings"]
    probed = probe(job.task, clean, protocol, device=settings.place, seeds=settings.seeds)
    result = measure(
        job.task,
        clean,
        job.model,
        probed,
        n_listed=len(job.clips),
        partial=job.partial,
        notes=notes,
        untrained=embedded.untrained,
        device=settings.place,
    )
    rescored = rescore(probed, clean, corrupted, len(job.task.classes))
    result = replace(result, corrupted=rescored)
    write_result(result, settings.out)
    return result
