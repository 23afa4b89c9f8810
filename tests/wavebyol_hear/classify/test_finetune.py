"""Encoder and head trained together."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.wavebyol_hear.classify.conftest import sound
from wavebyol_hear import __main__ as command
from wavebyol_hear import load_model
from wavebyol_hear.classify.finetune import finetune
from wavebyol_hear.classify.model import Classifier
from wavebyol_hear.head import Head


def test_it_learns_what_the_head_alone_does_not_know() -> None:
    model = load_model(preset="slim", pooling="global", precision="fp32")
    before = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    weight = torch.zeros(2, model.scene_embedding_size)
    head = Head(weight, torch.zeros(2), ("high", "low"), multilabel=False, read_out={})
    waves = [
        torch.from_numpy(sound(("high", "low")[i % 2], i, 0.2 + 0.02 * i)).float()
        for i in range(16)
    ]
    targets = np.eye(2, dtype=bool)[np.arange(16) % 2]
    finetune(model, head, waves, targets, epochs=6)
    for i, wave in enumerate(waves):
        with torch.no_grad():
            assert int(head(model(wave[None])).argmax()) == i % 2
    changed = {
        name for name, value in model.encoder.state_dict().items() if not value.equal(before[name])
    }
    assert "features.0.weight" in changed
    assert not any("running" in name for name in changed)
    assert not any(value.requires_grad for value in model.encoder.parameters())


def test_the_command_saves_the_trained_encoder(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine"
    spec = ["--model", "wavebyol_hear?preset=slim&pooling=global"]
    assert command.main(["train", str(folders), "--out", str(out), "--finetune", "1", *spec]) == 0
    text = capsys.readouterr().out
    assert "fine-tuned for 1 epochs: accuracy on fold1 (not trained on) 100.0 %, without" in text
    model = load_model(str(out))
    assert isinstance(model, Classifier)
    plain = load_model(preset="slim").encoder.state_dict()["features.0.weight"]
    assert not model.encoder.state_dict()["features.0.weight"].equal(plain)
    assert next(iter(model.predict(sound("noise", 70), 16_000))) == "noise"
    assert command.main(["train", str(folders), "--out", str(out), "--finetune", "-1"]) == 2
    assert "give epochs, 1 or more" in capsys.readouterr().err
