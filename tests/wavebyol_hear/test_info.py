"""`wavebyol info` says what a weights file holds."""

import json
from pathlib import Path

import pytest

from wavebyol_hear import __main__ as command
from wavebyol_hear import load_model
from wavebyol_hear.checkpoint import load_encoder


def facts(text: str) -> dict[str, str]:
    """Return the printed facts by name."""
    return {name: value.strip() for name, _, value in (x.partition(" ") for x in text.splitlines())}


def test_what_is_printed_of_the_shipped_weights_is_true_of_the_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.main(["info"]) == 0
    shown, model = facts(capsys.readouterr().out), load_model()
    encoder, provenance = load_encoder(Path(shown["file"]))
    count = sum(parameter.numel() for parameter in encoder.parameters())
    assert f"{count:,} parameters" in shown["network"]
    assert f"{model.scene_embedding_size:,} numbers per clip" in shown["embedding"]
    assert f"{model.timestamp_embedding_size:,} every 40 ms" in shown["embedding"]
    assert f"{provenance['crops']:,} pairs of crops" in shown["training"]
    assert shown["training"].startswith("InfoNCE")


def test_a_preset_a_file_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["info", "slim"]) == 0
    path = facts(capsys.readouterr().out)["file"]
    assert path.endswith("slim.safetensors")
    assert command.main(["info", path, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    encoder, provenance = load_encoder(path)
    assert printed == {"config": encoder.config.to_dict(), "provenance": provenance}


def test_a_classifier_names_its_classes_and_other_files_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from wavebyol_hear.classify.model import save_classifier
    from wavebyol_hear.head import Head

    model = load_model(preset="slim", whiten=False)
    options = {"pooling": None, "whiten": False, "dims": None, "normalize": False}
    weight = torch.zeros(2, model.scene_embedding_size)
    head = Head(weight, torch.zeros(2), ("cat", "dog"), multilabel=False, read_out=options)
    save_classifier(tmp_path / "mine", model, head, {})
    assert command.main(["info", str(tmp_path / "mine")]) == 0
    assert facts(capsys.readouterr().out)["classes"] == "cat, dog"
    (tmp_path / "other").write_bytes(b"no weights")
    assert command.main(["info", str(tmp_path / "other")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
