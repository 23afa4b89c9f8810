"""Decoding block by block gives the samples of `read_audio`; other codecs come by PyAV."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.wavebyol_hear.files.mixed_audio import make_mixed
from wavebyol_hear.audio import AudioError, read_audio
from wavebyol_hear.files import foreign_codecs
from wavebyol_hear.files.decode import Blob, DiskWave, _Slice, decode, read_header

M4A = b"\0\0\0\x1cftypM4A \0\0\0\0M4A isom\0\0\0\0"


def test_memory_disk_and_blobs_give_the_same_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_mixed(tmp_path / "a", 30, (0.1, 2.0))
    monkeypatch.setattr("wavebyol_hear.audio.BLOCK_SAMPLES", 5_000)
    for path in sorted((tmp_path / "a").rglob("*.*")):
        if not path.is_file():
            continue
        expected = read_audio(path, 22_050)
        header, info = (
            read_header(str(path)),
            soundfile.info(str(path).encode("utf-8", "surrogateescape")),
        )
        assert (header.sample_rate, header.channels) == (info.samplerate, info.channels)
        assert header.length_at(22_050) == round(info.frames * 22_050 / info.samplerate)
        (tmp_path / "outer").write_bytes(b"x" * 7 + path.read_bytes() + b"y" * 99)
        with open(tmp_path / "outer", "rb") as outer:
            blob = Blob(outer.fileno(), 7, path.stat().st_size)
            decoded = decode(blob, 22_050, tmp_path)
            assert np.array_equal(decoded.wave[:], expected)
        disk = decode(str(path), 22_050, tmp_path, to_disk=True)
        assert isinstance(disk.wave, DiskWave)
        assert np.array_equal(disk.wave[0 : len(disk.wave)], expected)
        assert np.array_equal(disk.wave[10:20], expected[10:20])
        assert disk.duration == decoded.duration
        disk.wave.close()


def test_what_is_wrong_is_found_on_the_way_to_disk_too(tmp_path: Path) -> None:
    wave = np.zeros((8000, 2), np.float32)
    wave[7000, 1] = np.inf
    soundfile.write(tmp_path / "inf.wav", wave, 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "cut.flac", wave[:6000], 16_000)
    os.truncate(tmp_path / "cut.flac", 60)
    for name, reason in (("inf.wav", "NaN or infinite"), ("cut.flac", "cut off|not readable")):
        with pytest.raises(AudioError, match=reason):
            decode(str(tmp_path / name), 16_000, tmp_path, to_disk=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut.flac", "inf.wav"]


def test_a_slice_of_a_file_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(range(100)))
    with open(tmp_path / "f", "rb") as file:
        inner = io.BufferedReader(_Slice(file.fileno(), 10, 30))
        assert inner.read(3) == bytes([10, 11, 12])
        assert inner.seek(-2, io.SEEK_END) == 28
        assert inner.read() == bytes([38, 39])
        assert inner.read() == b""
        assert file.tell() == 0


def test_formats_that_need_pyav_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        from wavebyol_hear.files.extras import require

        require("no_such_av", "av", "this format (M4A, AAC, WMA or WebM)")

    monkeypatch.setattr(foreign_codecs, "require", missing)
    (tmp_path / "a.mp3").write_bytes(M4A)  # recognized by content
    with pytest.raises(AudioError) as caught:
        decode(str(tmp_path / "a.mp3"), 16_000, tmp_path)
    assert str(caught.value).endswith("pip install '.[av]'")
    assert "M4A" in str(caught.value)
    assert read_header(str(tmp_path / "a.mp3")).frames == 0


@pytest.mark.parametrize(
    ("container", "codec", "suffix", "lag", "tolerance"),
    [
        ("mp4", "aac", "m4a", 0, 48),  # its edit list is in milliseconds
        ("mp4", "alac", "m4a", 0, 0),
        ("webm", "libopus", "webm", 0, 2),
        ("adts", "aac", "aac", 1024, 2048),  # the encoder's priming, which raw AAC does not tell
        ("asf", "wmav2", "wma", -2048, 4096),
    ],
)
def test_other_codecs_are_decoded_and_trimmed(
    tmp_path: Path, container: str, codec: str, suffix: str, lag: int, tolerance: int
) -> None:
    av = pytest.importorskip("av")
    rate = 48_000
    wave = np.zeros((2, 2 * rate + 1234), np.float32)
    wave[:, 30_000:30_010] = 0.9
    path = str(tmp_path / f"x.{suffix}")
    with av.open(path, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="stereo")
        stream.bit_rate = 128_000
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = rate, 0
        context = stream.codec_context
        resampler = av.AudioResampler(
            context.format or "fltp", "stereo", rate, frame_size=context.frame_size or None
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    decoded = decode(path, rate, tmp_path)
    assert abs(len(decoded.wave) - wave.shape[1]) <= tolerance
    assert abs(int(np.argmax(np.abs(decoded.wave[:]))) - 30_005 - lag) <= 10
    header = read_header(path)
    assert (header.sample_rate, header.channels) == (rate, 2)
    assert header.frames > rate  # raw AAC lets one only guess
    (tmp_path / f"cut.{suffix}").write_bytes(Path(path).read_bytes()[:200])
    if suffix != "aac":  # which knows no end
        with pytest.raises(AudioError):
            decode(str(tmp_path / f"cut.{suffix}"), rate, tmp_path)
