"""Signs of collapse at the two ends of their scales, and the online probe."""

import json
import logging
from contextlib import closing

import pytest
import torch

from pretrain.methods.method import Method
from pretrain.monitor import Monitor, filter_bank, knn_accuracy, rank_me, read_probe, spread
from wavebyol_hear.encoder import PRESETS, Encoder
from wavebyol_hear.front_end import BankFrontEnd


def test_spread_is_one_for_even_directions_and_zero_for_one():
    torch.manual_seed(0)
    assert spread(torch.randn(4000, 32)) == pytest.approx(1, abs=0.02)
    assert spread(torch.ones(100, 32)) == pytest.approx(0, abs=1e-6)


def test_rank_me_counts_equal_directions():
    assert rank_me(torch.eye(20)[:, :6].repeat(5, 1)) == pytest.approx(6, rel=1e-3)
    assert rank_me(torch.ones(50, 8)) == pytest.approx(1, rel=1e-2)


def test_collapse_is_warned_of_once_and_lines_are_json(tmp_path, caplog):
    with (
        closing(Monitor(tmp_path, 0, 10, active=True)) as monitor,
        caplog.at_level(logging.WARNING),
    ):
        monitor.write(1, {"loss": 0.5, "spread": 0.01})
        monitor.write(2, {"loss": 0.5, "spread": 0.01})
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert sum("collapse" in record.message for record in caplog.records) == 1


def test_leak_is_warned_of_once(tmp_path, caplog):
    with (
        closing(Monitor(tmp_path, 0, 10, active=True)) as monitor,
        caplog.at_level(logging.WARNING),
    ):
        monitor.write(1, {"bank/leak": 0.09})
        monitor.write(2, {"bank/leak": 0.12})
        monitor.write(3, {"bank/leak": 0.13})
    assert [record.getMessage()[:12] for record in caplog.records] == ["step 2: 12% "]


def dark_noise(crops):
    """Noise whose spectrum falls by 18 dB an octave above 500 Hz."""
    noise = torch.randn(crops, 1, 20_480, generator=torch.Generator().manual_seed(0))
    spectrum = torch.fft.rfft(noise)
    return torch.fft.irfft(spectrum / (1 + torch.arange(10_241) / 640) ** 3)


def test_filters_move_by_what_they_changed_and_leak_where_it_lets_loud_bands_in():
    encoder = Encoder(PRESETS["slim_bank"])
    wave = dark_noise(4)
    values = filter_bank(encoder, wave)
    assert values["bank/movement"] == 0
    assert values["bank/leak"] < 0.01
    front_end = encoder.front_end
    assert isinstance(front_end, BankFrontEnd)
    taps = front_end.taps
    noise = torch.randn(taps.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        taps.add_(0.1 * noise * taps.norm() / noise.norm())
    values = filter_bank(encoder, wave)
    assert values["bank/movement"] == pytest.approx(0.1, rel=1e-4)
    leak = values["bank/leak"]
    assert leak > 0.03
    with torch.no_grad():  # A change within a band is movement and no leak.
        taps.copy_(front_end.initial_taps() * 1.1)
    values = filter_bank(encoder, wave)
    assert values["bank/movement"] == pytest.approx(0.1, rel=1e-4)
    assert values["bank/leak"] < 0.01
    assert filter_bank(Encoder(PRESETS["slim"]), wave) == filter_bank(None, wave) == {}


def test_an_inactive_monitor_writes_nothing(tmp_path):
    with closing(Monitor(tmp_path, 0, 10, active=False)) as monitor:
        monitor.write(1, {"loss": 0.5})
        monitor.bar.update()
    assert not list(tmp_path.iterdir())


class Spectrum(Method):
    """A method whose features are the magnitude spectrum, or nothing but noise."""

    def __init__(self, blind):
        super().__init__()
        self.blind = blind

    def embed(self, wave):
        if self.blind:
            return torch.randn(len(wave), 16)
        return torch.fft.rfft(wave[:, 0, :4096]).abs()


def test_seeing_features_are_right_and_blind_ones_at_chance(probe_folder):
    probe = read_probe(probe_folder, 16_000)
    assert probe[0].shape == (40, 1, 40_960)
    torch.manual_seed(0)
    assert knn_accuracy(Spectrum(blind=False), *probe, torch.device("cpu")) > 90
    assert 20 < knn_accuracy(Spectrum(blind=True), *probe, torch.device("cpu")) < 80


def test_a_folder_without_classes_is_named(tmp_path):
    with pytest.raises(ValueError, match="holds 0 classes: lay it out class/clip"):
        read_probe(str(tmp_path), 16_000)
