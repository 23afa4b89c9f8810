"""Training clips: cuts, orders and augmentations are what their configuration says."""

from pathlib import Path

import numpy as np
import soundfile
import torch

from benchmark.finetune.config import FinetuneConfig
from benchmark.finetune.train import augment, crop, plan_epoch, read_crops
from wavebyol_hear.files.read_ahead import Reader

PLAIN = FinetuneConfig(gain_db=0, noise_snr_db=None, mixup=0)


def test_a_long_clip_is_cut_anywhere_and_a_short_one_repeated() -> None:
    wave = np.arange(10, dtype=np.float32)
    draw = np.random.default_rng(0)
    starts = {int(crop(wave, 7, draw)[0]) for _ in range(100)}
    assert starts == {0, 1, 2, 3}
    assert all(np.diff(crop(wave, 7, draw)) == 1)
    assert crop(wave[:3], 7, draw).tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_an_epoch_has_every_row_once_and_no_batch_of_one() -> None:
    rows = np.arange(5, 38)
    steps = plan_epoch(rows, 8, 0, 0)
    assert sorted(row for step in steps for row in step) == rows.tolist()
    assert sorted(map(len, steps)) == [6, 6, 7, 7, 7]
    assert plan_epoch(rows, 8, 0, 0) == steps
    assert plan_epoch(rows, 8, 0, 1) != steps
    assert plan_epoch(rows, 8, 1, 0) != steps


def test_crops_depend_on_seed_epoch_and_row_alone(tmp_path: Path) -> None:
    paths = []
    for i in range(4):
        paths.append(str(tmp_path / f"{i}.wav"))
        soundfile.write(paths[-1], np.linspace(-0.9, 0.9, 800 + i), 16000, subtype="FLOAT")
    reader = Reader(paths, 16000)
    state = torch.get_rng_state()
    whole = dict(read_crops(reader, 100, 7, 3, [0, 1, 2, 3]))
    assert torch.equal(torch.get_rng_state(), state)
    for row in (3, 2):
        ((_, wave),) = read_crops(reader, 100, 7, 3, [row])
        assert isinstance(wave, np.ndarray)
        assert wave.shape == (100,)
        assert np.array_equal(whole[row], wave)
    for seed, epoch in ((7, 4), (8, 3)):
        other = dict(read_crops(reader, 100, seed, epoch, [0, 1, 2, 3]))
        assert not any(np.array_equal(other[row], whole[row]) for row in whole)


def test_nothing_asked_for_changes_nothing() -> None:
    waves, targets = torch.randn(3, 50), torch.eye(3)
    out = augment(waves, targets, PLAIN, np.random.default_rng(0))
    assert torch.equal(out[0], waves)
    assert torch.equal(out[1], targets)


def test_gain_stays_in_its_range() -> None:
    config = FinetuneConfig(gain_db=6, noise_snr_db=None, mixup=0)
    waves, _ = augment(torch.ones(500, 2), torch.eye(500), config, np.random.default_rng(0))
    decibels = 20 * waves[:, 0].log10()
    assert decibels.abs().max() <= 6
    assert decibels.max() > 5.5
    assert decibels.min() < -5.5
    assert torch.equal(waves[:, 0], waves[:, 1])


def test_noise_has_the_signal_to_noise_ratio_asked_for() -> None:
    config = FinetuneConfig(gain_db=0, noise_snr_db=10, mixup=0)
    clean = 0.2 * torch.ones(200, 4000)
    waves, _ = augment(clean, torch.eye(200), config, np.random.default_rng(0))
    snr_db = -10 * ((waves - clean).square().mean(1) / 0.04).log10()
    assert 9.5 < snr_db.min() < 12
    assert 38 < snr_db.max() < 40.5


def test_a_mixture_has_the_labels_of_its_parts() -> None:
    config = FinetuneConfig(gain_db=0, noise_snr_db=None, mixup=0.5)
    draw = np.random.default_rng(0)
    shares = []
    for _ in range(20):
        # Waves that are their own labels show that both are mixed alike.
        waves, targets = augment(torch.eye(8), torch.eye(8), config, draw)
        assert torch.equal(waves, targets)
        assert torch.allclose(targets.sum(1), torch.ones(8))
        shares.append(targets.max().item())
    assert min(shares) < 0.99
