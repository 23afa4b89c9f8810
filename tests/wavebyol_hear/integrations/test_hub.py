"""A model travels through a folder or the hub's cache bit for bit; nothing here needs a network."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from wavebyol_hear import load_model
from wavebyol_hear.checkpoint import WeightsError, load_weights
from wavebyol_hear.embed import Embedder
from wavebyol_hear.encoder import Encoder, EncoderConfig
from wavebyol_hear.files import hear_module
from wavebyol_hear.files.extras import MissingExtraError
from wavebyol_hear.files.model_spec import HearError
from wavebyol_hear.front_end import GaborFrontEndConfig
from wavebyol_hear.integrations.hub import from_pretrained, push_to_hub, save_pretrained
from wavebyol_hear.pretrained import weights_path

huggingface_hub = pytest.importorskip("huggingface_hub")
SMALL = EncoderConfig(GaborFrontEndConfig(channels=12), widths="4 P 8 P", input_norm="rms")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def shipped() -> Embedder:
    return load_model(preset="slim")


@pytest.fixture
def small() -> Embedder:
    torch.manual_seed(0)
    return Embedder(Encoder(SMALL), precision="auto")


@pytest.fixture
def audio() -> torch.Tensor:
    return torch.randn(2, 20_480, generator=torch.Generator().manual_seed(0))


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = load_weights(one), load_weights(other)
    assert first.provenance == second.provenance
    for a, b in (
        (first.encoder.state_dict(), second.encoder.state_dict()),
        *((v.state_dict(), second.whitenings[k].state_dict()) for k, v in first.whitenings.items()),
        *((v.state_dict(), second.components[k].state_dict()) for k, v in first.components.items()),
    ):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_folder_gives_the_same_model_and_embeddings(
    shipped: Embedder, tmp_path: Path, audio: torch.Tensor
) -> None:
    save_pretrained(shipped, tmp_path / "new" / "model")
    for again in (load_model(str(tmp_path / "new/model")), from_pretrained(tmp_path / "new/model")):
        with torch.no_grad():
            assert torch.equal(again(audio), shipped(audio))
            assert torch.equal(again.timestamps(audio)[0], shipped.timestamps(audio)[0])
    source = Path(sys.modules["wavebyol_hear"].__file__ or "").parent / "weights/slim.safetensors"
    saved = tmp_path / "new/model/model.safetensors"
    assert_same_weights(source, saved)
    assert saved.stat().st_size == pytest.approx(source.stat().st_size, rel=0.01), "half stays half"


def test_weights_that_half_precision_would_change_are_kept_whole(
    small: Embedder, tmp_path: Path, audio: torch.Tensor
) -> None:
    save_pretrained(small, tmp_path)
    with torch.no_grad():
        assert torch.equal(load_model(str(tmp_path))(audio), small(audio))


def test_options_of_load_model_go_through(shipped: Embedder, tmp_path: Path) -> None:
    save_pretrained(shipped, tmp_path)
    assert from_pretrained(tmp_path, normalize=True, pooling="maxima").normalize


def test_the_card_is_in_the_hubs_format(shipped: Embedder, tmp_path: Path) -> None:
    save_pretrained(shipped, tmp_path, metadata={"license": "cc-by-4.0", "datasets": ["a/b"]})
    text = (tmp_path / "README.md").read_text()
    header = yaml.safe_load(text.split("---\n")[1])
    assert header["license"] == "cc-by-4.0"
    assert header["datasets"] == ["a/b"]
    assert header["library_name"] == "wavebyol-hear"
    card = huggingface_hub.ModelCard(text)
    assert card.data.pipeline_tag == "feature-extraction"
    assert "scene.contrast" in card.text
    assert '"steps"' in card.text, "the provenance is on the card"
    assert str(tmp_path) in card.text
    config = json.loads((tmp_path / "config.json").read_text())
    assert EncoderConfig.from_dict(config["encoder"]) == shipped.config


def test_a_card_of_ones_own_stands_below_the_header(small: Embedder, tmp_path: Path) -> None:
    save_pretrained(small, tmp_path, card=Path("MODEL_CARD.md").read_text(encoding="utf-8"))
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert text.startswith("---\nlicense: ")
    assert "\n# Model card" in text


def test_a_folder_without_weights_says_so(tmp_path: Path, small: Embedder) -> None:
    with pytest.raises(WeightsError, match=r"holds 0 \.safetensors files"):
        load_model(str(tmp_path))
    save_pretrained(small, tmp_path)
    for name in ("a", "b"):
        shutil.copy(tmp_path / "model.safetensors", tmp_path / f"{name}.safetensors")
    assert weights_path(str(tmp_path)).name == "model.safetensors"
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"holds 2 \.safetensors files"):
        load_model(str(tmp_path))
    (tmp_path / "b.safetensors").unlink()
    assert weights_path(str(tmp_path)).name == "a.safetensors"


@pytest.fixture
def cache(tmp_path: Path, small: Embedder, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache with one repository, as a download leaves it, and no network."""
    folder = tmp_path / "hub" / "models--someone--a-model"
    save_pretrained(small, folder / "snapshots" / COMMIT)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    (folder / "refs" / "v1").write_text(COMMIT)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


@pytest.mark.parametrize("name", ["someone/a-model", "someone/a-model@v1", "someone/a-model/"])
def test_a_repository_is_loaded_by_its_name(
    cache: Path, name: str, small: Embedder, audio: torch.Tensor
) -> None:
    assert cache.is_dir()
    with torch.no_grad():
        assert torch.equal(load_model(f"hf://{name}")(audio), small(audio))
        assert torch.equal(from_pretrained(name)(audio), small(audio))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hf://someone/absent", "cannot be downloaded from the hub"),
        ("hf://someone/a-model@absent", "cannot be downloaded from the hub"),
        ("hf://a-model", "hf://owner/name"),
        ("hf://../a b", "hf://owner/name"),
        ("hf://", "hf://owner/name"),
    ],
)
def test_a_repository_that_cannot_be_had_is_one_line(cache: Path, name: str, words: str) -> None:
    assert cache.is_dir()
    with pytest.raises(WeightsError, match=words) as caught:
        load_model(name)
    assert "\n" not in str(caught.value)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"'.\[hub\]"):
        load_model("hf://someone/a-model")


def test_a_push_makes_the_repository_and_sends_the_folder(
    small: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, audio: torch.Tensor
) -> None:
    calls: dict[str, Any] = {}

    class Api:
        def __init__(self, token: str | None) -> None:
            calls["token"] = token

        def create_repo(self, repo_id: str, *, private: bool | None, exist_ok: bool) -> None:
            calls["created"] = repo_id, private, exist_ok

        def upload_folder(self, *, repo_id: str, folder_path: str, **rest: object) -> object:
            assert repo_id == "someone/new"
            shutil.copytree(folder_path, tmp_path / "uploaded")
            calls.update(rest)
            return SimpleNamespace(commit_url="https://hub/commit/1")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    assert push_to_hub(small, "hf://someone/new", private=True, token="t") == "https://hub/commit/1"
    assert calls["created"] == ("someone/new", True, True)
    assert calls["token"] == "t"
    assert calls["commit_message"] == "Add the model"
    assert "hf://someone/new" in (tmp_path / "uploaded" / "README.md").read_text()
    with torch.no_grad():
        assert torch.equal(load_model(str(tmp_path / "uploaded"))(audio), small(audio))


def test_the_commands_take_folders_and_repositories(cache: Path, small: Embedder) -> None:
    folder = next(cache.glob("models--someone--a-model/snapshots/*"))
    for weights in (str(folder), "hf://someone/a-model"):
        model = hear_module.load(f"wavebyol_hear:{weights}", precision="auto")
        assert model.size == small.scene_embedding_size
    with pytest.raises(HearError, match="cannot be downloaded from the hub"):
        hear_module.load("wavebyol_hear:hf://someone/absent")
