"""Added noise has the ratio and the origin that were drawn."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from pretrain.augment.noise import Noise, NoiseConfig
from pretrain.data import store_build
from pretrain.data.store_sources import parts_of
from tests.pretrain.signals import RATE, T, chance, decibels, white


def test_noise_has_its_ratio_to_the_signal() -> None:
    effect = Noise(NoiseConfig(snr=(5, 19)))
    wave = white(200) * torch.rand(200, 1, 1, generator=chance(5))
    noise, wanted = effect.draw(wave, chance())
    added = effect.change(wave, noise, wanted) - wave
    snr = decibels(wave.norm(dim=2) / added.norm(dim=2))[:, 0]
    torch.testing.assert_close(snr, wanted, atol=0.01, rtol=0)
    assert 5 <= snr.min() < 6
    assert 18 < snr.max() <= 19.01


def test_mixing_as_the_authors_code_has_twice_the_decibels_at_equal_levels() -> None:
    effect = Noise(NoiseConfig(snr=(5, 19), mixing="wavaugment"))
    wave = white(200)
    wave /= wave.norm(dim=2, keepdim=True)
    noise, wanted = effect.draw(wave, chance())
    mixed = effect.change(wave, noise, wanted)
    share = torch.linalg.lstsq(torch.cat([wave, noise], 1).mT, mixed.mT).solution[:, :, 0]
    torch.testing.assert_close(share.sum(1), torch.ones(200), atol=1e-4, rtol=0)
    snr = decibels(share[:, 0] / share[:, 1])
    torch.testing.assert_close(snr, 2 * wanted, atol=0.02, rtol=0)
    silent = torch.zeros(2, 1, T)
    silent[1] = wave[0]
    assert effect(silent, chance())[0].norm() > 0  # as theirs; by its ratio it would get none


def test_noise_of_the_batch_is_another_sample() -> None:
    wave = white(7)
    many = torch.stack([Noise(NoiseConfig()).draw(wave, chance(i))[0] for i in range(60)])
    same = (many[:, :, None] == wave[None, None]).flatten(3).all(3)  # [draw, sample, noise's]
    assert (same.sum(2) == 1).all()
    assert torch.equal(same.any(0), ~torch.eye(7, dtype=torch.bool))


def test_silence_gets_no_noise_and_silent_noise_changes_nothing() -> None:
    wave = torch.cat([torch.zeros(1, 1, T), white(1)])
    assert torch.equal(Noise(NoiseConfig())(wave, chance()), wave)


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
    settings = NoiseConfig(origin="store", store=str(tmp_path / "store"))
    effect = Noise(settings)
    assert effect.store is not None
    assert len(effect.store.files) == (3 if several_files else 1)
    wave = white(50)
    noise, wanted = effect.draw(wave, chance())
    assert set((noise / 32767 * 8).round(decimals=2).flatten().tolist()) == {1.0, 2.0, 3.0}
    added = effect.change(wave, noise, wanted) - wave
    snr = decibels(wave.norm(dim=2) / added.norm(dim=2))[:, 0]
    torch.testing.assert_close(snr, wanted, atol=0.01, rtol=0)
    theirs = Noise(dataclasses.replace(settings, mixing="wavaugment"))
    noise, wanted = theirs.draw(wave, chance())
    assert set((noise * 8).round(decimals=2).flatten().tolist()) == {1.0, 2.0, 3.0}
    assert theirs.change(wave, noise, wanted).abs().max() < 1.5  # on the scale of the waves
