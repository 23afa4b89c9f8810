"""Our embeddings of HEAR tasks are those of heareval's own runner, file by file."""

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmark.data.hear_folder import HearTask, clip_order, hear_source, read_task
from benchmark.data.registry import TaskClips
from benchmark.embed.embed import EmbeddedTask, embed_task
from benchmark.embed.events import EventEmbeddings, embed_events
from benchmark.heareval.heareval_format import labels_at, write_embeddings
from tests.hear.hear_tasks import RATE, everyday_sounds
from wavebyol_hear.files.hear_module import HearModel

pytestmark = pytest.mark.filterwarnings("ignore:.*UNTRAINED:UserWarning")
KINDS = ("scene", "event")


@pytest.fixture(scope="module")
def ours(
    embedded: dict[str, Path], exact: HearModel, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Folders of our embeddings of the tasks that heareval's runner embedded, by kind."""
    folders = {}
    for kind, theirs in embedded.items():
        hear = read_task(theirs.parents[2] / "tasks" / theirs.name)
        folder = tmp_path_factory.mktemp(kind)
        folders[kind] = folder / theirs.name
        made = embed_clips(hear, hear.folder / str(RATE), exact, folder / "cache")
        if isinstance(made, EventEmbeddings):
            assert made.clips == hear.count
        else:
            assert len(made.embeddings) == hear.count
        write_embeddings(hear, made, folders[kind])
    return folders


def embed_clips(
    hear: HearTask, root: Path, model: HearModel, cache: Path, workers: int = 0
) -> EmbeddedTask | EventEmbeddings:
    task = hear_source(hear)
    clips = task.index(hear.folder)
    options: dict[str, Any] = {"cache_dir": cache, "workers": workers, "batch_seconds": 81.92}
    if hear.embedding == "event":
        return embed_events(TaskClips(task, clips, root), model, **options)
    return embed_task(TaskClips(task, clips, root), model, pad_short=True, **options)


def files(folder: Path, ending: str) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob(f"*{ending}"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_arrays_are_the_same_row_by_row(
    embedded: dict[str, Path], ours: dict[str, Path], kind: str
) -> None:
    theirs = embedded[kind]
    result = files(theirs, "embedding-dimensions.json")
    assert files(ours[kind], "embedding-dimensions.json") == result
    assert len(result) == len(json.loads((theirs / "task_metadata.json").read_text())["splits"])
    for name in result:
        shape = json.loads((theirs / name).read_text())
        assert json.loads((ours[kind] / name).read_text()) == shape
        array = str(name).replace("embedding-dimensions.json", "embeddings.npy")
        rows = [np.fromfile(folder / array, np.float32) for folder in (theirs, ours[kind])]
        assert rows[0].size == np.prod(shape)
        np.testing.assert_allclose(rows[1], rows[0], rtol=0, atol=1e-5)
        assert rows[0].reshape(shape).std(axis=0).max() > 1e-2  # a difference would be seen


@pytest.mark.parametrize("kind", KINDS)
def test_labels_and_instants_are_the_same(
    embedded: dict[str, Path], ours: dict[str, Path], kind: str
) -> None:
    for name in files(embedded[kind], "target-labels.pkl"):
        theirs, mine = (pickle.loads((x / name).read_bytes()) for x in (embedded[kind], ours[kind]))
        assert [sorted(map(str, x)) for x in mine] == [sorted(map(str, x)) for x in theirs]
        assert any(theirs)
    stamped = files(embedded[kind], "filename-timestamps.json")
    assert bool(stamped) == (kind == "event")
    for name in stamped:
        pairs = [json.loads((x / name).read_text()) for x in (embedded[kind], ours[kind])]
        theirs, mine = ([(Path(clip).name, time) for clip, time in rows] for rows in pairs)
        assert mine == theirs


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_that_its_predictions_read_is_there(
    embedded: dict[str, Path], ours: dict[str, Path], kind: str
) -> None:
    texts = {"task_metadata.json", "labelvocabulary.csv", ".done.embeddings"}
    wanted = {p.name for p in embedded[kind].iterdir() if "embedd" in p.name or p.name in texts}
    splits = json.loads((embedded[kind] / "task_metadata.json").read_text())["splits"]
    wanted |= {f"{split}.json" for split in splits}
    wanted |= {path.name for path in embedded[kind].glob("*.target-labels.pkl")}
    wanted -= {"profile.embeddings.json"}  # its own timing, which predictions do not read
    assert len(wanted) >= 3 + 4 * len(splits)
    assert wanted <= {path.name for path in ours[kind].iterdir()}
    for name in (texts | {f"{split}.json" for split in splits}) - {".done.embeddings"}:
        assert (ours[kind] / name).read_text() == (embedded[kind] / name).read_text()


def test_an_interrupted_run_goes_on_where_it_was(
    embedded: dict[str, Path], exact: HearModel, tmp_path: Path
) -> None:
    hear = read_task(embedded["event"].parents[2] / "tasks" / embedded["event"].name)
    root = tmp_path / "audio"
    shutil.copytree(hear.folder / str(RATE), root)
    first = embed_clips(hear, root, exact, tmp_path / "cache")
    assert isinstance(first, EventEmbeddings)
    assert first.clips == hear.count
    before = first.read("valid", "valid3.wav")
    (first.folder / "valid" / "valid3.wav.npz").unlink()
    again = embed_clips(hear, root, exact, tmp_path / "cache")
    assert isinstance(again, EventEmbeddings)
    assert (again.clips, again.folder) == (1, first.folder)
    for mine, wanted in zip(again.read("valid", "valid3.wav"), before, strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=0, atol=1e-5)
    assert embed_clips(hear, root, exact, tmp_path / "cache").encoder_calls == 0
    wave, _ = soundfile.read(root / "valid" / "valid3.wav")
    soundfile.write(root / "valid" / "valid3.wav", wave[::-1], RATE)
    changed = embed_clips(hear, root, exact, tmp_path / "cache")
    assert isinstance(changed, EventEmbeddings)
    assert (changed.clips, changed.folder == first.folder) == (hear.count, False)


def test_short_clips_of_all_lengths_share_batches_and_keep_their_embeddings(
    esc50_root: Path, exact: HearModel, tmp_path: Path
) -> None:
    folder = everyday_sounds(esc50_root, tmp_path)
    read = read_task(folder)
    split, clips = next(iter(read.clips.items()))
    hear = replace(read, clips={split: dict(list(clips.items())[:12])})
    root = tmp_path / "cut"
    (root / split).mkdir(parents=True)
    waves = {}
    for number, name in enumerate(hear.clips[split]):
        wave, rate = soundfile.read(folder / str(RATE) / split / name, dtype="float32")
        # The last three are longer than what the model pads to.
        waves[f"{split}/{name}"] = np.tile(wave, 2)[: 3001 + 1777 * number]
        soundfile.write(root / split / name, waves[f"{split}/{name}"], rate, subtype="FLOAT")
    made = embed_clips(hear, root, exact, tmp_path / "cache", workers=1)
    assert isinstance(made, EmbeddedTask)
    short = sum(len(wave) <= exact.pads_scenes_to for wave in waves.values())
    assert (len(made.embeddings), made.encoder_calls) == (12, 1 + 12 - short)
    assert 6 < short < 12
    assert made.clip_ids.tolist() == [f"{split}/{name}" for name in clip_order(hear)[split]]
    for clip, row in zip(made.clip_ids, made.embeddings, strict=True):
        alone = exact.scenes(waves[clip][None])[0]
        # Rounding depends on how many clips are computed together.
        assert np.abs(row - alone).max() <= 1e-5 * np.abs(alone).max()


def test_an_event_is_on_from_its_start_to_its_end_inclusive() -> None:
    events = [
        {"label": "a", "start": 10, "end": 20},
        {"label": "b", "start": 20, "end": 20},
        {"label": "a", "start": 10, "end": 20},
    ]
    stamps = np.array([0.0, 9.999, 10.0, 15.0, 20.0, 20.001])
    assert labels_at(events, stamps) == [[], [], ["a"], ["a"], ["a", "b"], []]
