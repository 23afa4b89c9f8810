"""read_audio: any file libsndfile reads becomes mono float32 at one rate, or a named error."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavebyol_hear.audio import AudioError, read_audio


def sine(hertz: float, rate: int, seconds: float = 0.5) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


def test_samples_are_unchanged_at_the_file_s_own_rate(tmp_path: Path) -> None:
    wave = (np.arange(-100, 100) * 128).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", wave, 16000, subtype="PCM_16")
    read = read_audio(tmp_path / "a.wav", 16000)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read * 32768, wave)


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000, 192000])
def test_a_tone_survives_resampling(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", sine(1000, rate), rate, subtype="FLOAT")
    read = read_audio(tmp_path / "a.wav", 16000)
    assert abs(len(read) - 8000) <= 1
    # Away from the ends the result is the same tone drawn at 16 kHz, to 1e-3 of full scale.
    n = min(len(read), 8000)
    error = np.abs(read[:n] - sine(1000, 16000)[:n])[400:-400]
    assert error.max() < 1e-3


def test_what_cannot_be_kept_is_filtered_and_not_folded(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sine(15000, 44100), 44100, subtype="FLOAT")
    assert np.abs(read_audio(tmp_path / "a.wav", 16000)[400:-400]).max() < 1e-3


@pytest.mark.parametrize("count", [1, 2, 5])
def test_channels_are_averaged(tmp_path: Path, count: int) -> None:
    channels = np.stack([sine(500 + 100 * i, 16000) for i in range(count)], 1)
    soundfile.write(tmp_path / "a.wav", channels, 16000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav", 16000), channels.mean(1), atol=1e-6)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "FLOAT", "DOUBLE"])
def test_any_width_is_read(tmp_path: Path, subtype: str) -> None:
    soundfile.write(tmp_path / "a.wav", sine(500, 16000), 16000, subtype=subtype)
    step = 1 / 128 if subtype == "PCM_U8" else 1e-6
    np.testing.assert_allclose(
        read_audio(tmp_path / "a.wav", 16000), sine(500, 16000), atol=1.01 * step
    )


@pytest.mark.parametrize("samples", [1, 160])
def test_silent_and_very_short_clips_are_sound(tmp_path: Path, samples: int) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(samples), 16000)
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav", 16000), np.zeros(samples))


def text_file(path: Path) -> None:
    path.write_text("no sound")


def empty_sound(path: Path) -> None:
    soundfile.write(path, np.zeros(0), 16000)


def not_a_number(path: Path) -> None:
    soundfile.write(path, np.array([0.0, np.nan, 0.1]), 16000, subtype="FLOAT")


def infinite(path: Path) -> None:
    soundfile.write(path, np.array([0.0, np.inf, 0.1]), 16000, subtype="FLOAT")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.touch(), "not readable"),
        (lambda path: path.mkdir(), "not readable"),
        (text_file, "not readable"),
        (empty_sound, "no samples"),
        (not_a_number, "NaN or infinite"),
        (infinite, "NaN or infinite"),
    ],
)
def test_a_bad_file_is_one_line_with_its_name(tmp_path: Path, spoil, reason: str) -> None:
    path = tmp_path / "bad.wav"
    spoil(path)
    with pytest.raises(AudioError, match=reason) as caught:
        read_audio(path, 16000)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_cut_off_is_not_taken_for_a_short_one(tmp_path: Path) -> None:
    whole = tmp_path / "whole.flac"
    soundfile.write(whole, np.random.default_rng(0).uniform(-0.5, 0.5, 32000), 16000)
    cut = tmp_path / "cut.flac"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(AudioError, match=r"cut off|not readable"):
        read_audio(cut, 16000)


def test_a_rate_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sample_rate is 0"):
        read_audio(tmp_path / "a.wav", 0)
