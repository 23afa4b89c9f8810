"""Evaluate models on tasks under protocols: clips, embeddings, probe, metrics, result.

A task is a data set of `benchmark.data.tasks` or a HEAR task folder. A failure only affects its own
result: the reason is recorded, and everything else is scored.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmark.data.clip import BenchmarkError, Task, TaskDataError
from benchmark.data.corrupt import Corruption
from benchmark.data.hear_folder import HearTask
from benchmark.data.registry import BAD_SHARE, TaskClips, data_folder, read_clips
from benchmark.embed.embed import EmbeddedTask, embed_task
from benchmark.embed.embedder import Embedder
from benchmark.embed.events import EventEmbeddings, embed_events
from benchmark.finetune.config import FinetuneConfig
from benchmark.finetune.protocol import Finetune
from benchmark.heareval import frames, multilabel
from benchmark.heareval.audio import audio_at, faintness
from benchmark.heareval.heareval_format import heareval_folder, heareval_result
from benchmark.heareval.predict import POINTS, protocol
from benchmark.probes.protocols import PROTOCOLS, Protocol
from benchmark.results.failures import Guard
from benchmark.results.schema import Result, ResultKey, write_result
from benchmark.results.score import Subject, class_result, probe
from benchmark.results.supervisor import Journal
from wavebyol_hear.files.hear_module import HearModel, capture_untrained_warning, load
from wavebyol_hear.files.model_spec import HearError

HEAR_BATCH_SECONDS = 81.92
"""Audio per batch of a HEAR task: a multiple of the chunk length of our model."""
ACCURACIES = ("top1_acc", "pitch_acc")
"""Metrics of heareval that are the fraction of correct clips."""
EXPECTED = (BenchmarkError, HearError, OSError)
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
    #: of test clips, on which the trained classifiers are scored as well
    corruptions: tuple[Corruption, ...] = ()
    precision: str = "fp32"  #: in which models compute that let it be chosen
    hear_grid: str = "default"  #: of heareval
    hear_points: int = POINTS  #: of the grid that are tried
    hear_linear: bool = False  #: whether our own probes score HEAR tasks too
    fill: Callable[..., None] = Embedder.fill  #: embeds what the cache lacks of a task

    @property
    def torch_device(self) -> str:
        """The torch device, chosen."""
        return self.device or ("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def cache(self) -> Path:
        """The folder of the embeddings, chosen."""
        return self.cache_dir or data_folder(self.data_dir) / "embeddings"

    @property
    def embedding(self) -> dict[str, Any]:
        """Arguments of whatever embeds."""
        return {"cache_dir": self.cache, "workers": self.workers, "fill": self.fill}

    @property
    def heareval(self) -> str:
        """The version of the protocol under which heareval scores."""
        return protocol(self.hear_grid, self.hear_points)


def evaluate(
    tasks: Sequence[Task | Path],
    models: Sequence[str],
    settings: Settings,
    absent: Mapping[str, str] | None = None,
    journal: Journal | None = None,
) -> tuple[list[Result], dict[ResultKey, str]]:
    """Score every model on every task, and write each result, or why it is missing, at once.

    Args:
        tasks: data sets, and folders of HEAR tasks.
        models: `module` or `module:weights`.
        settings: how to evaluate.
        absent: HEAR tasks without a folder, by name, with the reason.
        journal: of earlier processes of this command, whose work is not repeated.

    Returns:
        the results, and for each (task, model, protocol) without one the reason.
    """
    guard = Guard(settings.out, EXPECTED, journal)
    for name, why in (absent or {}).items():
        guard.fail([(name, model, settings.heareval) for model in models], why)
    for task in tasks:
        source = guard.attempt(
            [
                (task.name, model, version)
                for model in models
                for version in scorers(task, settings)
            ],
            read_clips,
            task,
            settings.data_dir,
            allow_partial=settings.allow_partial,
        )
        if source is None:
            continue
        scores = scorers(task, settings, source.hear)
        for model in models:
            keys = [(task.name, model, version) for version in scores]
            subject = guard.attempt(keys, embed, source, model, settings)
            if subject is None:
                continue
            for key, score in zip(keys, scores.values(), strict=True):
                result = guard.attempt([key], score, subject)
                if result and guard.attempt([key], write_result, result, settings.out):
                    guard.add(result)
    return guard.results, guard.failures


def scorers(
    task: Task | Path, settings: Settings, hear: HearTask | None = None
) -> dict[str, Callable[[Subject], Result]]:
    """Return the function that scores a subject under each protocol of a task, by version.

    With `hear_linear`, our own probe is added once a HEAR folder has been read.
    """
    if isinstance(task, Task):
        if task.labels is not None:
            return {multilabel.PROTOCOL: multilabel.multilabel_result}
        chosen = [PROTOCOLS[name] for name in settings.protocols]
        return {one.version: partial(score_classes, one, settings) for one in chosen}
    scores: dict[str, Callable[[Subject], Result]] = {}
    if hear and settings.hear_linear:
        linear = PROTOCOLS["linear"]
        if hear.embedding == "event":
            scores[frames.PROTOCOL] = frames.frames_result
        elif hear.prediction == "multilabel":
            scores[multilabel.PROTOCOL] = multilabel.multilabel_result
        else:
            scores[linear.version] = partial(score_classes, linear, settings)
    scores[settings.heareval] = partial(heareval_result, settings.hear_grid, settings.hear_points)
    return scores


def embed(source: TaskClips, spec: str, settings: Settings) -> Subject:
    """Load a model once and embed the clips as they are and under each corruption."""
    task, hear = source.task, source.hear
    notes = [f"{task.name}: {task.note}"] if task.note else []
    if task.convention:
        notes.append(f"{task.name}: {task.convention(source.root)}")
    embedded: EmbeddedTask | EventEmbeddings
    folder, corrupted = None, {}
    with capture_untrained_warning(notes) as untrained:
        model = load(spec, settings.torch_device, precision=settings.precision)
        if hear:
            embedded, more = _embed_hear(source, hear, model, settings)
            notes += more
            folder = heareval_folder(hear, model, embedded, settings.cache)
        else:
            embedded = embed_task(source, model, **settings.embedding)
            corrupted = embed_corrupted(source, embedded, model, settings)
    if isinstance(embedded, EmbeddedTask):
        source = replace(source, partial=_with_loss(source, embedded, settings))
    if embedded.precision not in ("fp32", "as loaded"):
        notes.append(f"{task.name}, {spec}: computed in {embedded.precision}")
    how = (settings.torch_device, notes, bool(untrained))
    return Subject(source, spec, embedded, *how, corrupted, folder)


def _with_loss(source: TaskClips, embedded: EmbeddedTask, settings: Settings) -> str | None:
    """Return what is missing from the data, including clips that could not be used.

    Raises:
        TaskDataError: more than `BAD_SHARE` of the clips could not be used, and partial data is not
            allowed.
    """
    errors = embedded.errors
    if len(errors) <= BAD_SHARE * len(source.clips):
        return source.partial
    lost = f"{len(errors)} of {len(source.clips)} clips cannot be used, the first: {errors[0][1]}"
    if not settings.allow_partial:
        raise TaskDataError(
            f"{source.task.name}: {lost}; repair or replace them, or evaluate on the others with "
            "--allow-partial"
        )
    return f"{source.partial}; {lost}" if source.partial else lost


def _embed_hear(
    source: TaskClips, hear: HearTask, model: HearModel, settings: Settings
) -> tuple[EmbeddedTask | EventEmbeddings, list[str]]:
    """Return the embeddings of a HEAR task, in which no clip may fail, and notes."""
    clips = audio_at(hear, source.clips, model.sample_rate, settings.workers)
    source = replace(source, root=hear.folder, clips=clips)
    how, notes = settings.embedding | {"batch_seconds": HEAR_BATCH_SECONDS}, faintness(hear, clips)
    if hear.embedding == "event":
        del how["fill"]  # each clip is a file of its own
        events = embed_events(source, model, **how)
        return events, notes + events.notes
    embedded = embed_task(source, model, pad_short=True, **how)
    if embedded.errors:
        raise TaskDataError(f"{embedded.errors[0][0]}: {embedded.errors[0][1]}")
    return embedded, notes


def embed_corrupted(
    source: TaskClips, embedded: EmbeddedTask, model: HearModel, settings: Settings
) -> dict[str, EmbeddedTask]:
    """Embed the test clips of a task (with folds, all clips) under each corruption, by name.

    Clips that could not be embedded without corruption are left out.
    """
    usable, folds = set(embedded.clip_ids.tolist()), source.task.split_policy == "folds"
    tested = [
        clip for clip in source.clips if clip.clip_id in usable and (folds or clip.split == "test")
    ]
    part = replace(source, clips=tested)
    return {
        corruption.name: embed_task(part, model, corruption=corruption, **settings.embedding)
        for corruption in settings.corruptions
    }


def score_classes(chosen: Protocol, settings: Settings, subject: Subject) -> Result:
    """Score a subject under a protocol that predicts one class per clip."""
    source, embedded = subject.source, subject.embedded
    if source.hear and source.hear.metrics[0] not in ACCURACIES:
        name, metric = source.hear.folder.name, source.hear.metrics[0]
        subject = subject.with_note(f"{name}: accuracy, where HEAR ranks by {metric}")
    assert isinstance(embedded, EmbeddedTask)
    if chosen.name == "finetune":
        how = settings.finetune, settings.cache, settings.workers
        tuning = Finetune(source, embedded, subject.model, *how)
        chosen = replace(chosen, evaluate=tuning)
        if subject.corrupted:
            note = "finetune: no corrupted clips, as it has no head for embeddings"
            subject = replace(subject.with_note(note), corrupted={})
    probed = probe(
        source.task, embedded, chosen, device=settings.torch_device, seeds=settings.seeds
    )
    return class_result(subject, probed)
