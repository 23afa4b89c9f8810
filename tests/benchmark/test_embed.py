"""Embedding a task: no padding, no silent loss, no work done twice, nothing stale."""

import logging
import os
import shutil
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from benchmark.embedding.embed import EmbeddedTask, embed_task
from benchmark.embedding.embedder import EmbedError
from benchmark.embedding.hear_api import HearError, load
from benchmark.embedding.read_ahead import Reader, ahead, plan_batches
from benchmark.models import content_random
from benchmark.records import Clip, Source, Task, TaskDataError
from tests.synth import noisy_tone
from wavebyol_hear.audio import read_audio

TASK = Task(
    name="tones",
    title="Tones",
    classes=("low", "high"),
    split_policy="folds",
    sample_counts=12,
    clip_seconds=None,
    licence="none",
    citation="none",
    sources=(Source("http://example.org"),),
    layout="<name>.wav",
    index=lambda root: [],
)
RANDOM = "benchmark.models.content_random"


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    """Twelve clips of four lengths and two rates in tmp_path / "tones"."""
    (tmp_path / "tones").mkdir()
    listed = []
    for i in range(12):
        rate = 16000 if i % 2 else 22050
        wave = noisy_tone((0.1, 0.15, 0.4, 0.1)[i % 4], i, rate)
        soundfile.write(tmp_path / "tones" / f"{i}.wav", wave, rate, subtype="PCM_16")
        label, split, group = TASK.classes[i % 2], f"fold{i % 3 + 1:02d}", f"g{i % 3}"
        listed.append(Clip(f"clip{i}", f"{i}.wav", label, split, group))
    return listed


def run(tmp_path: Path, clips: list[Clip], spec: str = RANDOM, **options) -> EmbeddedTask:
    settings = {"cache_dir": tmp_path / "cache", "workers": 0, "batch_seconds": 0.3} | options
    return embed_task(TASK, clips, tmp_path / "tones", load(spec), **settings)


@pytest.mark.parametrize("workers", [0, 2])
def test_each_row_is_the_embedding_of_that_clip_alone(
    tmp_path: Path, clips: list[Clip], workers: int
) -> None:
    result = run(tmp_path, clips, workers=workers)
    # content_random hashes the samples: one sample of padding would change the whole row.
    alone = [
        content_random.content_vector(
            torch.from_numpy(read_audio(tmp_path / "tones" / c.path, 16000))
        )
        for c in clips
    ]
    np.testing.assert_array_equal(result.embeddings, torch.stack(alone).numpy())
    assert result.labels.tolist() == [0, 1] * 6
    assert result.clip_ids.tolist() == [c.clip_id for c in clips]
    assert result.splits.tolist() == [c.split for c in clips]
    assert result.groups.tolist() == [c.group for c in clips]
    assert result.encoder_calls < len(clips)
    assert isinstance(result.embeddings, np.memmap)
    assert result.errors == ()


def test_batches_hold_one_length_and_stay_small() -> None:
    lengths = {row: 100 * (row % 5 + 1) for row in range(100)} | {100: 5000}
    batches = plan_batches(lengths, most_samples=1000)
    assert sorted(row for batch in batches for row in batch) == list(range(101))
    for batch in batches:
        assert len({lengths[row] for row in batch}) == 1
        assert len(batch) * lengths[batch[0]] <= 1000 or len(batch) == 1
    firsts = [lengths[batch[0]] for batch in batches]
    assert firsts == sorted(firsts, reverse=True)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_work_ahead_keeps_its_order_and_its_bounds(workers: int) -> None:
    begun, taken = [], []

    def work(job: int) -> int:
        begun.append(job)
        time.sleep(0.001 * (7 - job % 7))
        return 10 * job

    with closing(ahead(work, range(60), workers)) as results:
        for result in results:
            taken.append(result)
            assert len(begun) <= len(taken) + 2 * workers
            if len(taken) == 40:
                break
    assert taken == [10 * job for job in range(40)]
    after = len(begun)
    time.sleep(0.05)
    assert len(begun) == after  # closed: nothing begins any more
    assert not [t for t in threading.enumerate() if t.name.startswith("ThreadPoolExecutor")]


def test_what_work_raises_is_raised_in_its_place() -> None:
    results = ahead(lambda job: 6 // job, [3, 2, 0, 1], 2)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_second_run_calls_no_encoder(tmp_path: Path, clips: list[Clip]) -> None:
    first, second = run(tmp_path, clips), run(tmp_path, clips)
    assert (first.encoder_calls > 0, second.encoder_calls) == (True, 0)
    np.testing.assert_array_equal(first.embeddings, second.embeddings)
    assert (first.data_hash, first.weights_hash) == (second.data_hash, second.weights_hash)
    assert second.clips_per_second == pytest.approx(first.clips_per_second)


def spoil(tmp_path: Path, clips: list[Clip]) -> list[Clip]:
    """Spoil clips 0 to 5, make 6 to 10 odd but usable, leave 11."""
    folder = tmp_path / "tones"
    (folder / "0.wav").unlink()
    (folder / "1.wav").write_text("no sound")
    soundfile.write(folder / "2.wav", np.zeros(0), 16000)
    soundfile.write(folder / "3.wav", np.array([np.nan]), 16000, subtype="FLOAT")
    (folder / "4.wav").write_bytes(b"")
    clips[5] = Clip("clip5", "5.wav", "middle", "fold01", "g")
    soundfile.write(folder / "6.wav", np.zeros(1600), 16000)
    soundfile.write(folder / "7.wav", np.full((1600, 2), 0.1), 16000)
    soundfile.write(folder / "8.wav", np.full(1600, 0.1), 16000, subtype="PCM_U8")
    soundfile.write(folder / "9.wav", np.full(19200, 0.1), 192000)
    soundfile.write(folder / "10.wav", np.full(160, 0.1), 16000)
    return clips


def test_bad_clips_are_named_and_cost_no_other(tmp_path: Path, clips: list[Clip]) -> None:
    result = run(tmp_path, spoil(tmp_path, clips), "benchmark.models.log_mel", workers=2)
    named = dict(result.errors)
    assert set(named) == {f"clip{i}" for i in range(6)}
    for i, reason in enumerate(
        ("no such file", "not readable", "no samples", "NaN", "not readable", "label 'middle'")
    ):
        assert reason in named[f"clip{i}"]
        assert f"{i}.wav" in named[f"clip{i}"]
        assert "\n" not in named[f"clip{i}"]
    assert result.clip_ids.tolist() == [f"clip{i}" for i in range(6, 12)]
    assert result.embeddings.shape == (6, 256)
    assert np.isfinite(result.embeddings).all()
    again = run(tmp_path, clips, "benchmark.models.log_mel")
    assert (again.encoder_calls, again.errors) == (0, result.errors)


def test_all_clips_bad_is_an_error(tmp_path: Path, clips: list[Clip]) -> None:
    for clip in clips:
        (tmp_path / "tones" / clip.path).write_text("no sound")
    with pytest.raises(EmbedError, match=r"no clip could be embedded.*not readable"):
        run(tmp_path, clips)


def test_a_clip_the_module_cannot_take_is_an_error_of_its_own(
    tmp_path: Path, clips: list[Clip], write_module
) -> None:
    loud = """
def get_scene_embeddings(audio, model):
    if (audio.abs().amax(1) > 0.9).any():
        raise RuntimeError("too loud")
    rows = audio[:, :3].clone()
    rows[(audio == 0).all(1)] = float("nan")
    return rows
"""
    for i, level in ((1, 0.95), (5, 0.0)):
        soundfile.write(tmp_path / "tones" / f"{i}.wav", np.full(1600, level), 16000)
    result = run(tmp_path, clips, write_module("picky", loud), batch_seconds=10)
    named = dict(result.errors)
    assert set(named) == {"clip1", "clip5"}
    assert "too loud" in named["clip1"]
    assert "NaN" in named["clip5"]
    assert len(result.embeddings) == 10


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("torch.zeros(len(audio), 4)", r"shape \(\d, 4\) where \(\d, 3\)"),
        ("torch.zeros(len(audio) + 1, 3)", "shape"),
        ("torch.zeros(len(audio), 3, dtype=torch.float64)", "float64"),
        ("[0.0]", "returned list"),
    ],
)
def test_a_wrong_answer_is_an_error_of_the_module(
    tmp_path: Path, clips: list[Clip], write_module, answer: str, reason: str
) -> None:
    name = write_module("wrong", f"def get_scene_embeddings(audio, model):\n    return {answer}")
    with pytest.raises(HearError, match=reason):
        run(tmp_path, clips, name)


INTERRUPTED = """
import os
calls = 0

def get_scene_embeddings(audio, model):
    global calls
    calls += 1
    if os.environ.get("STOP_AFTER") and calls > int(os.environ["STOP_AFTER"]):
        raise KeyboardInterrupt
    return audio[:, :3].clone()
"""


def test_half_done_work_goes_on(
    tmp_path: Path, clips: list[Clip], write_module, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = write_module("stopping", INTERRUPTED)
    whole = run(tmp_path, clips, name, cache_dir=tmp_path / "other")
    import stopping

    monkeypatch.setenv("STOP_AFTER", "2")
    stopping.calls = 0
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, clips, name)
    monkeypatch.delenv("STOP_AFTER")
    rest = run(tmp_path, clips, name)
    assert rest.encoder_calls == whole.encoder_calls - 2
    np.testing.assert_array_equal(rest.embeddings, whole.embeddings)


def test_a_worker_without_memory_is_an_error_and_not_a_hang(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(self: Reader, row: int) -> np.ndarray:
        raise MemoryError("no room for a wave")

    monkeypatch.setattr(Reader, "read", read)
    with pytest.raises(EmbedError, match=r"no room for a wave.*--workers 0"):
        run(tmp_path, clips, workers=1)
    monkeypatch.undo()
    assert run(tmp_path, clips).errors == ()


def the_array(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "cache").rglob("embeddings.npy")
    return found


def test_a_damaged_row_is_found_and_embedded_again(
    tmp_path: Path, clips: list[Clip], caplog: pytest.LogCaptureFixture
) -> None:
    whole = np.array(run(tmp_path, clips).embeddings)
    content = bytearray(the_array(tmp_path).read_bytes())
    content[-1] ^= 1  # one bit of the last row
    the_array(tmp_path).write_bytes(content)
    with caplog.at_level(logging.WARNING):
        mended = run(tmp_path, clips)
    assert mended.encoder_calls == 1
    assert "1 damaged rows" in caplog.text
    np.testing.assert_array_equal(mended.embeddings, whole)


@pytest.mark.parametrize("name", ["embeddings.npy", "marks.npy", "progress.json"])
@pytest.mark.parametrize("damage", ["cut", "garbage", "gone"])
def test_a_damaged_file_is_rebuilt(
    tmp_path: Path, clips: list[Clip], name: str, damage: str
) -> None:
    whole = np.array(run(tmp_path, clips).embeddings)
    path = the_array(tmp_path).with_name(name)
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"x" * len(content))
    np.testing.assert_array_equal(run(tmp_path, clips).embeddings, whole)
    assert run(tmp_path, clips).encoder_calls == 0


def test_changed_sound_is_noticed_even_with_size_and_time_kept(
    tmp_path: Path, clips: list[Clip]
) -> None:
    before = run(tmp_path, clips)
    path = tmp_path / "tones" / "7.wav"
    stat = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 64
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = run(tmp_path, clips)
    assert after.data_hash != before.data_hash
    assert after.encoder_calls > 0
    same = (before.embeddings == after.embeddings).all(axis=1)
    assert same.tolist() == [i != 7 for i in range(12)]


def test_other_weights_or_other_code_never_share_an_array(
    tmp_path: Path, clips: list[Clip], write_module
) -> None:
    name = write_module("scaled")
    (tmp_path / "two.txt").write_text("2.0")
    plain = run(tmp_path, clips, name)
    twice = run(tmp_path, clips, f"{name}:{tmp_path / 'two.txt'}")
    np.testing.assert_allclose(twice.embeddings, 2 * plain.embeddings, rtol=1e-6)
    (tmp_path / "two.txt").write_text("3.0")
    thrice = run(tmp_path, clips, f"{name}:{tmp_path / 'two.txt'}")
    np.testing.assert_allclose(thrice.embeddings, 3 * plain.embeddings, rtol=1e-6)
    assert len({plain.weights_hash, twice.weights_hash, thrice.weights_hash}) == 3
    write_module("scaled", "# another version")
    assert run(tmp_path, clips, name).weights_hash != plain.weights_hash


def test_moved_data_and_other_labels_share_the_embeddings(
    tmp_path: Path, clips: list[Clip]
) -> None:
    first = run(tmp_path, clips)
    shutil.copytree(tmp_path / "tones", tmp_path / "elsewhere" / "tones")
    cache = tmp_path / "cache"
    relabelled = [Clip(c.clip_id, c.path, "low", c.split, c.group) for c in clips]
    model = load(RANDOM)
    moved = embed_task(TASK, clips, tmp_path / "elsewhere/tones", model, cache_dir=cache)
    other = embed_task(TASK, relabelled, tmp_path / "tones", model, cache_dir=cache)
    assert (moved.encoder_calls, other.encoder_calls) == (0, 0)
    assert moved.data_hash == first.data_hash
    assert other.data_hash != first.data_hash


def test_a_clip_listed_twice_is_an_error(tmp_path: Path, clips: list[Clip]) -> None:
    with pytest.raises(TaskDataError, match="clip3 is listed twice"):
        run(tmp_path, [*clips, clips[3]])


def test_real_clips_embed_and_come_back_from_the_cache(esc50_root: Path, tmp_path: Path) -> None:
    from benchmark.tasks.esc50 import TASK as ESC50

    clips = ESC50.index(esc50_root)[:60]
    options = {"cache_dir": tmp_path, "workers": 2}
    model = load("benchmark.models.log_mel")
    first = embed_task(ESC50, clips, esc50_root, model, **options)
    second = embed_task(ESC50, clips, esc50_root, model, **options)
    assert first.errors == ()
    assert first.embeddings.shape == (60, 256)
    # Different sounds: no two rows alike.
    assert len(np.unique(first.embeddings, axis=0)) == 60
    assert second.encoder_calls == 0
    np.testing.assert_array_equal(first.embeddings, second.embeddings)
