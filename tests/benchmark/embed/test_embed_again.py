"""Embedding a task again: no work done twice, nothing stale, nothing damaged taken for good."""

import importlib
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.data.clip import Clip
from benchmark.data.registry import TaskClips
from benchmark.embed.cache import CacheError
from benchmark.embed.embed import embed_task
from tests.benchmark.tones import COUNTED, RANDOM, TASK, run, write_tones
from wavebyol_hear.files.hear_module import load


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    return write_tones(tmp_path / "tones")


def test_a_second_run_calls_no_encoder(tmp_path: Path, clips: list[Clip]) -> None:
    first, second = run(tmp_path, clips), run(tmp_path, clips)
    assert (first.encoder_calls > 0, second.encoder_calls) == (True, 0)
    np.testing.assert_array_equal(first.embeddings, second.embeddings)
    assert (first.data_hash, first.weights_hash) == (second.data_hash, second.weights_hash)
    assert second.clips_per_second == pytest.approx(first.clips_per_second)


INTERRUPTED = f"""{COUNTED}
def get_scene_embeddings(audio, model):
    count_call()
    return audio[:, :3].clone()
"""


def test_half_done_work_goes_on(
    tmp_path: Path, clips: list[Clip], write_module, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = write_module("stopping", INTERRUPTED)
    whole = run(tmp_path, clips, name, cache_dir=tmp_path / "other")
    stopping = importlib.import_module(name)

    monkeypatch.setenv("STOP_AFTER", "4")  # two of them embed the fixed noise
    vars(stopping).update(calls=0)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, clips, name)
    monkeypatch.delenv("STOP_AFTER")
    rest = run(tmp_path, clips, name)
    assert rest.encoder_calls == whole.encoder_calls - 2
    np.testing.assert_array_equal(rest.embeddings, whole.embeddings)


def the_array(tmp_path: Path) -> Path:
    (result,) = (tmp_path / "cache").rglob("embeddings.npy")
    return result


def test_a_damaged_row_is_found_and_embedded_again(
    tmp_path: Path, clips: list[Clip], caplog: pytest.LogCaptureFixture
) -> None:
    whole = np.array(run(tmp_path, clips).embeddings)
    content = bytearray(the_array(tmp_path).read_bytes())
    content[-1] ^= 1  # one bit of the last row
    the_array(tmp_path).write_bytes(content)
    with caplog.at_level(logging.WARNING):
        repaired = run(tmp_path, clips)
    assert repaired.encoder_calls == 1
    assert "1 damaged rows" in caplog.text
    np.testing.assert_array_equal(repaired.embeddings, whole)


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


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, clips: list[Clip]) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(CacheError, match=r"tones: the cache cannot be written .*--cache-dir"):
        run(tmp_path, clips)


def test_moved_data_and_other_labels_share_the_embeddings(
    tmp_path: Path, clips: list[Clip]
) -> None:
    first = run(tmp_path, clips)
    shutil.copytree(tmp_path / "tones", tmp_path / "elsewhere" / "tones")
    cache = tmp_path / "cache"
    relabelled = [Clip(c.clip_id, c.path, "low", c.split, c.group) for c in clips]
    model = load(RANDOM)
    moved = embed_task(TaskClips(TASK, clips, tmp_path / "elsewhere/tones"), model, cache_dir=cache)
    other = embed_task(TaskClips(TASK, relabelled, tmp_path / "tones"), model, cache_dir=cache)
    assert (moved.encoder_calls, other.encoder_calls) == (0, 0)
    assert moved.data_hash == first.data_hash
    assert other.data_hash != first.data_hash


def test_a_task_embeds_and_comes_back_from_the_cache(esc50_root: Path, tmp_path: Path) -> None:
    from benchmark.data.tasks.esc50 import TASK as ESC50

    clips = ESC50.index(esc50_root)
    options: dict[str, Any] = {"cache_dir": tmp_path, "workers": 2}
    model = load("baselines.log_mel")
    first = embed_task(TaskClips(ESC50, clips, esc50_root), model, **options)
    second = embed_task(TaskClips(ESC50, clips, esc50_root), model, **options)
    assert first.errors == ()
    assert first.embeddings.shape == (60, 256)
    # Different sounds: no two rows alike.
    assert len(np.unique(first.embeddings, axis=0)) == 60
    assert second.encoder_calls == 0
    np.testing.assert_array_equal(first.embeddings, second.embeddings)
