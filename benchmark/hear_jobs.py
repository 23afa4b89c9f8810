"""Every model on every HEAR task folder, resampled, embedded and scored, or the reason why not."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.data.hear_catalogue import PREFIX, HearTaskError, known_name, resolve
from benchmark.data.hear_folder import HearTask, read_task
from benchmark.embed.model import capture_untrained_warning
from benchmark.evaluate import EXPECTED, ResultKey, Settings
from benchmark.evaluate_hear import event_score, probe_protocol, scene_result
from benchmark.hear_labels import label_score
from benchmark.hear_scores import HearScore, finite_measures, means, not_finite, write_score
from benchmark.heareval.embedded import About, embed
from benchmark.heareval.predict import POINTS, HearevalError, Predicted, predict, protocol
from benchmark.results.schema import Result, write_result


@dataclass(frozen=True)
class HearSettings:
    """How to score HEAR tasks.

    Attributes:
        hear_dir: folder of the task folders, or the one above `tasks`.
        grid: of heareval.
        points: of the grid that are tried.
        linear: whether our own probes score the tasks too.
    """

    hear_dir: Path
    grid: str = "default"
    points: int = POINTS
    linear: bool = False


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
    missing: dict[ResultKey, str] = field(default_factory=dict)


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
            _measure_one(task, model, settings, hear, found)
    return found


def _measure_one(
    task: HearTask, spec: str, settings: Settings, hear: HearSettings, found: HearFound
) -> None:
    """Add what a model scores on a task under every protocol, or why it has no score."""
    version = protocol(hear.grid, hear.points)
    place = task.folder.name, spec
    notes: list[str] = []
    try:
        with capture_untrained_warning(notes) as untrained:
            embedded = embed(task, spec, settings)
    except (HearTaskError, *EXPECTED) as error:
        found.missing[*place, version] = str(error)
        return
    about = About(spec, notes, bool(untrained), embedded, settings.place)
    if hear.linear:
        try:
            _probe(task, about, settings, found)
        except (HearTaskError, *EXPECTED) as error:
            found.missing[*place, probe_protocol(task)] = str(error)
    try:
        score = heareval_score(
            task, about, predict(embedded.folder, hear.grid, hear.points), version
        )
        write_score(score, settings.out)
        found.scores.append(score)
    except (HearevalError, *EXPECTED) as error:
        found.missing[*place, version] = str(error)


def _probe(task: HearTask, about: About, settings: Settings, found: HearFound) -> None:
    """Add the score of our own probe."""
    if task.embedding == "scene" and task.prediction == "multiclass":
        result = scene_result(task, about)
        write_result(result, settings.out)
        found.results.append(result)
    else:
        score = event_score(task, about) if task.embedding == "event" else label_score(task, about)
        write_score(score, settings.out)
        found.scores.append(score)


def heareval_score(task: HearTask, about: About, predicted: Predicted, version: str) -> HearScore:
    """Return what heareval found as a record.

    Args:
        task: that was scored.
        about: the model and its embeddings.
        predicted: what heareval found.
        version: of the protocol.

    Raises:
        HearevalError: the task's first measure is not finite.
    """
    metric, name = task.metrics[0], task.folder.name
    folds, dropped = finite_measures(predicted.folds)
    if metric in dropped:
        raise HearevalError(f"{name}: heareval's {metric} is no finite number")
    return HearScore(
        task=name,
        known=known_name(name),
        model=about.spec,
        protocol=version,
        metric=metric,
        n_clips=task.count,
        metrics=means(folds),
        folds=folds,
        hyperparameters=predicted.hyperparameters,
        untrained=about.untrained,
        notes=about.notes + not_finite(name, dropped),
        provenance=about.provenance() | {"heareval_seconds": predicted.seconds},
    )
