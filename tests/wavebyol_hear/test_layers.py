"""The norms over time and the image of chunks."""

import pytest
import torch
from torch.nn import functional

from wavebyol_hear.layers import TimeNorm, pad_to, stack_chunks


def test_time_norm_is_the_plain_l2_norm_at_its_reference_length():
    rows = torch.randn(2, 5, 130)
    torch.testing.assert_close(TimeNorm(130)(rows), functional.normalize(rows, dim=-1))


@pytest.mark.parametrize("length", [1, 7, 130, 10_000])
def test_time_norm_gives_the_same_mean_square_at_any_length(length):
    scaled = TimeNorm(130)(torch.randn(3, length) + 2)
    torch.testing.assert_close(scaled.square().mean(-1), torch.full((3,), 1 / 130))


def test_time_norm_with_reference_one_is_unit_rms():
    scaled = TimeNorm(1)(5 * torch.randn(1000))
    assert scaled.square().mean().item() == pytest.approx(1, rel=1e-5)


def test_time_norm_leaves_silence_silent():
    assert TimeNorm(130)(torch.zeros(2, 50)).eq(0).all()


def test_the_gain_from_energies_of_pieces_is_that_of_the_whole():
    rows, norm = torch.randn(4, 300), TimeNorm(130)
    energy = sum(piece.square().sum(-1, keepdim=True) for piece in rows.split(77, -1))
    torch.testing.assert_close(rows * norm.gain(energy, 300), norm(rows))


def test_time_norm_refuses_a_reference_below_one():
    with pytest.raises(ValueError, match="0 frames"):
        TimeNorm(0)


def test_stack_chunks_stacks_equal_runs_of_channels():
    channels = torch.randn(2, 12, 7)
    expected = torch.stack(channels.chunk(3, dim=1), dim=1)
    assert torch.equal(stack_chunks(channels, 3), expected)


@pytest.mark.parametrize(("samples", "left", "right"), [(1, 4, 5), (9, 0, 1), (8, 1, 1)])
def test_pad_to_pads_both_sides_and_the_odd_sample_right(samples, left, right):
    padded = pad_to(torch.ones(2, samples), 10)
    expected = torch.cat([torch.zeros(left), torch.ones(samples), torch.zeros(right)])
    assert torch.equal(padded, expected.expand(2, 10))


def test_pad_to_leaves_long_audio_alone():
    wave = torch.randn(2, 11)
    assert pad_to(wave, 10) is wave
