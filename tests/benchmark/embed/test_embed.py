"""Embedding a task: a row is that clip alone, and what cannot be embedded is named."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from baselines import content_random
from benchmark.data.clip import Clip, TaskDataError
from benchmark.embed.embedder import EmbedError
from tests.benchmark.tones import run, write_tones
from wavebyol_hear.audio import read_audio
from wavebyol_hear.files.model_spec import HearError
from wavebyol_hear.files.read_ahead import Reader


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    return write_tones(tmp_path / "tones")


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


def damage(tmp_path: Path, clips: list[Clip]) -> list[Clip]:
    """Damage clips 0 to 5, make 6 to 10 odd but usable, leave 11."""
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
    result = run(tmp_path, damage(tmp_path, clips), "baselines.log_mel", workers=2)
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
    again = run(tmp_path, clips, "baselines.log_mel")
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


def test_a_clip_listed_twice_is_an_error(tmp_path: Path, clips: list[Clip]) -> None:
    with pytest.raises(TaskDataError, match="clip3 is listed twice"):
        run(tmp_path, [*clips, clips[3]])
