"""Every model on every HEAR task folder, resampled, embedded and scored, or the reason why not."""

import datetime
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.fingerprint import content_hashes, file_hash, sound_fingerprint
from benchmark.hear_api import HearModel, load
from benchmark.hear_catalogue import PREFIX, HearTaskError, known_name, resolve
from benchmark.hear_embed import Effort, embed_hear
from benchmark.hear_folder import HearTask, read_task
from benchmark.hear_predict import POINTS, HearevalError, predict, protocol
from benchmark.hear_resample import at_rate
from benchmark.hear_scores import HearScore, means, write_score
from benchmark.jobs import EXPECTED, Place, Settings
from benchmark.provenance import git_revision, machine, package_versions
from benchmark.records import Clip
from benchmark.results import Result
from benchmark.untrained import noting_untrained


@dataclass(frozen=True)
class HearSettings:
    """How to score HEAR tasks.

    Attributes:
        hear_dir: folder of the task folders, or the one above `tasks`.
        grid: of heareval.
        points: of the grid that are tried.
    """

    hear_dir: Path
    grid: str = "default"
    points: int = POINTS


@dataclass
class HearFound:
    """What a run found.

    Attributes:
        scores: of heareval.
        results: of our own probes.
        missing: for each (task, model, protocol) without a score the reason.
    """

    scores: list[HearScore] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    missing: dict[Place, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Embedded:
    """A task under a model, ready to be scored.

    Attributes:
        folder: of the embeddings, in heareval's form.
        model: loaded.
        effort: what embedding took in this run.
        data_hash: of the sound and the task's text.
    """

    folder: Path
    model: HearModel
    effort: Effort
    data_hash: str


def measure_hear(
    names: Sequence[str], models: Sequence[str], settings: Settings, hear: HearSettings
) -> HearFound:
    """Score every model on every HEAR task and write the scores.

    Args:
        names: of tasks, without "hear:"; "all" is every folder there is.
        models: `module` or `module:weights`.
        settings: shared with the other tasks.
        hear: how to score.
    """
    found = HearFound()
    name_of_protocol = protocol(hear.grid, hear.points)
    try:
        folders, absent = resolve(names, hear.hear_dir)
    except HearTaskError as error:
        folders, absent = [], dict.fromkeys(names, str(error))
    for name, why in absent.items():
        found.missing |= {(f"{PREFIX}{name}", model, name_of_protocol): why for model in models}
    for folder in folders:
        try:
            task = read_task(folder)
        except HearTaskError as error:
            found.missing |= {
                (folder.name, model, name_of_protocol): str(error) for model in models
            }
            continue
        for model in models:
            try:
                _measure_one(task, model, settings, hear, found)
            except (HearTaskError, HearevalError, *EXPECTED) as error:
                found.missing[folder.name, model, name_of_protocol] = str(error)
    return found


def _measure_one(
    task: HearTask, spec: str, settings: Settings, hear: HearSettings, found: HearFound
) -> None:
    """Add the scores of a model on a task."""
    notes: list[str] = []
    with noting_untrained(notes) as untrained:
        embedded = embed(task, spec, settings)
    predicted = predict(embedded.folder, hear.grid, hear.points)
    score = HearScore(
        task=task.folder.name,
        known=known_name(task.folder.name),
        model=spec,
        protocol=protocol(hear.grid, hear.points),
        metric=task.metrics[0],
        n_clips=task.count,
        metrics=means(predicted.folds),
        folds=predicted.folds,
        hyperparameters=predicted.hyperparameters,
        untrained=bool(untrained),
        notes=notes,
        provenance={
            "git_revision": git_revision(),
            "packages": package_versions(),
            "weights_hash": embedded.model.weights_hash,
            "data_hash": embedded.data_hash,
            "encoder_calls": embedded.effort.calls,
            "clips_embedded": embedded.effort.clips,
            "embed_seconds": embedded.effort.seconds,
            "heareval_seconds": predicted.seconds,
            "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "machine": machine(settings.place),
        },
    )
    write_score(score, settings.out)
    found.scores.append(score)


def embed(task: HearTask, spec: str, settings: Settings) -> Embedded:
    """Bring a task to a model's rate and embed it, or take what is there of the same content.

    Args:
        task: read and checked.
        spec: `module` or `module:weights`.
        settings: folders and workers.

    Raises:
        HearTaskError: a sound is missing or not what it should be.
        HearError: the module is no good.
        EmbedError: a worker process died.
        OSError: a folder cannot be written.
    """
    model = load(spec, settings.place)
    cache = settings.cache / "hear"
    sounds = at_rate(task, model.sample_rate, settings.workers)
    clips = [
        Clip(f"{split}/{name}", f"{split}/{name}", "", split, "")
        for split, names in task.clips.items()
        for name in names
    ]
    hashes = content_hashes(clips, sounds, cache / f"{task.folder.name}-sound-hashes.json")
    texts = ["task_metadata.json", "labelvocabulary.csv", *(f"{s}.json" for s in task.clips)]
    parts = [sound_fingerprint(clips, hashes), *(file_hash(task.folder / name) for name in texts)]
    data_hash = hashlib.blake2b(" ".join(parts).encode(), digest_size=16).hexdigest()
    key = f"{spec} {model.weights_hash} {model.sample_rate} {model.device.type}"
    digest = hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
    readable = "".join(c if c.isalnum() or c in "._-" else "_" for c in spec)[-60:].lstrip("-")
    folder = cache / f"{readable}-{digest}" / task.folder.name
    effort = embed_hear(
        task, sounds, model, folder, fingerprint=data_hash, workers=settings.workers
    )
    return Embedded(folder, model, effort, data_hash)
