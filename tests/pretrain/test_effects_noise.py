"""Added noise has the ratio, the origin and the colour that were drawn."""

from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch

from pretrain.augment.noise import Noise, NoiseConfig, coloured_noise
from pretrain.data import store_build
from pretrain.data.store_sources import parts_of
from tests.pretrain.signals import RATE, T, chance, decibels, white


@pytest.mark.parametrize("origin", ["batch", "coloured"])
def test_noise_has_its_ratio_to_the_signal(origin: str) -> None:
    effect = Noise(NoiseConfig(snr=(5, 19), origin=origin))  # type: ignore[arg-type]
    wave = white(200) * torch.rand(200, 1, 1, generator=chance(5))
    drawn = effect.draw(wave, chance())
    added = effect.change(wave, drawn) - wave
    snr = decibels(wave.norm(dim=2) / added.norm(dim=2))[:, 0]
    torch.testing.assert_close(snr, drawn.snr, atol=0.01, rtol=0)
    assert 5 <= snr.min() < 6
    assert 18 < snr.max() <= 19.01


def test_mixing_as_the_authors_code_has_twice_the_decibels_at_equal_levels() -> None:
    effect = Noise(NoiseConfig(snr=(5, 19), mixing="wavaugment"))
    wave = white(200)
    wave /= wave.norm(dim=2, keepdim=True)
    drawn = effect.draw(wave, chance())
    mixed = effect.change(wave, drawn)
    noise = effect.noise(T, drawn)
    share = torch.linalg.lstsq(torch.cat([wave, noise], 1).mT, mixed.mT).solution[:, :, 0]
    torch.testing.assert_close(share.sum(1), torch.ones(200), atol=1e-4, rtol=0)
    snr = decibels(share[:, 0] / share[:, 1])
    torch.testing.assert_close(snr, 2 * drawn.snr, atol=0.02, rtol=0)
    silent = torch.zeros(2, 1, T)
    silent[1] = wave[0]
    assert effect(silent, chance())[0].norm() > 0  # as theirs; by its ratio it would get none


def test_noise_of_the_batch_is_another_sample() -> None:
    wave = white(7)
    drawn = Noise(NoiseConfig()).draw(wave.repeat(1, 1, 1), chance())
    assert torch.all(drawn.start // T != torch.arange(7))
    many = torch.stack([Noise(NoiseConfig()).draw(wave, chance(i)).start // T for i in range(60)])
    assert all(len(column.unique()) == 6 for column in many.T)


def test_silence_gets_no_noise_and_silent_noise_changes_nothing() -> None:
    wave = torch.cat([torch.zeros(1, 1, T), white(1)])
    assert torch.equal(Noise(NoiseConfig())(wave, chance()), wave)


def test_coloured_noise_falls_by_0_to_6_decibels_an_octave() -> None:
    noise = coloured_noise(3, 1 << 16).double().numpy()
    frequency, power = scipy.signal.welch(noise, RATE, nperseg=4096)
    some = (frequency > 100) & (frequency < 6000)
    slope = [np.polyfit(np.log2(frequency[some]), 10 * np.log10(p[some]), 1)[0] for p in power]
    np.testing.assert_allclose(slope, [0, -3.01, -6.02], atol=0.15)


@pytest.mark.parametrize("several_files", [False, True])
def test_noise_from_a_store(tmp_path: Path, several_files: bool) -> None:
    folders = []
    for i in range(3):
        folders.append(str(tmp_path / f"musan-{i}"))
        (tmp_path / f"musan-{i}").mkdir()
        soundfile.write(f"{folders[i]}/{i}.wav", np.full(3 * T, (i + 1) / 8), RATE)
    (tmp_path / "store" / "parts").mkdir(parents=True)
    for i, part in enumerate(part for folder in folders for part in parts_of(folder)):
        store_build.decode_part(part, tmp_path / "store" / "parts" / f"{i:06d}.json")
    store_build.build(folders, tmp_path / "store", 1, max_bytes=1 if several_files else 4e9)
    effect = Noise(NoiseConfig(origin="store", store=str(tmp_path / "store")))
    assert effect.store is not None
    assert len(effect.store.files) == (3 if several_files else 1)
    wave = white(50)
    drawn = effect.draw(wave, chance())
    levels = (effect.noise(T, drawn) / 32767 * 8).round(decimals=2)
    assert set(levels.flatten().tolist()) == {1.0, 2.0, 3.0}
    added = effect.change(wave, drawn) - wave
    snr = decibels(wave.norm(dim=2) / added.norm(dim=2))[:, 0]
    torch.testing.assert_close(snr, drawn.snr, atol=0.01, rtol=0)
