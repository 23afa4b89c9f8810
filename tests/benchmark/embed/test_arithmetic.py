"""What is counted equals the sum by hand, and what cannot be counted is no number."""

import re
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from benchmark.embed.cost import CountError, gflop_per_second
from wavebyol_hear.encoder import PRESETS, Encoder
from wavebyol_hear.files.hear_module import HearModel, load
from wavebyol_hear.front_end import ConvFrontEndConfig

RATE = 16_000


def wrapped(model: nn.Module, embed: Callable[[Tensor, nn.Module], Tensor]) -> HearModel:
    vars(model).update(sample_rate=RATE, scene_embedding_size=1, timestamp_embedding_size=1)
    module = ModuleType("made_up")
    vars(module).update(get_scene_embeddings=embed)
    return HearModel("made_up", module, model.eval(), torch.device("cpu"), "")


def framed(layer: nn.Module, width: int = 16) -> HearModel:
    """A module that lays sound in rows of `width` and gives them to a layer."""
    return wrapped(layer, lambda audio, model: model(audio.reshape(1, -1, width)))


def conv_sum(preset: str, samples: int) -> int:
    """Two operations a weight and output of every convolution, from the config alone."""
    config = PRESETS[preset]
    front, total, inputs, length = config.front_end, 0, 1, samples
    assert isinstance(front, ConvFrontEndConfig)
    for kernel, stride, padding in zip(front.kernels, front.strides, front.paddings, strict=True):
        length = (length + 2 * padding - kernel) // stride + 1
        total += 2 * front.channels * inputs * kernel * length
        inputs = front.channels
    rows, inputs = front.channels // config.chunks, config.chunks
    for token in config.widths.split():
        if token == "P":
            rows, length = rows // 2, length // 2
        else:
            total += 2 * int(token) * inputs * 9 * rows * length
            inputs = int(token)
    return total


def test_h2_counts_what_its_convolutions_add_up_to() -> None:
    encoder = Encoder(PRESETS["h2"])
    model = wrapped(encoder, lambda audio, model: model(audio[:, None]))
    counted = 1.28 * gflop_per_second(model, seconds=1.28)
    assert counted == pytest.approx(conv_sum("h2", 20_480) / 1e9, rel=1e-12)
    assert counted == pytest.approx(47.7, abs=0.05)


def test_products_added_in_place_count_like_others() -> None:
    counts = []
    for add in (torch.addmm, Tensor.addmm_):

        def embed(audio: Tensor, model: nn.Module, add: Callable[..., Tensor] = add) -> Tensor:
            rows = audio.reshape(-1, 16)
            return add(torch.zeros(len(rows), 8), rows, torch.ones(16, 8))[:1]

        counts.append(gflop_per_second(wrapped(nn.Identity(), embed), seconds=1))
    assert counts == [2 * RATE * 8 / 1e9] * 2


def test_the_module_that_ships_is_counted_in_proportion_to_the_sound() -> None:
    model = load("wavebyol_hear")
    short, long = gflop_per_second(model, seconds=1.28), gflop_per_second(model, seconds=10.24)
    assert 0.1 < 1.28 * short < 1
    assert long == pytest.approx(short, rel=0.1)


def test_attention_and_grouped_convolutions_are_counted_although_kernels_are_fused() -> None:
    rows, width, hidden = 1000, 16, 32
    layer = nn.TransformerEncoderLayer(width, 4, hidden, batch_first=True)
    linear = 2 * rows * width * (4 * width + 2 * hidden)
    attention = 2 * 2 * rows * rows * width
    counted = gflop_per_second(framed(layer), seconds=1.0)
    assert counted * 1e9 == pytest.approx(linear + attention)
    groups = nn.Conv1d(1000, 1000, 3, padding=1, groups=1000)
    assert gflop_per_second(framed(groups), seconds=1.0) * 1e9 == pytest.approx(2 * 3 * 16_000)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (framed(nn.LSTM(16, 8, batch_first=True)), "no formula for aten::.*rnn"),
        (wrapped(nn.Identity(), lambda a, m: a.reshape(-1, 16) @ a[0, :16]), "aten::mv"),
        (wrapped(nn.Linear(16, 1), lambda a, m: torch.ones(1, 1) * a.numpy().mean()), "numpy"),
        (framed(nn.Sequential(torch.jit.script(nn.Linear(16, 1)))), "is compiled"),
        (framed(nn.Linear(17, 1)), "failed while it was counted"),
        (wrapped(nn.Identity(), lambda a, m: a.mean(1, keepdim=True)), "no convolution"),
    ],
)
def test_what_cannot_be_counted_is_a_reason(model: HearModel, reason: str) -> None:
    with pytest.raises(CountError) as error:
        gflop_per_second(model)
    assert re.search(reason, str(error.value))
    assert "\n" not in str(error.value)


def test_what_a_module_does_once_is_not_counted() -> None:
    prepared: list[Tensor] = []

    def embed(audio: Tensor, model: nn.Module) -> Tensor:
        if not prepared:
            prepared.append(torch.ones(500, 500) @ torch.ones(500, 500))
        return model(audio.reshape(1, -1, 16))

    counted = gflop_per_second(wrapped(nn.Linear(16, 1), embed), seconds=1.0)
    assert counted * 1e9 == pytest.approx(2 * 16_000)


def test_counting_leaves_torch_as_it_was() -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    gflop_per_second(framed(nn.Linear(16, 1)))
    assert torch.backends.mha.get_fastpath_enabled() == before
