"""The two front ends: what the filters respond to, and where a frame is centred."""

import math

import pytest
import torch

from wavebyol_hear.front_end import (
    BankFrontEnd,
    BankFrontEndConfig,
    ConvFrontEndConfig,
    FrontEndConfig,
    GaborFrontEndConfig,
    build_front_end,
    mel_spaced,
)

RATE = 16_000
CONFIGS: dict[str, FrontEndConfig] = {
    "conv": ConvFrontEndConfig(channels=6),
    "gabor": GaborFrontEndConfig(),
    "bank": BankFrontEndConfig(),
}


@pytest.fixture
def gabor():
    return build_front_end(GaborFrontEndConfig(), RATE).eval()


def test_filters_have_unit_energy_in_both_parts_together(gabor):
    energy = gabor.filters().square().sum((1, 2))
    both = energy[:96] + energy[96:]
    torch.testing.assert_close(both, torch.ones(96), atol=1e-5, rtol=0)


def test_filters_respond_most_at_their_centre_frequency(gabor):
    taps = gabor.filters()[:, 0]
    response = torch.fft.fft(torch.complex(taps[:96], taps[96:]).conj(), 16_384).abs()
    frequencies = torch.arange(16_384) * RATE / 16_384
    mirrored = RATE - frequencies[response.argmax(-1)]  # Of the conjugate.
    torch.testing.assert_close(mirrored, gabor.centre.detach(), atol=1.0, rtol=0)


def test_a_tone_is_loudest_in_the_filter_nearest_it(gabor):
    for hz in (100.0, 1000.0, 5000.0):
        tone = torch.sin(2 * math.pi * hz * torch.arange(RATE) / RATE)[None, None]
        loudest = gabor.log_energy(tone)[0, :, 50].argmax()
        assert loudest == (gabor.centre - hz).abs().argmin()


def test_white_noise_of_unit_variance_has_energy_one(gabor):
    noise = torch.randn(1, 1, 60 * RATE, generator=torch.Generator().manual_seed(0))
    energy = gabor.log_energy(noise).exp().mean(-1)[0]
    torch.testing.assert_close(energy[5:-5], torch.ones(86), atol=0.1, rtol=0)


def test_centres_are_evenly_spaced_in_mel():
    mel = 2595 * torch.log10(1 + mel_spaced(60, 7800, 96) / 700)
    torch.testing.assert_close(mel.diff(), mel.diff().mean().expand(95), atol=0.02, rtol=0)


@pytest.mark.parametrize("kind", [GaborFrontEndConfig, BankFrontEndConfig])
@pytest.mark.parametrize(("low", "high"), [(0, 100), (200, 100), (60, 8001)])
def test_filters_that_do_not_fit_are_refused(kind, low, high):
    with pytest.raises(ValueError, match="do not fit"):
        build_front_end(kind(low_hz=low, high_hz=high), RATE)


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_frame_is_centred_on_what_it_sees(kind):
    front_end = build_front_end(CONFIGS[kind], RATE).eval()
    for frame in (5, 12):
        wave = torch.randn(1, 1, 3200, requires_grad=True)
        # Softly, so that no ReLU hides what its unit sees.
        for module in front_end.modules():
            if isinstance(module, torch.nn.ReLU):
                vars(module).update(forward=torch.nn.functional.softplus)
        front_end(wave)[..., frame].sum().backward()
        assert wave.grad is not None
        seen = wave.grad[0, 0].nonzero()[:, 0]
        middle_halves = int(seen[0] + seen[-1])
        assert middle_halves == 2 * frame * front_end.hop + front_end.centre_halves


@pytest.mark.parametrize(("kind", "frames"), [("conv", 130), ("gabor", 128), ("bank", 128)])
def test_a_crop_gives_the_stated_frames(kind, frames):
    front_end = build_front_end(CONFIGS[kind], RATE).eval()
    assert front_end.hop == 160
    assert front_end(torch.randn(1, 1, 20_480)).shape == (1, CONFIGS[kind].channels, frames)


def test_filters_are_frozen_unless_trained():
    assert not build_front_end(GaborFrontEndConfig(), RATE).centre.requires_grad
    assert build_front_end(GaborFrontEndConfig(trained=True), RATE).bandwidth.requires_grad


SMALL_BANK = {"channels": 12, "taps": 301, "stride": 40, "pool": 4}


@pytest.fixture
def small_bank():
    """A bank whose taps, averaging and norm have moved from where they began."""
    torch.manual_seed(0)
    bank = BankFrontEnd(BankFrontEndConfig(**SMALL_BANK), RATE)
    with torch.no_grad():
        bank.taps.add_(0.01 * torch.randn_like(bank.taps))
        bank.averaging.add_(0.1 * torch.randn_like(bank.averaging))
        bank.averaging[:, :, 3] *= -1  # Of this band the energy is negative: the floor is left.
        bank.norm.weight.uniform_(0.5, 1.5)
        bank.norm.bias.normal_()
    return bank


@pytest.mark.parametrize("sizes", [{}, SMALL_BANK])
@pytest.mark.parametrize("training", [True, False])
def test_a_bank_begins_as_the_gabor_filters(sizes, training):
    wave = torch.randn(2, 1, 8000) * torch.tensor([1e-3, 1.0])[:, None, None]
    gabor, bank = (
        build_front_end(kind(**sizes), RATE).train(training)
        for kind in (GaborFrontEndConfig, BankFrontEndConfig)
    )
    torch.testing.assert_close(bank(wave), gabor(wave), atol=1e-5, rtol=1e-5)


def test_a_bank_is_convolution_square_weighted_sum_and_logarithm(small_bank):
    wave = torch.randn(2, 1, 4000)
    result = small_bank.eval()(wave)
    taps, averaging = small_bank.taps[:, None], small_bank.averaging
    squares = torch.nn.functional.conv1d(wave.double(), taps.double(), None, 40, 130).square()
    squares = squares[..., : 4 * result.shape[-1]]  # Of whole frames.
    for band in range(12):
        energy = sum(
            averaging[shift, part, band] * squares[:, 12 * part + band, shift::4]
            for shift in range(4)
            for part in range(2)
        )
        scale = small_bank.norm.weight[band] / (1 + small_bank.norm.eps) ** 0.5
        level = (energy.clamp_min(0) + 1e-4).log() * scale + small_bank.norm.bias[band]
        torch.testing.assert_close(result[:, band].double(), level, atol=1e-4, rtol=1e-4)


def test_all_of_a_bank_is_learned_but_a_band_without_energy(small_bank):
    small_bank(torch.randn(2, 1, 4000)).cos().sum().backward()
    silent = torch.arange(12) == 3
    assert torch.equal((small_bank.taps.grad == 0).all(1), silent.repeat(2))
    assert torch.equal((small_bank.averaging.grad == 0).all(0).all(0), silent)
    assert small_bank.norm.weight.grad.any()
    assert small_bank.norm.bias.grad.all()


def test_no_band_of_a_bank_sees_another(small_bank):
    small_bank.eval()(torch.randn(1, 1, 4000))[:, 5].sum().backward()
    others = [band for band in range(12) if band != 5]
    taps = small_bank.taps.grad.view(2, 12, -1)
    assert taps[:, 5].abs().min() > 0
    assert not taps[:, others].any()
    assert small_bank.averaging.grad[..., 5].abs().min() > 0
    assert not small_bank.averaging.grad[..., others].any()


def test_a_bank_keeps_its_precision_under_autocast(small_bank):
    wave = torch.randn(2, 1, 4000)
    expected = small_bank.eval()(wave)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(small_bank(wave), expected)
