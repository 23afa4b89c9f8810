"""A HEAR task under a model: brought to its rate, embedded, and kept by content.

The folder's name holds the model's weights, code, precision and device; what lies in it holds the
sound and the task's text. So other weights never find old embeddings, nor does other sound.
"""

import datetime
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.data.clip import Clip
from benchmark.data.hear_folder import HearTask, at_rate
from benchmark.embed.fingerprint import content_hashes, file_hash, sound_fingerprint
from benchmark.embed.model import HearModel, load
from benchmark.evaluate import Settings
from benchmark.heareval.write_embeddings import Effort, embed_hear
from benchmark.results.provenance import git_revision, machine, package_versions


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


@dataclass(frozen=True)
class About:
    """What every score of a model on a task says of it.

    Attributes:
        spec: `module` or `module:weights`.
        notes: what a reader of the scores must know.
        untrained: whether the model warned that its weights are untrained.
        embedded: the task under the model.
        device: torch device that embedded and trains.
    """

    spec: str
    notes: list[str]
    untrained: bool
    embedded: Embedded
    device: str

    def provenance(self) -> dict[str, Any]:
        """Return where a score comes from."""
        return {
            "git_revision": git_revision(),
            "packages": package_versions(),
            "weights_hash": self.embedded.model.weights_hash,
            "data_hash": self.embedded.data_hash,
            "precision": self.embedded.model.precision,
            "encoder_calls": self.embedded.effort.calls,
            "clips_embedded": self.embedded.effort.clips,
            "embed_seconds": self.embedded.effort.seconds,
            "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "machine": machine(self.device),
        }


def embed(task: HearTask, spec: str, settings: Settings) -> Embedded:
    """Bring a task to a model's rate and embed it, or take what is there of the same content.

    Args:
        task: read and checked.
        spec: `module` or `module:weights`.
        settings: folders and workers.

    Raises:
        HearTaskError: a sound is missing or not what it should be.
        HearError: the module is no good.
        EmbedError: there is no memory to read ahead.
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
    key = f"{spec} {model.weights_hash} {model.sample_rate} {model.device.type} {model.precision}"
    digest = hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
    readable = "".join(c if c.isalnum() or c in "._-" else "_" for c in spec)[-60:].lstrip("-")
    folder = cache / f"{readable}-{digest}" / task.folder.name
    effort = embed_hear(
        task, sounds, model, folder, fingerprint=data_hash, workers=settings.workers
    )
    return Embedded(folder, model, effort, data_hash)
