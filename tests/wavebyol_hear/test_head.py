"""A head in a weights file: what it must be to be used."""

import json
from pathlib import Path

import pytest
import torch

from wavebyol_hear import load_model
from wavebyol_hear.checkpoint import WeightsError, load_weights, save_encoder
from wavebyol_hear.embed import Embedder
from wavebyol_hear.head import Head

READ_OUT = {"pooling": None, "whiten": True, "dims": None, "normalize": False}


@pytest.fixture(scope="module")
def model() -> Embedder:
    return load_model(preset="slim")


def head(size: int = 4_800) -> Head:
    weight = torch.linspace(-1, 1, 3 * size).view(3, size)
    return Head(weight, torch.zeros(3), ("a", "b", "c"), multilabel=False, read_out=READ_OUT)


def save(path: Path, model: Embedder, own: Head, **changes: object) -> None:
    """Save a file whose head's header has some entries changed."""
    whole = json.loads(own.header(model.encoder)) | changes
    own.header = lambda encoder: json.dumps(whole)  # type: ignore[method-assign]
    save_encoder(path, model.encoder, {}, head=own)


def test_it_is_read_back_whole(tmp_path: Path, model: Embedder) -> None:
    save_encoder(tmp_path / "file", model.encoder, {}, dtype=torch.float16, head=head())
    own = load_weights(tmp_path / "file").head
    assert own is not None
    torch.testing.assert_close(own.weight, head().weight, atol=0, rtol=0)
    assert (own.classes, own.multilabel, own.read_out) == (("a", "b", "c"), False, READ_OUT)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"encoder": "0" * 32}, "was trained on another encoder"),
        ({"format": "wavebyol-hear-head/9"}, "has the format 'wavebyol-hear-head/9'"),
        ({"classes": ["a", "b"]}, "of other sizes than its 2 classes"),
        ({"classes": None}, "is incomplete"),
        ({"read_out": {}}, "is incomplete"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    tmp_path: Path, model: Embedder, changes: dict[str, object], reason: str
) -> None:
    save(tmp_path / "file", model, head(), **changes)
    with pytest.raises(WeightsError, match=reason) as error:
        load_model(str(tmp_path / "file"))
    assert "\n" not in str(error.value)


def test_a_head_of_another_size_or_read_out_is_refused(tmp_path: Path, model: Embedder) -> None:
    save_encoder(tmp_path / "short", model.encoder, {}, head=head(100))
    with pytest.raises(ValueError, match="takes 100 numbers and the encoder gives 4800"):
        load_model(str(tmp_path / "short"))
    save_encoder(tmp_path / "whole", model.encoder, {}, head=head())
    with pytest.raises(ValueError, match="pooling is given for a classifier"):
        load_model(str(tmp_path / "whole"), pooling="global")
    assert load_model(str(tmp_path / "whole")).scene_embedding_size == 4_800
