"""One run a folder, and a disk that is full."""

import resource
import signal
import subprocess
import sys

import pytest
import torch

from pretrain.config import read_config
from pretrain.run_folder import FILE, only_run
from pretrain.state import StateError, save_state

HOLD = """
import sys, time
from pathlib import Path
from pretrain.run_folder import only_run
with only_run(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_refused_until_the_first_is_gone(tmp_path):
    folder = tmp_path / "run"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StateError, match="another run is training there"), only_run(folder):
            pass
    finally:
        holder.kill()
        holder.wait()
    with only_run(folder):
        assert (folder / FILE).is_file()


def test_a_full_disk_is_one_line_and_keeps_the_state_before(tmp_path):
    network = torch.nn.Linear(300, 300)
    optimizer = torch.optim.SGD(network.parameters())
    path = tmp_path / "state.pt"
    given = {"config": read_config("tiny", None, []), "data": "0"}
    save_state(path, 1, network, optimizer, **given)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(StateError, match=r"state\.pt cannot be written at step 2") as caught:
            save_state(path, 2, network, optimizer, **given)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["state.pt"]
