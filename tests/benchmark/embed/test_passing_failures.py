"""What fails for a reason that may pass is counted, never kept, and tried again by the next run."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmark.data.clip import Clip
from benchmark.data.registry import TaskClips
from benchmark.embed import cache, fingerprint
from benchmark.embed.cache import CacheError, EmbeddingArray
from benchmark.embed.embed import embed_task
from benchmark.embed.fingerprint import ABSENT, clip_hash, content_hashes
from tests.benchmark.tones import RANDOM, TASK, run, write_tones
from wavebyol_hear.files.hear_module import load
from wavebyol_hear.files.read_ahead import Reader, Unavailable

FULL = """
import os
def get_scene_embeddings(audio, model):
    if os.environ.get("FULL"):
        raise {error}
    return audio[:, :3].clone()
"""


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    return write_tones(tmp_path / "tones")


@pytest.mark.parametrize(
    "error", ["RuntimeError('CUDA out of memory')", "MemoryError()", "OSError(5, 'EIO')"]
)
def test_what_the_encoder_could_not_do_is_done_by_the_next_run(
    tmp_path: Path, clips: list[Clip], write_module, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    name = write_module("passing", FULL.format(error=error))
    monkeypatch.setenv("FULL", "1")
    with pytest.raises(Exception, match="no clip could be embedded"):
        run(tmp_path, clips, name)
    monkeypatch.delenv("FULL")
    assert run(tmp_path, clips, name).errors == ()


def test_a_clip_that_could_not_be_read_is_counted_and_read_by_the_next_run(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Reader.read

    def failing(self: Reader, row: int) -> np.ndarray | str:
        return Unavailable("too many open files") if row == 4 else read(self, row)

    monkeypatch.setattr(Reader, "read", failing)
    first = run(tmp_path, clips)
    assert dict(first.errors) == {"clip4": "too many open files"}
    assert len(first.embeddings) == 11
    monkeypatch.undo()
    second = run(tmp_path, clips)
    assert (second.errors, second.encoder_calls, len(second.embeddings)) == ((), 1, 12)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EIO, errno.ESTALE, errno.EACCES])
def test_a_file_that_cannot_be_hashed_now_has_no_hash_that_is_kept(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    real, tries = fingerprint.file_hash, []

    def failing(path: str) -> str:
        if str(path).endswith("/3.wav"):
            tries.append(path)
            raise OSError(code, os.strerror(code))
        return real(path)

    monkeypatch.setattr(fingerprint, "RETRY_SECONDS", (0.0,))
    monkeypatch.setattr(fingerprint, "file_hash", failing)
    first = run(tmp_path, clips)
    assert len(tries) == 2  # once more a moment later
    assert "3.wav: cannot be read now" in dict(first.errors)["clip3"]
    memory = (tmp_path / "cache" / "tones" / "sound-hashes.json").read_text()
    assert "/3.wav" not in memory
    with pytest.raises(OSError, match="cannot be read now"):
        content_hashes(clips, tmp_path / "tones", tmp_path / "other.json")
    monkeypatch.undo()
    second = run(tmp_path, clips)
    assert (second.errors, len(second.embeddings)) == ((), 12)
    assert second.data_hash != first.data_hash


def test_pipes_and_folders_are_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert clip_hash(str(tmp_path / "pipe")) == clip_hash(str(tmp_path)) == "no regular file"
    assert clip_hash(str(tmp_path / "absent")) == ABSENT
    assert clip_hash("/dev/zero") == "no regular file"


def test_audio_replaced_between_hashing_and_reading_is_not_kept_under_the_old_hash(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, path = Reader.read, tmp_path / "tones" / "5.wav"

    def replacing(self: Reader, row: int) -> np.ndarray | str:
        if row == 5:
            soundfile.write(path, np.full(1600, 0.25), 16000)
        return read(self, row)

    monkeypatch.setattr(Reader, "read", replacing)
    first = run(tmp_path, clips)
    assert "5.wav: changed meanwhile" in dict(first.errors)["clip5"]
    monkeypatch.undo()
    second = run(tmp_path, clips)
    assert second.errors == ()
    alone = load(RANDOM).scenes(np.full((1, 1600), 0.25, np.float32).round(4))
    assert second.embeddings[5].shape == alone[0].shape


TWO = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import numpy as np
from benchmark.data.clip import Clip
from benchmark.data.registry import TaskClips
from benchmark.embed.embed import embed_task
from wavebyol_hear.files.hear_module import load
from tests.benchmark.tones import TASK
root, cache = Path(sys.argv[1]), Path(sys.argv[2])
clips = [Clip(f"clip{i}", f"{i}.wav", TASK.classes[i % 2], "fold01", "g") for i in range(12)]
model = load("slow_two")
source = TaskClips(TASK, clips, root)
done = embed_task(source, model, cache_dir=cache, workers=1, batch_seconds=0.1)
np.save(sys.argv[4], done.embeddings)
print(done.encoder_calls)
"""


def test_two_runs_that_make_one_array_both_have_all_of_it(
    tmp_path: Path, clips: list[Clip], write_module
) -> None:
    slow = "import time\ndef get_scene_embeddings(audio, model):\n    time.sleep(0.05)\n"
    name = write_module("slow_two", f"{slow}    return audio[:, :3].clone()")
    root, cache_dir = tmp_path / "tones", tmp_path / "cache"
    outs = [tmp_path / f"out{i}.npy" for i in range(2)]
    places = [str(root), str(cache_dir), str(tmp_path / "modules")]
    here = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), *sys.path])}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, *places, str(out)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | here | {"OMP_NUM_THREADS": "1"},
        )
        for out in outs
    ]
    said = [process.communicate() for process in runs]
    assert [process.returncode for process in runs] == [0, 0], said
    calls = sorted(int(out) for out, _ in said)
    assert calls[0] == 0 < calls[1]  # one embeds, the other waits and takes
    alone = run(tmp_path, clips, name, cache_dir=tmp_path / "alone")
    for out in outs:
        np.testing.assert_array_equal(np.load(out), alone.embeddings)


def test_what_is_handed_out_is_this_process_s_own_though_the_files_change(
    tmp_path: Path, clips: list[Clip]
) -> None:
    (tmp_path / "tones" / "2.wav").write_text("no sound")
    for listed in (clips, [clip for clip in clips if clip.clip_id != "clip2"]):
        result = run(tmp_path, listed)
        kept = np.array(result.embeddings)
        for path in (tmp_path / "cache").rglob("*.npy"):
            path.unlink()
        np.testing.assert_array_equal(result.embeddings, kept)


def test_nothing_is_left_of_a_run_that_was_killed_while_it_made_the_array(tmp_path: Path) -> None:
    (tmp_path / "embeddings.npy.part").write_bytes(b"half")
    (tmp_path / "progress.json.123.abcdef01.part").write_bytes(b"half")
    EmbeddingArray(tmp_path, 3, 2).save()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["embeddings.npy", "marks.npy", "progress.json"]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system reserves no place")
def test_an_array_has_its_place_on_the_disk_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    EmbeddingArray(tmp_path / "a", 1000, 100)
    status = (tmp_path / "a" / "embeddings.npy").stat()
    assert status.st_blocks * 512 >= 400_000

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(CacheError, match="make room"):
        EmbeddingArray(tmp_path / "b", 1000, 100)
    assert list((tmp_path / "b").iterdir()) == []
    monkeypatch.setattr(os, "posix_fallocate", lambda *_: full_on(errno.EOPNOTSUPP))
    EmbeddingArray(tmp_path / "c", 10, 10)  # a file system that cannot


def full_on(code: int) -> None:
    raise OSError(code, os.strerror(code))


def test_a_complete_cache_may_be_read_only(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root may write everywhere, the system's answers are made here."""
    bad = tmp_path / "tones" / "2.wav"
    bad.write_text("no sound")
    before = run(tmp_path, clips)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK and access(path, mode))
    monkeypatch.setattr(cache, "lock", lambda *_, **__: full_on(errno.EROFS))
    after = run(tmp_path, clips)
    assert after.encoder_calls == 0
    np.testing.assert_array_equal(after.embeddings, before.embeddings)
    some = TaskClips(TASK, clips[:5], tmp_path / "tones")
    with pytest.raises(CacheError, match="cannot be written"):
        embed_task(some, load(RANDOM), cache_dir=tmp_path / "cache")


def test_a_progress_file_of_wrong_rows_costs_nothing_else(tmp_path: Path) -> None:
    array = EmbeddingArray(tmp_path, 3, 2)
    array.progress.errors = {1: "bad", 7: "of no row", -1: "of none"}
    array.save()
    assert EmbeddingArray(tmp_path, 3, 2).progress.errors == {1: "bad"}
