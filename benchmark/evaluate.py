"""Every model on every task under every protocol: clips, embeddings, probe, metrics, result.

A task is a data set of `benchmark.data.tasks` or a HEAR task folder. What fails costs only itself:
its reason is kept, and the rest is scored.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmark.data.clip import Clip, Task, TaskDataError, missing_data
from benchmark.data.corrupt import Corruption
from benchmark.data.hear_catalogue import HearTaskError
from benchmark.data.hear_folder import HearTask, read_task
from benchmark.data.registry import absent_files, completeness, data_folder, task_root
from benchmark.data.split import SplitError, make_folds
from benchmark.embed.cache import CacheError
from benchmark.embed.embed import EmbeddedTask, embed_task
from benchmark.embed.embedder import EmbedError
from benchmark.finetune.config import FinetuneConfig
from benchmark.finetune.protocol import Finetune
from benchmark.heareval.embed_events import EventEmbeddings, embed_events
from benchmark.heareval.predict import POINTS, HearevalError, protocol
from benchmark.heareval.protocols import (
    ACCURACIES,
    frames_result,
    heareval_folder,
    heareval_result,
    multilabel_result,
    own_protocol,
)
from benchmark.heareval.source import audio_at, faintness, hear_source
from benchmark.probes.protocols import PROTOCOLS, Protocol
from benchmark.probes.rows import ProbeError
from benchmark.results.guard import Guard
from benchmark.results.schema import Result, ResultError, ResultKey, write_result
from benchmark.results.score import ScoreContext, class_result, probe
from wavebyol_hear.files.hear_module import HearModel, capture_untrained_warning, load
from wavebyol_hear.files.model_spec import HearError

BAD_SHARE = 0.01
"""Share of listed files that may be absent before the data counts as partial."""
HEAR_BATCH_SECONDS = 81.92
"""Audio in one batch of a HEAR task: what fills whole parts of our model's longest clips."""
EXPECTED = (
    *(TaskDataError, HearTaskError, SplitError, HearError, CacheError, EmbedError),
    *(ProbeError, HearevalError, ResultError, OSError),
)
"""Errors whose message says what is wrong and what to do."""


@dataclass(frozen=True)
class Settings:
    """How to evaluate."""

    out: Path  #: folder of the results
    data_dir: Path | None = None  #: folder of the data sets; None takes the default
    cache_dir: Path | None = None  #: folder of the embeddings; None puts them in the data folder
    device: str | None = None  #: torch device; None takes cuda where there is one
    workers: int = 2  #: threads that decode, 0 or more
    allow_partial: bool = False  #: whether to evaluate on part of a data set
    protocols: tuple[str, ...] = ("linear",)  #: names in `PROTOCOLS`; HEAR tasks have heareval's
    seeds: int = 1  #: runs of a protocol that draws at random, 1 or more
    #: how the protocol finetune trains
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    #: of test clips, on which the trained heads are scored too
    corruptions: tuple[Corruption, ...] = ()
    precision: str = "fp32"  #: in which models compute that let it be chosen
    hear_grid: str = "default"  #: of heareval
    hear_points: int = POINTS  #: of the grid that are tried
    hear_linear: bool = False  #: whether our own probes score HEAR tasks too

    @property
    def torch_device(self) -> str:
        """The torch device, chosen."""
        return self.device or ("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def cache(self) -> Path:
        """The folder of the embeddings, chosen."""
        return self.cache_dir or data_folder(self.data_dir) / "embeddings"

    @property
    def heareval(self) -> str:
        """The version of the protocol under which heareval scores."""
        return protocol(self.hear_grid, self.hear_points)


@dataclass(frozen=True)
class Source:
    """A task and its clips."""

    task: Task  #: to evaluate on
    clips: list[Clip]  #: that the task lists
    root: Path  #: of the task's data
    partial: str | None = None  #: what the data lacks of the official set
    hear: HearTask | None = None  #: the task folder where it is one of HEAR's


@dataclass(frozen=True)
class Subject:
    """A model on a task, embedded: what its protocols start from."""

    context: ScoreContext  #: what every score says beside its numbers
    #: the clips as they are; frames where the task is of events
    embedded: EmbeddedTask | EventEmbeddings
    #: the test clips under each corruption, by its name
    corrupted: dict[str, EmbeddedTask] = field(default_factory=dict)
    #: in which heareval scores it; None for tasks that are not HEAR's
    heareval_folder: Path | None = None


def evaluate(
    tasks: Sequence[Task | Path],
    models: Sequence[str],
    settings: Settings,
    absent: Mapping[str, str] | None = None,
) -> tuple[list[Result], dict[ResultKey, str]]:
    """Score every model on every task; write results, and why one is missing, as they arise.

    Args:
        tasks: data sets, and folders of HEAR tasks.
        models: `module` or `module:weights`.
        settings: how to evaluate.
        absent: why a HEAR task that was asked for has no folder, by its name.

    Returns:
        the results, and for each (task, model, protocol) without one the reason.
    """
    guard = Guard(settings.out, EXPECTED)
    for name, why in (absent or {}).items():
        guard.fail([(name, model, settings.heareval) for model in models], why)
    for task in tasks:
        name, versions = task.name, [PROTOCOLS[name].version for name in settings.protocols]
        if isinstance(task, Path):
            versions = [settings.heareval]
        source = guard.attempt(
            [(name, model, version) for model in models for version in versions],
            read_source,
            task,
            settings,
        )
        if source is None:
            continue
        if source.hear and settings.hear_linear:
            versions = [own_protocol(source.hear), *versions]
        for model in models:
            keys = {version: (name, model, version) for version in versions}
            subject = guard.attempt(list(keys.values()), embed, source, model, settings)
            if subject is None:
                continue
            for version, score in scorers(source, subject, settings):
                result = guard.attempt([keys[version]], score)
                if result and guard.attempt([keys[version]], write_result, result, settings.out):
                    guard.add(result)
    return guard.results, guard.failures


def read_source(task: Task | Path, settings: Settings) -> Source:
    """List the clips of a task and check that they are enough and make its split.

    Raises:
        HearTaskError: a HEAR folder is not what it should be.
        TaskDataError: the data is missing, or partial without leave.
        SplitError: the listed clips do not make the task's split, whatever files are there.
    """
    if isinstance(task, Path):
        hear = read_task(task)
        record = hear_source(hear)
        return Source(record, record.index(task), task, hear=hear)
    root = task_root(task, settings.data_dir)
    clips = task.index(root)
    lack = completeness(task, clips)
    absent = absent_files(clips, root)
    if len(absent) > BAD_SHARE * len(clips):
        gone = f"{len(absent)} of {len(clips)} listed files are absent, the first is {absent[0]}"
        lack = f"{lack}; {gone}" if lack else gone
    if lack and not settings.allow_partial:
        raise missing_data(task, root, f"{lack} (--allow-partial evaluates on what is there)")
    # Before hours of embedding; once more after it, on the clips that could be read.
    splits, groups = (np.array([getattr(c, name) for c in clips]) for name in ("split", "group"))
    make_folds(task.split_policy, splits, groups)
    return Source(task, clips, root, lack)


def embed(source: Source, spec: str, settings: Settings) -> Subject:
    """Load a model once and embed the clips as they are and under each corruption.

    Args:
        source: the task.
        spec: `module` or `module:weights`.
        settings: how to evaluate.
    """
    task, hear = source.task, source.hear
    notes = [f"{task.name}: {task.note}"] if task.note else []
    if task.convention:
        notes.append(f"{task.name}: {task.convention(source.root)}")
    folder, corrupted = None, {}
    with capture_untrained_warning(notes) as untrained:
        model = load(spec, settings.torch_device, precision=settings.precision)
        if hear:
            embedded, more = _embed_hear(source, hear, model, settings)
            notes += more
            folder = heareval_folder(hear, model, embedded, settings.cache)
        else:
            embedded = embed_task(
                *(task, source.clips, source.root, model),
                cache_dir=settings.cache,
                workers=settings.workers,
            )
            corrupted = embed_corrupted(source, embedded, model, settings)
    partial = _with_loss(source, embedded, settings)
    if embedded.precision not in ("fp32", "as loaded"):
        notes.append(f"{task.name}, {spec}: computed in {embedded.precision}")
    context = ScoreContext(
        task,
        spec,
        len(source.clips),
        settings.torch_device,
        partial,
        notes,
        bool(untrained),
    )
    return Subject(context, embedded, corrupted, folder)


def _with_loss(
    source: Source, embedded: EmbeddedTask | EventEmbeddings, settings: Settings
) -> str | None:
    """Return what the data lacks, clips among it that are there and could not be used.

    Raises:
        TaskDataError: more than `BAD_SHARE` of the clips could not be used, without leave.
    """
    errors = embedded.errors if isinstance(embedded, EmbeddedTask) else ()
    if len(errors) <= BAD_SHARE * len(source.clips):
        return source.partial
    lost = f"{len(errors)} of {len(source.clips)} clips cannot be used, the first: {errors[0][1]}"
    if not settings.allow_partial:
        hint = "--allow-partial evaluates on what is left"
        raise missing_data(source.task, source.root, f"{lost} ({hint})")
    return f"{source.partial}; {lost}" if source.partial else lost


def _embed_hear(
    source: Source, hear: HearTask, model: HearModel, settings: Settings
) -> tuple[EmbeddedTask | EventEmbeddings, list[str]]:
    """Return the embeddings of a HEAR task, every clip of which must have one, and notes."""
    cache, workers = settings.cache, settings.workers
    root, clips = audio_at(hear, source.clips, model.sample_rate, cache / "hear-audio", workers)
    notes = faintness(hear, root, clips)
    if hear.embedding == "event":
        events = embed_events(
            *(source.task.name, clips, root, model),
            cache_dir=cache,
            workers=workers,
            batch_seconds=HEAR_BATCH_SECONDS,
        )
        return events, notes + events.notes
    embedded = embed_task(
        *(source.task, clips, root, model),
        cache_dir=cache,
        workers=workers,
        batch_seconds=HEAR_BATCH_SECONDS,
        pad_short=True,
    )
    if embedded.errors:
        raise HearTaskError(f"{embedded.errors[0][0]}: {embedded.errors[0][1]}")
    return embedded, notes


def embed_corrupted(
    source: Source, embedded: EmbeddedTask, model: HearModel, settings: Settings
) -> dict[str, EmbeddedTask]:
    """Embed a task's test clips under each corruption, by its name.

    Args:
        source: the task, whose test clips are meant: all of a task with folds.
        embedded: the clean clips; what could not be embedded there is left out here.
        model: loaded.
        settings: with the corruptions.
    """
    usable, folds = set(embedded.clip_ids.tolist()), source.task.split_policy == "folds"
    tested = [
        clip for clip in source.clips if clip.clip_id in usable and (folds or clip.split == "test")
    ]
    return {
        corruption.name: embed_task(
            *(source.task, tested, source.root, model),
            cache_dir=settings.cache,
            workers=settings.workers,
            corruption=corruption,
        )
        for corruption in settings.corruptions
    }


def scorers(
    source: Source, subject: Subject, settings: Settings
) -> Iterator[tuple[str, Callable[[], Result]]]:
    """Yield the version of each protocol of a task with what scores a subject under it."""
    hear, context, embedded = source.hear, subject.context, subject.embedded
    if hear and settings.hear_linear:
        version = own_protocol(hear)
        if isinstance(embedded, EventEmbeddings):
            yield version, partial(frames_result, hear, context, embedded)
        elif hear.prediction == "multilabel":
            yield version, partial(multilabel_result, hear, context, embedded)
        else:
            if hear.metrics[0] not in ACCURACIES:
                note = f"{hear.folder.name}: accuracy, where HEAR ranks by {hear.metrics[0]}"
                subject = replace(subject, context=replace(context, notes=[*context.notes, note]))
            yield version, partial(score_classes, source, subject, PROTOCOLS["linear"], settings)
    if hear:
        assert subject.heareval_folder is not None
        yield (
            settings.heareval,
            partial(
                heareval_result,
                *(hear, context, embedded, subject.heareval_folder),
                grid=settings.hear_grid,
                points=settings.hear_points,
            ),
        )
        return
    for name in settings.protocols:
        chosen = PROTOCOLS[name]
        yield chosen.version, partial(score_classes, source, subject, chosen, settings)


def score_classes(source: Source, subject: Subject, chosen: Protocol, settings: Settings) -> Result:
    """Score a subject under a protocol that predicts one class per clip.

    Args:
        source: the task.
        subject: the model on it.
        chosen: the protocol; "finetune", which needs audio, gets it here.
        settings: how to evaluate.
    """
    context, embedded, corrupted = subject.context, subject.embedded, subject.corrupted
    assert isinstance(embedded, EmbeddedTask)
    if chosen.name == "finetune":
        tuning = Finetune(
            *(source.task, embedded, source.clips, source.root, context.model),
            *(settings.finetune, settings.cache, settings.workers),
        )
        chosen = replace(chosen, evaluate=tuning)
        if corrupted:
            note = "finetune: no corrupted clips, as it has no head for embeddings"
            context, corrupted = replace(context, notes=[*context.notes, note]), {}
    probed = probe(
        source.task, embedded, chosen, device=settings.torch_device, seeds=settings.seeds
    )
    return class_result(context, embedded, probed, corrupted)
