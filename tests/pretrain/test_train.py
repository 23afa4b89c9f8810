"""The loop: killed and gone on it is the same run, bit for bit; what comes out loads."""

import dataclasses
import subprocess
import sys
import time

import pytest
import torch

from pretrain.config import read_config
from pretrain.data.store import Store
from pretrain.state import StateError
from pretrain.train import DivergedError, train

SHORT = [
    "encoder.widths=4 P 8 P",
    "encoder.crop_samples=4096",
    "optim.batch=8",
    "optim.warmup=2",
    "byol.projector=[16, 8]",
    "byol.predictor=16",
    "run.log_every=2",
]
CPU = torch.device("cpu")


def command(store, out, *sets):
    words = [sys.executable, "-m", "pretrain", store, "--out", out, "--preset", "tiny"]
    return [*words, *(word for each in sets for word in ("--set", each))]


def config(steps, *more):
    return read_config("tiny", None, [*SHORT, f"optim.steps={steps}", *more])


def weights_of(path):
    from wavebyol_hear.checkpoint import load_encoder

    return load_encoder(path)[0].state_dict()


@pytest.mark.parametrize("loss", ["byol", "infonce"])
def test_steps_kill_resume_steps_equal_steps_in_one_go(store, tmp_path, loss):
    clips = Store.open(store)
    tau = ("byol.tau=0.99", "byol.tau_final=0.99")
    setting = ("optim.schedule=constant", f"byol.loss={loss}", *tau)
    whole = train(config(8, *setting), clips, tmp_path / "whole", CPU)
    train(config(4, *setting), clips, tmp_path / "parts", CPU)
    torch.rand(17)  # the resumed process is in another place of the global generator
    parts = train(config(8, *setting), clips, tmp_path / "parts", CPU)
    for (name, one), two in zip(weights_of(whole).items(), weights_of(parts).values(), strict=True):
        assert torch.equal(one, two), name


def test_a_killed_command_goes_on_from_its_state(store, tmp_path):
    words = command(store, tmp_path, "run.save_minutes=0.001", "optim.steps=30", *SHORT)
    running = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    for _ in range(600):
        if (tmp_path / "state.pt").exists() or running.poll() is not None:
            break
        time.sleep(0.05)
    running.kill()
    running.wait()
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "weights.safetensors" in done.stdout
    from wavebyol_hear.checkpoint import load_encoder

    _, provenance = load_encoder(tmp_path / "weights.safetensors")
    assert (provenance["steps"], provenance["data_clips"]) == (30, 24)


def test_another_setting_or_store_refuses_the_state(store, tmp_path):
    clips = Store.open(store)
    train(config(2), clips, tmp_path, CPU)
    with pytest.raises(StateError, match=r"has optim\.lr = "):
        train(config(4, "optim.lr=0.5"), clips, tmp_path, CPU)
    with pytest.raises(StateError, match=r"is at step 2, past optim\.steps = 1"):
        train(config(1), clips, tmp_path, CPU)
    with pytest.raises(StateError, match="another store"):
        train(config(4), dataclasses.replace(clips, hash="0"), tmp_path, CPU)
    (tmp_path / "state.pt").write_bytes(b"torn")
    with pytest.raises(StateError, match=r"state\.pt cannot be read"):
        train(config(4), clips, tmp_path, CPU)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_state(store, tmp_path):
    clips = Store.open(store)
    setting = ("optim.schedule=constant", "optim.name=adamw")
    train(config(4, *setting), clips, tmp_path, CPU)
    kept = (tmp_path / "state.pt").read_bytes()
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    state["network"]["online.projector.0.weight"].fill_(float("nan"))
    torch.save(state, tmp_path / "state.pt")
    broken = (tmp_path / "state.pt").read_bytes()
    assert broken != kept
    with pytest.raises(DivergedError, match="nan at step 6"):
        train(config(8, *setting), clips, tmp_path, CPU)
    assert (tmp_path / "state.pt").read_bytes() == broken


def test_a_store_smaller_than_the_batch_is_one_line(store, tmp_path):
    words = command(store, tmp_path, "optim.batch=64")
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1
    assert "24 clips, fewer than a batch of 64" in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" not in done.stderr


def test_a_filter_bank_that_leaks_is_held_and_stays_so(store, tmp_path, monkeypatch):
    """Filters as after the step that showed the leak, also when resumed; the rest learns."""
    clips = Store.open(store)

    def run(steps, out):
        shares = "views.sample={everyday: 0, speech: 0, music: 0}"
        length = f"optim.steps={steps}"
        sets = [*SHORT, shares, "optim.schedule=constant", "optim.batch=4", length]
        return weights_of(train(read_config("slim_bank", None, sets), clips, tmp_path / out, CPU))

    monkeypatch.setattr("pretrain.train.filter_bank", lambda *_: {"bank/leak": 0.2})
    shown = run(2, "shown")
    run(4, "held")
    monkeypatch.setattr("pretrain.train.filter_bank", lambda *_: {"bank/leak": 0.0})
    held, free = run(6, "held"), run(6, "free")
    for name in ("front_end.taps", "front_end.averaging"):
        assert torch.equal(held[name], shown[name])
        assert not torch.equal(free[name], shown[name])
    assert not torch.equal(held["features.0.weight"], shown["features.0.weight"])
    assert not torch.equal(held["front_end.norm.weight"], shown["front_end.norm.weight"])
