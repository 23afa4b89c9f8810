"""Our embeddings of HEAR tasks are those of heareval's own runner, file by file."""

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmark.data.hear_folder import read_task
from benchmark.embed.model import HearModel
from benchmark.heareval.form import clip_order, labels_at
from benchmark.heareval.write_embeddings import DONE, embed_hear
from tests.hear.hear_tasks import RATE, everyday_sounds

pytestmark = pytest.mark.filterwarnings("ignore:.*UNTRAINED:UserWarning")
KINDS = ("scene", "event")


@pytest.fixture(scope="module")
def ours(
    embedded: dict[str, Path], exact: HearModel, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Folders of our embeddings of the tasks that heareval's runner embedded, by kind."""
    folders = {}
    for kind, theirs in embedded.items():
        task = read_task(theirs.parents[2] / "tasks" / theirs.name)
        folders[kind] = tmp_path_factory.mktemp(kind) / theirs.name
        sounds = task.folder / str(RATE)
        done = embed_hear(task, sounds, exact, folders[kind], fingerprint="1", workers=0)
        assert done.clips == task.count
    return folders


def files(folder: Path, ending: str) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob(f"*{ending}"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_arrays_are_the_same_row_by_row(
    embedded: dict[str, Path], ours: dict[str, Path], kind: str
) -> None:
    theirs = embedded[kind]
    found = files(theirs, "embedding-dimensions.json")
    assert files(ours[kind], "embedding-dimensions.json") == found
    assert len(found) == len(json.loads((theirs / "task_metadata.json").read_text())["splits"])
    for name in found:
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
def test_every_file_of_its_runner_is_there(
    embedded: dict[str, Path], ours: dict[str, Path], kind: str
) -> None:
    left = {p for p in files(embedded[kind], "") if "predict" not in p.name}
    left = {p for p in left if p.parts[0] != "lightning_logs"}
    assert len(left) > 20
    assert left <= set(files(ours[kind], ""))
    for name in files(embedded[kind], ".wav.embedding.npy")[::7]:
        theirs, mine = np.load(embedded[kind] / name), np.load(ours[kind] / name)
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5)


def test_an_interrupted_run_goes_on_where_it_was(
    embedded: dict[str, Path], ours: dict[str, Path], exact: HearModel, tmp_path: Path
) -> None:
    task = read_task(embedded["event"].parents[2] / "tasks" / embedded["event"].name)
    folder = tmp_path / task.folder.name
    shutil.copytree(ours["event"], folder)
    (folder / DONE).unlink()
    for split in task.clips:
        (folder / f"{split}.embeddings.npy").unlink()
    (folder / "valid" / "valid3.wav.embedding.npy").unlink()
    sounds = task.folder / str(RATE)
    assert embed_hear(task, sounds, exact, folder, fingerprint="1", workers=0).clips == 1
    for split in task.clips:
        name = f"{split}.embeddings.npy"
        rows = np.fromfile(folder / name, np.float32), np.fromfile(ours["event"] / name, np.float32)
        np.testing.assert_allclose(*rows, rtol=0, atol=1e-5)
    assert embed_hear(task, sounds, exact, folder, fingerprint="1", workers=0).clips == 0
    again = embed_hear(task, sounds, exact, folder, fingerprint="other sound", workers=0)
    assert again.clips == task.count


def test_short_clips_of_all_lengths_share_batches_and_keep_their_embeddings(
    esc50_root: Path, exact: HearModel, tmp_path: Path
) -> None:
    folder = everyday_sounds(esc50_root, tmp_path)
    read = read_task(folder)
    split, clips = next(iter(read.clips.items()))
    task = replace(read, clips={split: dict(list(clips.items())[:12])})
    sounds = tmp_path / "cut"
    (sounds / split).mkdir(parents=True)
    waves = {}
    for number, name in enumerate(task.clips[split]):
        wave, rate = soundfile.read(folder / str(RATE) / split / name, dtype="float32")
        # The last three are longer than what the model pads to.
        waves[name] = np.tile(wave, 2)[: 3001 + 1777 * number]
        soundfile.write(sounds / split / name, waves[name], rate, subtype="FLOAT")
    made = tmp_path / "made"
    done = embed_hear(task, sounds, exact, made, fingerprint="1", workers=1)
    short = sum(len(wave) <= exact.pads_scenes_to for wave in waves.values())
    assert (done.clips, done.calls) == (12, 1 + 12 - short)
    assert 6 < short < 12
    kept = np.fromfile(made / f"{split}.embeddings.npy", np.float32).reshape(12, -1)
    for name, row in zip(clip_order(task)[split], kept, strict=True):
        alone = exact.scenes(waves[name][None])[0]
        np.testing.assert_allclose(np.load(made / split / f"{name}.embedding.npy"), row, atol=0)
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
