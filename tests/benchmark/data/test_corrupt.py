"""Every corruption does what it states, measured on what comes out."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import welch

from benchmark.data import corrupt
from benchmark.data.corrupt import (
    KINDS,
    CorruptedClips,
    CorruptionError,
    active,
    clip,
    coding_rate,
    encode,
    noise,
    parse,
    reverb,
    room,
    title_of,
)

RATE = 44_100


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def burst(seconds: float = 2.0, rate: int = RATE) -> np.ndarray:
    """A second half of sound after a first of near silence."""
    wave = 0.1 * draw(5).standard_normal(round(seconds * rate))
    wave[: len(wave) // 2] *= 1e-4
    return wave


def power_db(wave: np.ndarray) -> float:
    return 10 * np.log10(np.mean(np.square(wave)))


def test_active_is_the_sound_and_not_the_pause() -> None:
    wave = burst()
    assert np.abs(active(wave, RATE).mean() - 0.5) < 0.02
    assert active(np.zeros(100), RATE).all()


@pytest.mark.parametrize("snr", [20, 0, -7.5])
@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_noise_has_the_snr_over_the_active_part(snr: float, rate: int) -> None:
    wave = burst(rate=rate)
    added = noise(wave, rate, snr, draw()) - wave
    sound = wave[len(wave) // 2 :]
    assert power_db(sound) - power_db(added) == pytest.approx(snr, abs=0.1)
    assert power_db(added[: len(wave) // 2]) == pytest.approx(power_db(added), abs=1.0)


def test_noise_is_pink() -> None:
    wave = burst(20.0)
    hertz, power = welch(noise(wave, RATE, 0, draw()) - wave, RATE, nperseg=8192)
    octaves = [
        10 * np.log10(np.sum(power[(hertz >= f) & (hertz < 2 * f)])) for f in (100, 400, 1600, 6400)
    ]
    assert np.ptp(octaves) < 1.0  # white noise would rise by 18 dB


@pytest.mark.parametrize("rt60", [0.3, 0.8])
def test_the_room_decays_by_60_db_in_its_time(rt60: float) -> None:
    impulse = np.zeros(2 * RATE)
    impulse[0] = 1.0
    energy = np.square(reverb(impulse, RATE, rt60, draw()))
    left = 10 * np.log10(np.cumsum(energy[::-1])[::-1] + 1e-12)
    left -= left[0]
    start, end = (int(np.argmax(left < level)) for level in (-5, -25))
    measured = 60 / 20 * (end - start) / RATE  # T20, after Schroeder
    assert measured == pytest.approx(rt60, rel=0.08)
    assert energy.sum() == pytest.approx(1.0)
    assert energy[0] == pytest.approx(0.5)


def test_reverb_is_the_convolution_with_the_room() -> None:
    wave = burst(0.3, 8_000)
    expected = np.convolve(wave, room(8_000, 0.2, draw(3)))[: len(wave)]
    np.testing.assert_allclose(reverb(wave, 8_000, 0.2, draw(3)), expected, atol=1e-12)


@pytest.mark.parametrize("percent", [1.0, 10.0, 60.0])
def test_clipping_holds_the_stated_share_of_the_active_samples(percent: float) -> None:
    wave = burst()
    clipped = clip(wave, RATE, percent, draw())
    sound, before = clipped[active(wave, RATE)], wave[active(wave, RATE)]
    assert 100 * np.mean(sound != before) == pytest.approx(percent, abs=0.05)
    limit = np.abs(clipped).max()
    assert set(np.abs(sound[sound != before])) == {limit}
    np.testing.assert_array_equal(clipped[np.abs(wave) < limit], wave[np.abs(wave) < limit])


CODECS = ("mp3:8", "mp3:16", "mp3:64", "mp3:320", "opus:16", "opus:64", "vorbis:0", "vorbis:8")


def frame_kbit(data: bytes) -> list[int]:
    """The bitrate of every MP3 frame, read from the headers: an independent look at the stream."""
    mpeg1 = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320]
    mpeg2 = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160]
    rates = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
    at, seen = 0, []
    while at + 4 <= len(data):
        assert data[at] == 0xFF
        version = data[at + 1] >> 3 & 3
        kbit = (mpeg1 if version == 3 else mpeg2)[data[at + 2] >> 4]
        rate = rates[version][data[at + 2] >> 2 & 3]
        seen.append(kbit)
        at += (144 if version == 3 else 72) * kbit * 1000 // rate + (data[at + 2] >> 1 & 1)
    return seen


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("kbit", [8, 16, 64, 128, 320])
def test_mp3_has_the_bitrate_of_its_name_in_every_frame(rate: int, kbit: int) -> None:
    own = coding_rate("mp3", rate, kbit)
    data = encode("mp3", 0.1 * draw().standard_normal(2 * own), own, kbit)
    assert set(frame_kbit(data)) == {kbit}


@pytest.mark.parametrize("kbit", [8, 16, 32, 64, 128])
def test_opus_is_about_its_bitrate(kbit: int) -> None:
    data = encode("opus", 0.1 * draw().standard_normal(480_000), 48_000, kbit)
    assert 8 * len(data) / 10_000 == pytest.approx(kbit, rel=0.25)


@pytest.mark.parametrize("rate", [4_000, 16_000, 22_050, 44_100, 96_000])
@pytest.mark.parametrize("name", CODECS)
def test_a_codec_keeps_length_and_place(name: str, rate: int) -> None:
    """Cross-correlation with the clip peaks at lag 0, to a fraction of a millisecond."""
    spectrum = np.fft.rfft(draw(7).standard_normal(rate))
    spectrum[1_500:] = 0  # a bin is 1 Hz; low enough for every codec to pass
    wave = 0.3 * np.fft.irfft(spectrum, rate) * np.sqrt(rate / 3_000)
    wave[: rate // 3] = 0
    coded = parse(name)(wave.astype(np.float32), rate, "clip")
    assert coded.shape == wave.shape
    products = np.fft.irfft(np.fft.rfft(coded, 2 * rate) * np.conj(np.fft.rfft(wave, 2 * rate)))
    lag = int(products.argmax())
    assert min(lag, 2 * rate - lag) <= max(1, rate / 8_000)
    assert np.corrcoef(coded, wave)[0, 1] > 0.4


@pytest.mark.parametrize("levels", [("mp3:16", "mp3:64", "mp3:160"), ("opus:8", "opus:64")])
def test_more_bits_are_less_error(levels: tuple[str, ...]) -> None:
    time = np.arange(16_000) / 16_000
    wave = np.sin(2 * np.pi * 440 * time) * np.hanning(16_000) + 0.1 * draw().standard_normal(
        16_000
    )
    wave = (0.3 * wave).astype(np.float32)
    errors = [power_db(parse(name)(wave, 16_000, "clip") - wave) for name in levels]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] - errors[-1] > 3


def test_a_low_bitrate_cuts_high_frequencies() -> None:
    wave = (0.1 * draw().standard_normal(2 * RATE)).astype(np.float32)
    hertz, power = welch(parse("mp3:16")(wave, RATE, "clip"), RATE, nperseg=2048)
    level = 10 * np.log10(power / power[(hertz > 500) & (hertz < 2_000)].mean())
    assert level[hertz > 13_000].max() < -40
    assert level[(hertz > 200) & (hertz < 2_000)].min() > -10


@pytest.mark.parametrize("name", ["noise:20", "reverb", "clip", *CODECS])
@pytest.mark.parametrize("wave", [np.zeros(4000), np.ones(1), np.full(37, -0.5), burst(0.1)])
def test_any_sound_keeps_its_length_and_its_range(name: str, wave: np.ndarray) -> None:
    corrupted = parse(name)(wave.astype(np.float32), 16_000, "clip")
    assert corrupted.shape == wave.shape
    assert corrupted.dtype == np.float32
    assert np.isfinite(corrupted).all()
    assert np.abs(corrupted).max() <= 1.0 + 1e-6
    if not wave.any():
        assert not corrupted.any()


def test_a_clip_draws_its_own_and_levels_share_it() -> None:
    wave = burst(0.5).astype(np.float32)
    first, again, other = (parse("noise:40")(wave, RATE, c) - wave for c in ("a", "a", "b"))
    np.testing.assert_array_equal(first, again)
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.2
    louder = parse("noise:30")(wave, RATE, "a") - wave
    assert np.corrcoef(first, louder)[0, 1] > 0.999


def test_another_process_spoils_alike() -> None:
    code = (
        "import sys, numpy as np\n"
        "from benchmark.data.corrupt import KINDS, parse\n"
        "wave = np.random.default_rng(5).standard_normal(4000).astype('f4') / 10\n"
        "names = [k + ':8' if KINDS[k].usual is None else k for k in KINDS]\n"
        "sys.stdout.write(' '.join(parse(n)(wave, 16000, 'a').tobytes().hex() for n in names))"
    )
    root = Path(__file__).parents[3]
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=root,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
        ).stdout.split()
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == len(KINDS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hum", "unknown corruption 'hum': there are noise (noise:-40 to"),
        ("noise", "'noise' needs a level"),
        ("noise:loud", "'noise:loud' needs a level"),
        ("clip:0", "clip:0.01 to clip:99, 10 where left out"),
        ("reverb:nan", "needs a level"),
        ("mp3", "mp3:N with N one of 8, 16, 24"),
        ("mp3:65", "mp3:N with N one of 8, 16, 24"),
        ("mp3-like", "name a real codec and its level, such as mp3:16, opus:16 or vorbis:3"),
        ("mp3-like:32", "mp3:16"),
    ],
)
def test_a_wrong_name_is_one_line_with_what_there_is(text: str, message: str) -> None:
    with pytest.raises(CorruptionError) as error:
        parse(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_names_say_the_level() -> None:
    assert parse("reverb").name == "reverb:0.8" == parse("reverb:0.80").name
    assert parse("noise:-5").name == "noise:-5"
    assert parse("mp3:16").title == "MP3, 16 kbit/s"
    assert parse("opus:16").title == "Opus, about 16 kbit/s (variable)"
    assert title_of("clip:5") == "clipping of 5 % of the samples"
    assert title_of("mp3-like:16") == "mp3-like:16"  # in a result of an earlier version


def test_another_level_code_or_codec_library_is_another_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key(name: str, ids: Sequence[str] = ("a", "b")) -> str:
        return str(CorruptedClips(parse(name), ids).key)

    first = key("mp3:16")
    assert key("mp3:16") == first
    assert len({first, key("mp3:24"), key("opus:16"), key("mp3:16", ("a", "c"))}) == 4
    monkeypatch.setattr(soundfile, "__libsndfile_version__", "9.9.9")
    assert key("mp3:16") != first
    monkeypatch.undo()
    (tmp_path / "corrupt.py").write_text("# another version")
    monkeypatch.setattr(corrupt, "__file__", str(tmp_path / "corrupt.py"))
    assert key("mp3:16") != first
