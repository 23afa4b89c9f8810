"""Convolutions with fewer products against the definition, by torch in double precision."""

import pytest
import torch
from torch.nn import functional

from wavebyol_hear.fast.winograd import WinogradConv2d, WinogradLine


@pytest.mark.parametrize("at_once", [4096, 4])
@pytest.mark.parametrize("dilation", [1, 2, 4])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 10), (10, 8), (7, 13)])
@pytest.mark.parametrize(
    ("dtype", "most"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)], ids=["fp32", "bf16"]
)
def test_it_is_the_convolution(rows, columns, dilation, dtype, most, at_once, monkeypatch):
    monkeypatch.setattr("wavebyol_hear.fast.winograd.TILES", at_once)
    generator = torch.Generator().manual_seed(0)
    convolution = torch.nn.Conv2d(64, 24, 3, padding=1)
    assert convolution.bias is not None
    with torch.no_grad():
        convolution.weight.copy_(torch.randn(24, 64, 3, 3, generator=generator) / 24)
        convolution.bias.copy_(torch.randn(24, generator=generator))
        image = torch.randn(2, 64, rows, columns, generator=generator)
        expected = functional.conv2d(
            image.double(),
            convolution.weight.double(),
            convolution.bias.double(),
            padding=(1, dilation),
            dilation=(1, dilation),
        )
        result = WinogradConv2d(convolution, dtype)(image.to(dtype), dilation)
    assert result.shape == expected.shape
    assert result.dtype == dtype
    assert (result - expected).norm() <= most * expected.norm()


@pytest.mark.parametrize("at_once", [256, 2])
@pytest.mark.parametrize(("stride", "padding"), [(4, 2), (2, 2), (1, 0)])
@pytest.mark.parametrize("columns", [8, 37, 64, 131])
@pytest.mark.parametrize(
    ("dtype", "most"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)], ids=["fp32", "bf16"]
)
def test_a_line_is_the_strided_convolution_of_two_taps(
    columns, stride, padding, dtype, most, at_once, monkeypatch
):
    monkeypatch.setattr("wavebyol_hear.fast.winograd.TILES", at_once)
    generator = torch.Generator().manual_seed(0)
    taps = 2 * stride
    convolution = torch.nn.Conv2d(24, 17, (1, taps), (1, stride), (0, padding))
    assert convolution.bias is not None
    with torch.no_grad():
        shape = convolution.weight.shape
        convolution.weight.copy_(torch.randn(shape, generator=generator) / (24 * taps) ** 0.5)
        image = torch.randn(3, 24, 1, columns, generator=generator)
        expected = functional.conv2d(
            image.double(),
            convolution.weight.double(),
            convolution.bias.double(),
            (1, stride),
            (0, padding),
        )
        result = WinogradLine(convolution, dtype)(image.to(dtype))
    assert result.shape == expected.shape
    assert result.dtype == dtype
    assert (result - expected).norm() <= most * expected.norm()
