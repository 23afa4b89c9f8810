"""What a task lists, before anything is read: ids used once, labels the task knows."""

from collections.abc import Sequence

from benchmark.data.clip import Clip, Task, TaskDataError


def sort_out(task: Task, clips: Sequence[Clip]) -> tuple[list[Clip], list[tuple[str, str]]]:
    """Separate the clips whose label the task knows from those it does not, which are errors.

    Raises:
        TaskDataError: where two clips share an id or no clip is left.
    """
    seen: set[str] = set()
    for clip in clips:
        if clip.clip_id in seen:
            raise TaskDataError(
                f"{task.name}: the clip {clip.clip_id} is listed twice; mend the list"
            )
        seen.add(clip.clip_id)
    known = set(task.classes)
    good = [clip for clip in clips if clip.label in known]
    errors = [
        (
            clip.clip_id,
            f"{clip.path}: the label {clip.label!r} is none of the {len(known)} classes of "
            f"{task.name}; mend the list",
        )
        for clip in clips
        if clip.label not in known
    ]
    if not good:
        raise TaskDataError(
            f"{task.name}: none of the {len(clips)} listed clips has a label of the task; put "
            f"there {task.layout}; official source: {task.source}"
        )
    return good, errors
