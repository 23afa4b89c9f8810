"""The online probe tells tones apart where features do, and is at chance where they do not."""

import dataclasses

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from pretrain.probe import knn_accuracy, read_probe
from wavebyol_hear.encoder import PRESETS

CONFIG = dataclasses.replace(PRESETS["slim"], widths="4 P")


class Spectrum(nn.Module):
    """A method whose features are the magnitude spectrum, or nothing but noise."""

    def __init__(self, blind):
        super().__init__()
        self.blind = blind

    def embed(self, wave):
        if self.blind:
            return torch.randn(len(wave), 16)
        return torch.fft.rfft(wave[:, 0, :4096]).abs()


@pytest.fixture
def folder(tmp_path):
    chance = np.random.default_rng(0)
    for name, hertz in (("low", 300), ("high", 3000)):
        (tmp_path / name).mkdir()
        for number in range(20):
            tone = np.sin(2 * np.pi * (hertz + chance.normal()) * np.arange(8000) / 16_000)
            soundfile.write(tmp_path / name / f"{number}.wav", 0.5 * tone, 16_000)
    return str(tmp_path)


def test_seeing_features_are_right_and_blind_ones_at_chance(folder):
    probe = read_probe(folder, CONFIG)
    assert probe.waves.shape == (40, 1, 40_960)
    torch.manual_seed(0)
    assert knn_accuracy(Spectrum(blind=False), probe, torch.device("cpu")) > 90
    assert 20 < knn_accuracy(Spectrum(blind=True), probe, torch.device("cpu")) < 80


def test_a_folder_without_classes_is_named(tmp_path):
    with pytest.raises(ValueError, match="holds 0 classes: lay it out class/clip"):
        read_probe(str(tmp_path), CONFIG)
