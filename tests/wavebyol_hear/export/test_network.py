"""The network for export gives the model's numbers, and the model itself refuses to be recorded."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from wavebyol_hear import load_model
from wavebyol_hear.classify.model import Classifier, save_classifier
from wavebyol_hear.components import Components
from wavebyol_hear.embed import Embedder
from wavebyol_hear.encoder import Encoder, EncoderConfig
from wavebyol_hear.export.network import ClassNetwork, SceneNetwork
from wavebyol_hear.front_end import (
    BankFrontEndConfig,
    ConvFrontEndConfig,
    FrontEndConfig,
    GaborFrontEndConfig,
)
from wavebyol_hear.head import Head
from wavebyol_hear.pooling import POOLINGS
from wavebyol_hear.whitening import Whitening

CONV, GABOR = ConvFrontEndConfig(channels=12), GaborFrontEndConfig(channels=12)
BANK = BankFrontEndConfig(channels=12, pool=3, stride=60, taps=301)


def small(front_end: FrontEndConfig, **settings: object) -> EncoderConfig:
    return EncoderConfig(front_end, widths="4 P 8 8 P", crop_samples=3_200, **settings)  # type: ignore[arg-type]


def unsettled(config: EncoderConfig) -> Encoder:
    """An encoder whose BatchNorms have learned something."""
    torch.manual_seed(0)
    encoder = Encoder(config)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for value in (module.weight, module.running_var):
                assert value is not None
                nn.init.uniform_(value, 0.5, 1.5)
            for value in (module.bias, module.running_mean):
                assert value is not None
                nn.init.normal_(value, std=0.1)
    return encoder


def clips(batch: int, samples: int) -> Tensor:
    generator = torch.Generator().manual_seed(samples)
    noise = torch.randn(batch, samples, generator=generator)
    return noise * torch.logspace(0, -2, batch)[:, None]


@pytest.mark.parametrize("pooling", [*POOLINGS])
@pytest.mark.parametrize(
    "config",
    [
        small(CONV),
        small(GABOR, input_norm="rms", image_norm=False),
        small(BANK, input_norm="rms", image_norm=False, pre_emphasis=0.97),
        small(BANK, chunks=2),
    ],
    ids=["conv", "gabor", "bank", "two chunks"],
)
def test_it_gives_the_numbers_of_the_model(config: EncoderConfig, pooling: str) -> None:
    model = Embedder(unsettled(config), pooling, fast=False)
    network = SceneNetwork(model)
    with torch.inference_mode():
        for samples in (1, 2, 3_199, 3_200, 3_201, 10_007):
            audio = clips(3, samples)
            torch.testing.assert_close(network(audio), model(audio), atol=2e-5, rtol=1e-4)


def test_whitening_components_and_unit_norm_are_applied() -> None:
    encoder = unsettled(small(GABOR, input_norm="rms"))
    plain = Embedder(encoder, "stages", fast=False)
    size = plain.scene_embedding_size
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(500, size, generator=generator) @ torch.randn(size, size) + 2
    mean, covariance = values.mean(0), torch.cov(values.T)
    parts = {
        "whitenings": {"scene.stages": Whitening.fit(mean, covariance)},
        "components": {"scene.stages": Components.fit(mean * 0.1, covariance, 30)},
    }
    model = Embedder(encoder, "stages", **parts, dims=20, normalize=True, fast=False)  # type: ignore[arg-type]
    result = SceneNetwork(model)(clips(2, 5_000))
    assert result.shape == (2, 20)
    torch.testing.assert_close(result, model(clips(2, 5_000)).detach(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(result.square().sum(1), torch.ones(2))


def test_a_classifier_gives_its_probabilities(tmp_path: Path) -> None:
    model = load_model(preset="slim", pooling="global")
    weight = torch.randn(3, 512, generator=torch.Generator().manual_seed(0))
    read_out = {"pooling": "global", "whiten": True, "dims": None, "normalize": False}
    head = Head(weight, torch.zeros(3), ("a", "b", "c"), multilabel=False, read_out=read_out)
    save_classifier(tmp_path / "mine", model, head, {})
    classifier = load_model(str(tmp_path / "mine"), precision="fp32")
    assert isinstance(classifier, Classifier)
    audio = clips(2, 30_000)
    wanted = torch.from_numpy(classifier.probabilities(audio.numpy(), 16_000))
    torch.testing.assert_close(ClassNetwork(classifier)(audio), wanted, atol=1e-5, rtol=1e-4)


def test_silence_gives_finite_numbers() -> None:
    model = Embedder(unsettled(small(CONV)), "contrast", fast=False)
    result = SceneNetwork(model)(torch.zeros(1, 4_000))
    torch.testing.assert_close(result, model(torch.zeros(1, 4_000)).detach())


def test_the_weights_are_copies() -> None:
    model = Embedder(unsettled(small(BANK)), fast=False)
    network, audio = SceneNetwork(model), clips(1, 4_000)
    before = network(audio)
    with torch.no_grad():
        for value in model.parameters():
            value.zero_()
    torch.testing.assert_close(network(audio), before, atol=0, rtol=0)


def test_the_shipped_model_to_a_ten_thousandth() -> None:
    model = load_model(precision="fp32")
    audio = clips(2, 48_000)
    with torch.inference_mode():
        assert (SceneNetwork(model)(audio) - model(audio)).abs().max() < 1e-4


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_recording_of_the_model_itself_is_refused_in_one_sentence() -> None:
    model = Embedder(unsettled(small(GABOR)))
    audio = clips(1, 4_000)
    for record in (
        lambda: torch.jit.trace(model, audio, check_trace=False),
        # Before torch 2.7 a model does not know that it is exported; then torch's own error comes.
        *([lambda: torch.export.export(model, (audio,))] * hasattr(torch.compiler, "is_exporting")),
        lambda: torch.jit.trace(SceneNetwork(model), audio, check_trace=False),
    ):
        with pytest.raises(RuntimeError, match=r"^(a recording of this|torch\.jit\.trace w)") as e:
            record()
        assert "\n" not in str(e.value)
        assert "torch.export" in str(e.value)
