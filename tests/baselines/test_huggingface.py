"""Encoders of `transformers` as HEAR modules, each a tiny one made from its configuration.

Skipped where `transformers` (the extra `huggingface`) is not installed.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from baselines.base import BaselineError

transformers: Any = pytest.importorskip("transformers", reason="needs the extra huggingface")

from baselines.huggingface import (  # noqa: E402
    get_scene_embeddings,
    get_timestamp_embeddings,
    load_model,
)
from wavebyol_hear.files.hear_module import load  # noqa: E402

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
CONVOLUTIONS = {
    **SIZES,
    "intermediate_size": 48,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}


def waves(kind: str, **settings: object) -> tuple[Any, Any]:
    config = getattr(transformers, f"{kind}Config")(**CONVOLUTIONS, **settings)
    network = getattr(transformers, f"{kind}Model")(config)
    return network, transformers.Wav2Vec2FeatureExtractor(do_normalize=kind != "Hubert")


def whisper() -> tuple[Any, Any]:
    config = transformers.WhisperConfig(
        d_model=32,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        vocab_size=64,
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 1),
        decoder_start_token_id=1,
    )
    return transformers.WhisperModel(config), transformers.WhisperFeatureExtractor()


def ast() -> tuple[Any, Any]:
    config = transformers.ASTConfig(**SIZES, intermediate_size=48)
    return transformers.ASTModel(config), transformers.ASTFeatureExtractor()


def clap(*, fusion: bool = False) -> tuple[Any, Any]:
    audio = {
        "patch_embeds_hidden_size": 16,
        "hidden_size": 128,
        "depths": [1, 1, 1, 1],
        "num_attention_heads": [2, 2, 2, 2],
        "enable_fusion": fusion,
        "projection_dim": 16,
    }
    config = transformers.ClapConfig(
        text_config={**SIZES, "vocab_size": 64, "intermediate_size": 48},
        audio_config=audio,
        projection_dim=16,
    )
    extractor = transformers.ClapFeatureExtractor(truncation="fusion" if fusion else "rand_trunc")
    return transformers.ClapModel(config), extractor


MAKERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "wav2vec2": lambda: waves("Wav2Vec2"),
    "hubert": lambda: waves("Hubert"),
    "wavlm": lambda: waves("WavLM"),
    "data2vec": lambda: waves("Data2VecAudio", conv_pos_kernel_size=9),
    "whisper": whisper,
    "ast": ast,
    "clap": clap,
    "clap fused": lambda: clap(fusion=True),
}
HOPS_MS = {"whisper": 20.0, "ast": 100.0, "clap": 312.5, "clap fused": 312.5}


@pytest.fixture(scope="module", params=[*MAKERS])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network, extractor = MAKERS[kind]()
    path = tmp_path_factory.mktemp("model") / kind
    network.eval().save_pretrained(path)
    extractor.save_pretrained(path)
    return path


def clip(samples: int, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(samples)
    return torch.randn(batch, samples, generator=generator) * 0.1


def test_it_honours_the_api(kind: str, folder: Path) -> None:
    model = load_model(str(folder))
    assert model.sample_rate == (48_000 if "clap" in kind else 16_000)
    for samples in (1, model.sample_rate):
        audio = clip(samples)
        scenes = get_scene_embeddings(audio, model)
        assert scenes.shape == (2, model.scene_embedding_size)
        assert scenes.dtype == torch.float32
        assert scenes.isfinite().all()
        frames, times = get_timestamp_embeddings(audio, model)
        assert frames.shape == (*times.shape, model.timestamp_embedding_size)
        assert (times >= 0).all()
        assert (times <= 1000 * samples / model.sample_rate).all()
        if samples > 1:
            hop = HOPS_MS.get(kind, 20.0)
            torch.testing.assert_close(
                times[:, 1:] - times[:, :-1], torch.full_like(times[:, 1:], hop)
            )
            assert 1000.0 - float(times[0, -1]) <= 1.5 * hop + 12.6


def test_a_clip_does_not_depend_on_its_batch(folder: Path) -> None:
    model = load_model(str(folder))
    audio = clip(model.sample_rate, 3)
    alone = torch.cat([get_scene_embeddings(row[None], model) for row in audio])
    torch.testing.assert_close(get_scene_embeddings(audio, model), alone, atol=1e-5, rtol=1e-4)


def test_a_long_clip_is_a_row_of_windows(kind: str, folder: Path) -> None:
    model = load_model(str(folder))
    audio = clip(35 * model.sample_rate, 1)
    frames, times = get_timestamp_embeddings(audio, model)
    hop = HOPS_MS.get(kind, 20.0)
    steps = (times[:, 1:] - times[:, :-1]).numpy()
    np.testing.assert_allclose(steps, hop, atol=1e-6)
    assert 35_000 - float(times[0, -1]) <= 1.5 * hop + 12.6
    # The second window is what its part of the clip gives by itself.
    framing = model.framing
    begin, end, count = list(framing.windows(audio.shape[1]))[1]
    if kind in ("whisper", "ast", "clap", "clap fused"):  # the others normalize the whole clip
        own = get_timestamp_embeddings(audio[:, begin:end], model)[0][:, :count]
        torch.testing.assert_close(frames[:, framing.most : framing.most + count], own)


def test_layer_and_pooling(kind: str, folder: Path) -> None:
    if "clap" in kind:
        with pytest.raises(BaselineError, match="different shapes; leave layer out"):
            load_model(str(folder), layer=1, pool="mean")
        return
    audio = clip(16_000)
    last, first = load_model(str(folder)), load_model(str(folder), layer=1, pool="meanmax")
    frames = get_timestamp_embeddings(audio, first)[0]
    wanted = torch.cat([frames.mean(1), frames.amax(1)], 1)
    torch.testing.assert_close(get_scene_embeddings(audio, first), wanted)
    assert first.scene_embedding_size == 2 * last.scene_embedding_size == 64
    assert not torch.allclose(frames, get_timestamp_embeddings(audio, last)[0])
    for layer in (-1, 3):
        with pytest.raises(BaselineError, match=rf"layer is {layer}; give 0 to 2$"):
            load_model(str(folder), layer=layer)
    with pytest.raises(BaselineError, match="pool is 'median'; here it is one of mean, max"):
        load_model(str(folder), pool="median")


def test_frames_are_those_of_the_network_itself(kind: str, folder: Path) -> None:
    audio = clip(20_000, 1)
    network = transformers.AutoModel.from_pretrained(folder).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    rate = extractor.sampling_rate
    made = extractor(audio[0].numpy(), sampling_rate=rate, return_tensors="pt")
    model = load_model(str(folder))
    with torch.no_grad():
        if "clap" in kind:
            # The extractor declares a clip of each batch longer than it is, at random.
            longer = torch.zeros(1, 1, dtype=torch.bool) if kind == "clap fused" else None
            output = network.audio_model(made["input_features"], is_longer=longer)
            wanted, result = output.pooler_output, get_scene_embeddings(audio, model)
        elif kind == "whisper":
            states = network.encoder(made["input_features"]).last_hidden_state
            wanted, result = states[:, :63].mean(1), get_scene_embeddings(audio, model)
        elif kind == "ast":
            wanted = network(**made).pooler_output
            result = get_scene_embeddings(audio, load_model(str(folder), pool="pooler"))
        else:
            wanted = network(**made).last_hidden_state
            result = get_timestamp_embeddings(audio, model)[0]
    torch.testing.assert_close(result, wanted, atol=1e-5, rtol=1e-4)


def test_it_is_trained_through(folder: Path) -> None:
    model = load_model(str(folder))
    model.train()
    model(clip(model.sample_rate)).sum().backward()
    assert any(value.grad is not None for value in model.parameters())


def test_a_folder_is_a_model_of_the_benchmark(folder: Path) -> None:
    model = load(f"baselines.huggingface:{folder}?pool=max")
    audio = clip(model.sample_rate).numpy()
    wanted = get_scene_embeddings(torch.from_numpy(audio), load_model(str(folder), pool="max"))
    np.testing.assert_allclose(model.scenes(audio), wanted.numpy(), atol=1e-6)


def test_names_that_lead_nowhere_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BaselineError, match=r"no model: write baselines\.huggingface:NAME"):
        load_model()
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(BaselineError, match="is of type 'bert': known are wav2vec2"):
        load_model(str(tmp_path))
    with pytest.raises(BaselineError, match="not available from the Hub") as error:
        load_model("nobody/no-such-model")
    assert "\n" not in str(error.value)
