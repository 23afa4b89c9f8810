"""SSAST's masks, its two losses against the authors' figures, and what comes out of a run."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch

from baselines import ssast
from pretrain.config import Config, SsastConfig
from pretrain.methods.ssast import Ssast, discriminative_loss, free_masks, square_masks
from tests.baselines.test_ssast import golden_bank, golden_tensor, shapes
from wavebyol_hear.encoder import PRESETS

SMALL = SsastConfig(width=64, depth=1)


def make(config, samples):
    encoder = dataclasses.replace(PRESETS["slim"], widths="4 P 8 P", crop_samples=samples)
    return Ssast(Config(encoder=encoder, ssast=config))


HEADS = {"discriminative": "cpredlayer", "generative": "gpredlayer"}


def test_masks_have_their_number_and_every_patch_its_share():
    generator = torch.Generator().manual_seed(0)
    masks = square_masks(2000, (8, 8), 50, generator)
    assert masks.shape == (2000, 50)
    assert all(len(set(row.tolist())) == 50 for row in masks[:50])
    share = torch.zeros(64).scatter_add_(0, masks.flatten(), torch.ones(2000 * 50)) / 2000
    assert float(share.mean()) == pytest.approx(50 / 64)
    # The authors' code masks the lowest row in 42 % of the clips, the first and last patch never.
    assert 0.7 < share.min() <= share.max() < 0.85


def test_masked_patches_lie_together():
    """A masked patch has more masked neighbors than in masks drawn patch by patch."""

    def neighbors(masks):
        grid = torch.zeros(len(masks), 64).scatter_(1, masks, 1).view(-1, 8, 8)
        return float((grid[:, :, 1:] * grid[:, :, :-1]).mean())

    generator = torch.Generator().manual_seed(0)
    squares = neighbors(square_masks(500, (8, 8), 20, generator))
    assert squares > 1.5 * neighbors(free_masks(500, 64, 20, generator))


def test_nothing_known_is_the_logarithm_of_the_masked_patches():
    targets = torch.randn(3, 50, 16)
    loss = discriminative_loss(torch.ones(3, 50, 16), targets)
    assert float(loss) == pytest.approx(math.log(50), abs=1e-5)


def test_the_softmax_is_over_predictions_for_a_fixed_target():
    predictions, targets = torch.randn(2, 2, 5, 7)
    scores = torch.einsum("btp,bmp->btm", targets, predictions)
    expected = (scores.logsumexp(2) - scores.diagonal(dim1=1, dim2=2)).mean()
    torch.testing.assert_close(discriminative_loss(predictions, targets), expected)


# Made by the authors' code, 1,024 frames, patches 173 i mod 512 masked in both passes.
@pytest.mark.parametrize(
    ("patch", "matching", "error"), [((16, 16), 5.99280, 62.2301), ((128, 2), 5.99693, 62.2260)]
)
def test_both_losses_are_those_of_the_authors_code(monkeypatch, patch, matching, error):
    method = make(SsastConfig(patch=patch, generative=0.0), 164_080)
    state = {n: golden_tensor(n, s) for n, s in shapes(192, patch).items() if n[:2] != "p_"}
    encoder = {n: v for n, v in state.items() if n.startswith("v.")}
    method.encoder.load_state_dict(ssast._encoder_of(encoder, Path("authors")))
    for head, name in HEADS.items():
        getattr(method, head).load_state_dict(
            {n.removeprefix(f"{name}."): v for n, v in state.items() if n.startswith(name)}
        )
    with torch.no_grad():
        method.mask_embed.copy_(state["mask_embed"])
    masked = (173 * torch.arange(400) % 512).expand(2, -1)
    monkeypatch.setattr(method, "masks", lambda passes: masked)
    monkeypatch.setattr(method, "banks", lambda a, b: golden_bank(1024).expand(2, -1, -1))
    wave = torch.zeros(1, 1, 400)
    with torch.no_grad():
        first, _ = method(wave, wave)
        method.config = SsastConfig(patch=patch, generative=10.0)
        both, _ = method(wave, wave)
    assert float(first) == pytest.approx(matching, abs=1e-4)
    assert float((both - first) / 10) == pytest.approx(error, abs=1e-3)


def test_a_masked_patch_is_not_seen():
    torch.manual_seed(0)
    method = make(SMALL, 8_000).eval()
    bank = torch.randn(1, 48, 128)
    masks = torch.tensor([[4]])  # row 1, column 1 of 8 x 3
    changed = bank.clone()
    changed[:, 16:32, 16:32] = 5.0
    with torch.no_grad():
        assert torch.equal(method.masked_tokens(bank, masks), method.masked_tokens(changed, masks))
        assert not torch.equal(
            method.masked_tokens(bank, masks - 1), method.masked_tokens(changed, masks - 1)
        )


def test_all_that_is_trained_gets_a_gradient():
    torch.manual_seed(0)
    method = make(SMALL, 8_000)
    wave = 0.1 * torch.randn(4, 1, 8_000)
    loss, projections = method(wave, wave)
    loss.backward()
    assert projections.shape == (8, 64)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())


def test_a_crop_without_a_patch_is_refused():
    with pytest.raises(ValueError, match=r"crop_samples is 2560: too short for a patch"):
        make(SMALL, 2_560)
