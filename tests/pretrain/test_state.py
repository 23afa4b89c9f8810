"""The training state: a disk that is full, files that are damaged, and whose commit is ours."""

import resource
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from pretrain.config import read_config
from pretrain.state import StateError, load_state, save_state
from wavebyol_hear.files.provenance import git_revision


def saved(folder: Path, size: int) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """Write the state of a layer after one step; return the file, its parts and the settings."""
    network = torch.nn.Linear(size, size)
    parts: dict[str, Any] = {"network": network}
    parts["optimizer"] = torch.optim.SGD(network.parameters())
    settings: dict[str, Any] = {"config": read_config("tiny"), "data": "0"}
    save_state(folder / "state.pt", 1, parts, **settings)
    return folder / "state.pt", parts, settings


def test_a_full_disk_is_one_line_and_keeps_the_state_before(tmp_path):
    path, parts, settings = saved(tmp_path, 300)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(StateError, match=r"state\.pt cannot be written at step 2") as caught:
            save_state(path, 2, parts, **settings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("network"), "lacks network: remove it"),
        (lambda state: state.update(step="3"), "lacks step: remove it"),
        (lambda state: state.update(format="other"), "is not a wavebyol-state"),
        (lambda state: state["network"].pop("bias"), "does not fit the run .*bias"),
        (lambda state: state["optimizer"].pop("param_groups"), "does not fit the run"),
        (lambda state: state["config"]["optim"].update(lr=7), "has optim.lr = 7, this run"),
    ],
)
def test_a_damaged_state_is_one_line(tmp_path, change, message):
    path, parts, settings = saved(tmp_path, 3)
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)
    with pytest.raises(StateError, match=message) as caught:
        load_state(path, parts, **settings)
    assert "\n" not in str(caught.value)


def test_a_changed_byte_of_a_tensor_is_one_line(tmp_path):
    path, parts, settings = saved(tmp_path, 64)
    content = bytearray(path.read_bytes())
    content[content.index(parts["network"].weight.detach().numpy().tobytes()) + 99] ^= 1
    path.write_bytes(content)
    with pytest.raises(StateError, match="wrong checksum") as caught:
        load_state(path, parts, **settings)
    assert "\n" not in str(caught.value)


def test_settings_that_came_later_or_went_are_as_if_they_did_nothing(tmp_path):
    path, parts, settings = saved(tmp_path, 3)
    state = torch.load(path, weights_only=True)
    del state["config"]["delores"], state["config"]["views"]["file_groups"]
    augment = state["config"]["views"]["augment"]
    augment |= {"noise_last": True, "gain": {"probability": 0.0, "decibels": (-12.0, 12.0)}}
    torch.save(state, path)
    assert load_state(path, parts, **settings) == 1
    augment["gain"]["probability"] = 0.5
    torch.save(state, path)
    with pytest.raises(StateError, match=r"has views\.augment\.gain\.probability = 0\.5, this"):
        load_state(path, parts, **settings)


def test_a_file_of_code_is_refused_without_advice_to_run_it(tmp_path):
    path = tmp_path / "state.pt"
    torch.save({"format": subprocess.Popen}, path)
    network = torch.nn.Linear(3, 3)
    optimizer = torch.optim.SGD(network.parameters())
    with pytest.raises(StateError, match="is not a file of plain tensors") as caught:
        load_state(
            path, {"network": network, "optimizer": optimizer}, config=read_config("tiny"), data="0"
        )
    assert "weights_only" not in str(caught.value)


def test_the_state_comes_back_whole(tmp_path):
    """Network, optimizer with its moments and steps, and the number of steps done."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {"config": read_config("tiny"), "data": "0"}
    network = torch.nn.Linear(3, 3)
    optimizer = torch.optim.AdamW(network.parameters(), 0.1)
    for _ in range(3):
        network(torch.randn(4, 3)).square().mean().backward()
        optimizer.step()
    save_state(tmp_path / "state.pt", 3, {"network": network, "optimizer": optimizer}, **settings)
    other = torch.nn.Linear(3, 3)
    other_optimizer = torch.optim.AdamW(other.parameters(), 0.5)
    assert (
        load_state(
            tmp_path / "state.pt", {"network": other, "optimizer": other_optimizer}, **settings
        )
        == 3
    )
    torch.testing.assert_close(other.state_dict(), network.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(other_optimizer.state_dict(), optimizer.state_dict(), rtol=0, atol=0)


def test_a_strangers_repository_is_not_taken_for_ours(tmp_path):
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@x"]
    subprocess.run([*git, "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], cwd=tmp_path, check=True)
    (tmp_path / "installed.py").touch()
    assert git_revision(tmp_path / "installed.py") == "unknown"
    subprocess.run([*git, "add", "installed.py"], cwd=tmp_path, check=True)
    subprocess.run([*git, "commit", "-q", "-m", "y"], cwd=tmp_path, check=True)
    git_revision.cache_clear()
    assert len(git_revision(tmp_path / "installed.py")) == 40
