"""read_audio: any file libsndfile reads becomes mono float32 at one rate, or a named error."""

import errno
import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavebyol_hear.audio import (
    BLOCK_SAMPLES,
    AudioError,
    AudioUnavailableError,
    audio_header,
    read_audio,
)
from wavebyol_hear.audio_length import frame_bytes


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


def huge(path: Path) -> None:
    soundfile.write(path, np.array([0.0, -3e38, 0.1], np.float32), 16000, subtype="FLOAT")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.touch(), "not readable"),
        (lambda path: path.mkdir(), "not readable"),
        (text_file, "not readable"),
        (empty_sound, "no samples"),
        (not_a_number, "NaN or infinite"),
        (infinite, "NaN or infinite"),
        (huge, r"a sample of 3e\+38, full scale is 1"),
    ],
)
def test_a_bad_file_is_one_line_with_its_name(tmp_path: Path, damage, reason: str) -> None:
    path = tmp_path / "bad.wav"
    damage(path)
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


NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 32_000)
KINDS = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "FLOAT"),
    ("WAVEX", "PCM_16"),
    ("RF64", "PCM_16"),
    ("W64", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("AU", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
    ("WAV", "GSM610"),
    ("WAV", "IMA_ADPCM"),
]


def written(path: Path, kind: str, width: str) -> Path:
    rate = 8000 if width == "GSM610" else 16_000
    soundfile.write(path, NOISE, rate, format=kind, subtype=width)
    return path


@pytest.mark.parametrize(("kind", "width"), KINDS)
def test_every_format_is_read_whole_and_refused_when_cut(
    tmp_path: Path, kind: str, width: str
) -> None:
    path = written(tmp_path / "a.sound", kind, width)
    data = path.read_bytes()
    for source in (path, io.BytesIO(data)):
        rate = 8000 if width == "GSM610" else 16_000
        assert len(NOISE) <= len(read_audio(source, rate)) < len(NOISE) + 1200
    for share in (0.5, 0.9):
        path.write_bytes(data[: int(share * len(data))])
        for source in (path, io.BytesIO(path.read_bytes())):
            with pytest.raises(AudioError, match=r"cut off|not readable"):
                read_audio(source, 16_000)


def test_a_header_a_few_bytes_wrong_is_no_cut(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", "WAV", "PCM_16")
    path.write_bytes(path.read_bytes()[:-36])  # as if the header had been counted in
    assert len(read_audio(path, 16_000)) == len(NOISE) - 18


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_a_wav_whose_length_was_never_filled_in_is_read(tmp_path: Path, length: int) -> None:
    path = written(tmp_path / "a.wav", "WAV", "PCM_16")
    data = bytearray(path.read_bytes())
    data[40:44] = struct.pack("<I", length)
    path.write_bytes(data)
    assert len(read_audio(path, 16_000)) == len(NOISE)
    soundfile.write(path, np.zeros(0), 16_000)
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", 8) + b"INFO    ")
    with pytest.raises(AudioError, match="holds no samples"):
        read_audio(path, 16_000)  # empty in truth: what follows is no audio


def flac_that_says(path: Path, total: int) -> Path:
    """FLAC whose STREAMINFO tells another number of samples (36 bits)."""
    soundfile.write(path, NOISE, 16_000, format="FLAC")
    data = bytearray(path.read_bytes())
    data[21] = data[21] & 0xF0 | total >> 32
    data[22:26] = (total & 0xFFFFFFFF).to_bytes(4, "big")
    path.write_bytes(data)
    return path


def test_flac_of_unknown_length_is_read_and_one_that_says_too_much_is_cut(tmp_path: Path) -> None:
    assert len(read_audio(flac_that_says(tmp_path / "a.flac", 0), 16_000)) == len(NOISE)
    with pytest.raises(AudioError, match=f"cut off after {len(NOISE)} of 68719476735 samples"):
        read_audio(flac_that_says(tmp_path / "b.flac", (1 << 36) - 1), 16_000)


@pytest.mark.parametrize("id3", [b"", b"ID3\x04\x00\x00\x00\x00\x01\x05" + bytes(133)])
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE", "AVERAGE"])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_mp3_without_a_tag_is_read_whole_and_refused_when_cut(
    tmp_path: Path, rate: int, mode: str, id3: bytes
) -> None:
    path = tmp_path / "a.mp3"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * rate) * np.linspace(0, 1, 3 * rate)
    with soundfile.SoundFile(
        path, "w", rate, 1, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode=mode,
        compression_level=0.5,
    ) as file:  # fmt: skip
        file.write(noise)
    tagged = len(read_audio(path, rate))
    data = path.read_bytes()
    first = frame_bytes(data[:4])
    assert b"Info" in data[:first] or b"Xing" in data[:first]
    path.write_bytes(id3 + data[first:])
    whole = len(read_audio(path, rate))
    assert tagged <= whole <= tagged + 3 * 1152  # the codec's delay is not trimmed
    path.write_bytes((id3 + data[first:])[:-10])
    with pytest.raises(AudioError, match="cut off"):
        read_audio(path, rate)
    path.write_bytes(id3 + data[first:] + b"TAG" + bytes(125))  # ID3v1 is no frame
    assert len(read_audio(path, rate)) == whole


def test_a_rate_that_cannot_be_is_refused_before_gigabytes_are_made(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", NOISE, 1)
    with pytest.raises(AudioError, match="the header says 1 Hz"):
        read_audio(tmp_path / "a.wav", 16_000)


def test_pipes_and_devices_are_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "zero.wav").symlink_to("/dev/zero")
    for name in ("pipe.wav", "zero.wav"):
        with pytest.raises(AudioError, match="not a regular file"):
            read_audio(tmp_path / name, 16_000)
        assert audio_header(tmp_path / name) == (0, 0)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EIO, errno.ESTALE, errno.EACCES])
def test_what_the_system_cannot_do_now_is_no_verdict_on_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = written(tmp_path / "a.wav", "WAV", "PCM_16")

    def failing(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", failing)
    with pytest.raises(AudioUnavailableError, match=os.strerror(code)):
        read_audio(path, 16_000)
    monkeypatch.undo()
    with pytest.raises(AudioError) as caught:
        read_audio(tmp_path / "absent.wav", 16_000)
    assert not isinstance(caught.value, AudioUnavailableError)


@pytest.mark.parametrize("length", [1, 1000, BLOCK_SAMPLES - 1, BLOCK_SAMPLES, BLOCK_SAMPLES + 1])
@pytest.mark.parametrize("channels", [1, 2])
def test_blocks_join_without_a_seam(tmp_path: Path, length: int, channels: int) -> None:
    wave = np.random.default_rng(1).integers(-99, 99, (length, channels), np.int16)
    soundfile.write(tmp_path / "a.wav", wave, 16_000)
    expected = wave.astype(np.float32).mean(1) / 32768
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav", 16_000), expected, atol=1e-7)


def test_a_path_that_is_no_utf_8_is_read_like_any_other(tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.wav")
    wave = np.zeros(160, np.float32)
    with open(path, "wb") as file:
        soundfile.write(file, wave, 16_000, format="WAV")
    assert len(read_audio(os.fsdecode(path), 16_000)) == 160
    assert audio_header(os.fsdecode(path)) == (16_000, 160)
