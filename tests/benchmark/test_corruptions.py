"""Every corruption does what it states, measured on what comes out."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import welch

from benchmark.data.codec import inverse_mdct, low_pass_hz, masking, mdct, recoded, rounded
from benchmark.data.corrupt import active, clip, noise, reverb, room
from benchmark.data.corruption_names import KINDS, CorruptionError, parse

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


@pytest.mark.parametrize("size", [16, 209, 576])
def test_the_transform_is_the_mdct_and_gives_the_wave_back(size: int) -> None:
    wave = draw().standard_normal(3000)
    spectrum = mdct(wave, size)
    n, k = np.arange(2 * size), np.arange(size)[:, None]
    cosines = np.cos(np.pi / size * (n + 0.5 + size / 2) * (k + 0.5))
    second = cosines @ (wave[: 2 * size] * np.sin(np.pi * (n + 0.5) / (2 * size)))
    np.testing.assert_allclose(spectrum[1], np.sqrt(2 / size) * second, atol=1e-9)
    np.testing.assert_allclose(inverse_mdct(spectrum, size)[:3000], wave, atol=1e-9)
    assert np.sum(spectrum**2) == pytest.approx(np.sum(wave**2))


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_the_codec_passes_low_frequencies_and_no_high_ones(rate: int) -> None:
    wave = 0.1 * draw().standard_normal(2 * rate)
    hertz, power = welch(recoded(wave, rate, 16), rate, nperseg=2048)
    edge = low_pass_hz(16)
    assert edge == 5_550
    level = 10 * np.log10(power / np.median(power[hertz < 0.9 * edge]))
    assert level[hertz > 1.05 * edge].max() < -40
    assert level[(hertz > 200) & (hertz < 0.95 * edge)].min() > -10


def test_the_codec_keeps_to_its_bits_and_spends_more_of_them_for_less_noise() -> None:
    spectrum = draw().standard_normal((20, 144)) * np.geomspace(1, 1e-2, 144)
    hertz = (np.arange(144) + 0.5) * 38.3
    errors = []
    for budget in (0, 50, 200, 800):
        coded = rounded(spectrum, hertz, budget)
        errors.append(power_db(coded - spectrum))
        # A line that is not zero takes log2(3) bits or more.
        assert np.count_nonzero(coded, axis=1).max() <= budget / np.log2(3)
        if budget >= 200:
            assert np.count_nonzero(coded, axis=1).min() > 0.1 * budget / np.log2(3)
    assert errors[0] == pytest.approx(power_db(spectrum))
    assert (np.diff(errors) < -1).all()


def test_rounding_noise_lies_where_the_sound_is() -> None:
    rate = 16_000
    time = np.arange(2 * rate) / rate
    tone = np.sin(2 * np.pi * 800 * time) + 1e-3 * draw().standard_normal(len(time))
    hertz, error = welch(recoded(tone, rate, 16) - tone, rate, nperseg=1024)
    near = error[(hertz > 700) & (hertz < 900)].max()
    far = error[(hertz > 3000) & (hertz < 5000)].max()
    assert 10 * np.log10(near / far) > 10
    lines = np.zeros((1, 209))
    lines[0, 50] = 1.0
    mask = masking(lines, (np.arange(209) + 0.5) * 38.3)[0]
    assert mask.argmax() in np.flatnonzero(mask == mask[50])
    assert mask[80] > mask[20] * 0.1  # masking falls slower upwards


@pytest.mark.parametrize("name", ["noise:20", "reverb", "clip", "mp3-like"])
@pytest.mark.parametrize("wave", [np.zeros(4000), np.ones(1), np.full(37, -0.5), burst(0.1)])
def test_any_sound_keeps_its_length_and_its_range(name: str, wave: np.ndarray) -> None:
    spoilt = parse(name)(wave.astype(np.float32), 16_000, "clip")
    assert spoilt.shape == wave.shape
    assert spoilt.dtype == np.float32
    assert np.isfinite(spoilt).all()
    assert np.abs(spoilt).max() <= 1.0 + 1e-6
    if not wave.any():
        assert not spoilt.any()


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
        "from benchmark.data.corruption_names import KINDS, parse\n"
        "wave = np.random.default_rng(5).standard_normal(4000).astype('f4') / 10\n"
        "names = [k + ':20' if KINDS[k].usual is None else k for k in KINDS]\n"
        "sys.stdout.write(' '.join(parse(n)(wave, 16000, 'a').tobytes().hex() for n in names))"
    )
    root = Path(__file__).parents[2]
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
    ("text", "told"),
    [
        ("hum", "unknown corruption 'hum': there are noise (noise:-40 to"),
        ("noise", "'noise' needs a level"),
        ("noise:loud", "'noise:loud' needs a level"),
        ("clip:0", "clip:0.01 to clip:99, 10 where left out"),
        ("reverb:nan", "needs a level"),
    ],
)
def test_a_wrong_name_is_one_line_with_what_there_is(text: str, told: str) -> None:
    with pytest.raises(CorruptionError) as error:
        parse(text)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_names_say_the_level() -> None:
    assert parse("reverb").name == "reverb:0.8" == parse("reverb:0.80").name
    assert parse("noise:-5").name == "noise:-5"
    assert parse("mp3-like").title == "simulated codec, 16 kbit/s"
