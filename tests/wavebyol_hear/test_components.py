"""Principal components: what they keep of embeddings, and how they travel in a weights file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from wavebyol_hear import load_model
from wavebyol_hear.checkpoint import WeightsError, load_weights, save_encoder
from wavebyol_hear.components import PARTS, Components, from_tensors, to_tensors
from wavebyol_hear.embed import Embedder
from wavebyol_hear.encoder import Encoder, EncoderConfig
from wavebyol_hear.front_end import GaborFrontEndConfig
from wavebyol_hear.whitening import Whitening

SMALL = EncoderConfig(GaborFrontEndConfig(channels=12), widths="4 P 8 P", input_norm="rms")
SIZE = 121  # odd, so that the last byte of a direction is half used
NAME = "scene.contrast"


def rows(count: int = 3000, size: int = SIZE) -> Tensor:
    """Rows with a mean, and a spectrum that falls by a factor of 100."""
    generator = torch.Generator().manual_seed(0)
    turned = torch.linalg.qr(torch.randn(size, size, generator=generator))[0]
    own = torch.randn(count, size, generator=generator) * torch.logspace(1, 0, size)
    return own @ turned + 3


def fitted(values: Tensor, count: int) -> Components:
    return Components.fit(values.mean(0), torch.cov(values.T), count)


def test_they_are_the_principal_components_of_scikit_learn() -> None:
    values = rows()
    wanted = PCA(20, svd_solver="full").fit_transform(values.double().numpy())
    result = fitted(values, 20)(values).numpy()
    for column in range(20):
        assert abs(np.corrcoef(result[:, column], wanted[:, column])[0, 1]) > 0.99
    np.testing.assert_allclose(result.var(0), wanted.var(0), rtol=0.05)


def test_fewer_are_the_first_of_more() -> None:
    values = rows()
    many = fitted(values, 64)
    torch.testing.assert_close(many.first(10)(values), many(values)[:, :10])
    torch.testing.assert_close(fitted(values, 10)(values), many(values)[:, :10])


def test_rounding_to_four_bits_takes_little_of_each_direction() -> None:
    generator = torch.Generator().manual_seed(0)
    directions = torch.linalg.qr(torch.randn(500, 50, generator=generator))[0].T
    kept = Components.of_directions(torch.zeros(500), directions).get_buffer("directions")
    assert ((kept - directions).square().sum(1) < 0.03).all()


def test_a_fit_has_one_sign() -> None:
    values = rows()
    torch.testing.assert_close(fitted(values, 5)(values), fitted(values.flip(0), 5)(values))


@pytest.mark.parametrize(("count", "words"), [(0, "1 to 121"), (122, "1 to 121")])
def test_a_count_that_cannot_be_is_refused(count: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        fitted(rows(200), count)


def whitened(encoder: Encoder) -> tuple[dict[str, Whitening], dict[str, Components]]:
    size = Embedder(encoder).scene_embedding_size
    values = rows(400, size)
    whitening = Whitening.fit(values.mean(0), torch.cov(values.T), 4)
    return {NAME: whitening}, {NAME: fitted(whitening(values), 16)}


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(SMALL).eval()


@pytest.fixture
def path(tmp_path: Path, encoder: Encoder) -> Path:
    whitenings, components = whitened(encoder)
    save_encoder(
        tmp_path / "w.safetensors", encoder, {}, whitenings=whitenings, components=components
    )
    return tmp_path / "w.safetensors"


def test_dims_are_the_components_of_the_whitened_embedding(path: Path, encoder: Encoder) -> None:
    audio = torch.randn(2, 20_480, generator=torch.Generator().manual_seed(1))
    whole, short = load_model(str(path)), load_model(str(path), dims=7)
    assert short.scene_embedding_size == 7
    assert short.timestamp_embedding_size == whole.timestamp_embedding_size
    components = load_weights(path).components[NAME]
    with torch.no_grad():
        wanted = components(whole(audio))[:, :7]
        torch.testing.assert_close(short(audio), wanted, rtol=1e-4, atol=1e-4)
        unit = load_model(str(path), dims=7, normalize=True)(audio)
    torch.testing.assert_close(unit, torch.nn.functional.normalize(wanted), rtol=1e-4, atol=1e-4)
    assert short.embed(audio[0], 16_000).shape == (7,)


def test_a_file_and_a_copy_of_it_hold_the_same_bytes(path: Path, tmp_path: Path) -> None:
    """Components take whatever way a model takes: through `Embedder`, too, and in half floats."""
    for dtype in (torch.float32, torch.float16):
        copy = tmp_path / "copy.safetensors"
        save_encoder(copy, load_model(str(path)).encoder, {}, dtype=dtype)
        again = load_weights(copy).components[NAME].state_dict()
        for name, value in load_weights(path).components[NAME].state_dict().items():
            assert torch.equal(value, again[name])


def test_other_whitenings_leave_components_behind(path: Path, tmp_path: Path) -> None:
    encoder = load_model(str(path)).encoder
    save_encoder(tmp_path / "new.safetensors", encoder, {}, whitenings=whitened(encoder)[0])
    assert not load_weights(tmp_path / "new.safetensors").components


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dims": 17}, "dims is 17: the weights hold 16 components"),
        ({"dims": 0}, "dims is 0"),
        ({"dims": "many"}, "dims is 'many': give a whole number"),
        ({"dims": True}, "dims is True"),
        ({"dims": 4, "whiten": False}, "no components of scene.contrast, whitened"),
        ({"dims": 4, "pooling": "maxima"}, "no components of scene.maxima"),
    ],
)
def test_dims_that_cannot_be_had_are_one_line(
    path: Path, options: dict[str, int], words: str
) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        load_model(str(path), **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_an_old_file_has_no_dims(encoder: Encoder, tmp_path: Path) -> None:
    save_encoder(tmp_path / "old.safetensors", encoder, {}, whitenings=whitened(encoder)[0])
    assert load_model(str(tmp_path / "old.safetensors")).reduce_scene is not None
    with pytest.raises(ValueError, match=r"pretrain\.whiten STORE WEIGHTS --components"):
        load_model(str(tmp_path / "old.safetensors"), dims=4)


@pytest.mark.parametrize("part", PARTS)
def test_a_file_that_lacks_a_part_says_so(path: Path, part: str) -> None:
    tensors = to_tensors(load_weights(path).components)
    del tensors[f"components.{NAME}.{part}"]
    with pytest.raises(ValueError, match="lacks a part"):
        from_tensors(tensors)


@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        ("codes", torch.zeros(16, 3, dtype=torch.uint8), "other sizes"),
        ("codes", torch.zeros(16, 60), "other sizes"),
        ("scale", torch.full((16,), torch.nan), "NaN"),
        ("scale", torch.ones(15), "other sizes"),
    ],
)
def test_a_damaged_part_is_a_weights_error(
    path: Path, tmp_path: Path, part: str, value: Tensor, words: str
) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(path, framework="pt") as file:
        header = {k: v for k, v in file.metadata().items() if k != "checksum"}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    tensors[f"components.{NAME}.{part}"] = value
    save_file(tensors, tmp_path / "bad.safetensors", metadata=header)
    with pytest.raises(WeightsError, match=words):
        load_weights(tmp_path / "bad.safetensors")


@pytest.mark.parametrize("preset", ["wide_bank", "slim"])
def test_the_shipped_weights_hold_1024(preset: str) -> None:
    components = load_model(preset=preset, dims=1024).reduce_scene
    assert isinstance(components, Components)
    directions = components.get_buffer("directions")
    torch.testing.assert_close(directions @ directions.T, torch.eye(1024), rtol=0, atol=0.05)
