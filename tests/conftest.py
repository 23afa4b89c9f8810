"""Fixtures that every test may use: the small synthetic corpus, and one thread."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as of commands: nothing spins beside others
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the networks of tests are too small for more

import numpy as np
import pytest
import soundfile
import torch

torch.set_num_threads(1)

ROOT = Path(__file__).parents[1]
# Child processes import this checkout's packages, from whichever folder they run in.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(
    ":"
)

CORPUS = Path(__file__).parent / "data"
"""Checked in: `esc50`, made by `make_corpus.py`."""


def decode_corpus(folder: Path) -> Path:
    """Lay sixty synthetic clips out as ESC-50 is published, decoded to WAV: `folder`/esc50."""
    root = folder / "esc50"
    shutil.copytree(CORPUS / "esc50", root)
    for path in sorted(root.rglob("*.ogg")):
        wave, rate = soundfile.read(path, dtype="int16")
        soundfile.write(path.with_suffix(".wav"), wave, rate, subtype="PCM_16")
        path.unlink()
    return root


@pytest.fixture(scope="session")
def esc50_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus in a data directory: `<data dir>/esc50`."""
    return decode_corpus(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def esc50_clips(esc50_root: Path) -> torch.Tensor:
    """Sixty clips of everyday sounds, [60, 16000] at 16 kHz."""
    waves = [soundfile.read(path, dtype="float32")[0] for path in sorted(esc50_root.rglob("*.wav"))]
    return torch.from_numpy(np.stack(waves))


@pytest.fixture(scope="session")
def ray_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose modules the workers of `ray_cluster` can import."""
    return tmp_path_factory.mktemp("modules")


@pytest.fixture(scope="session")
def ray_cluster(ray_modules: Path) -> Iterator[str]:
    """The address of a Ray cluster of two nodes of one core each on this machine."""
    ray_utils = pytest.importorskip("ray.cluster_utils")
    from wavebyol_hear.files.embed_ray import QUIET

    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUIET.items():
            patch.setenv(name, value)
        patch.setenv("PYTHONPATH", f"{ROOT}:{ray_modules}")
        node = {"num_cpus": 1, "include_dashboard": False}
        cluster = ray_utils.Cluster(initialize_head=True, head_node_args=node)
        cluster.add_node(num_cpus=1)
        yield str(cluster.address)
        cluster.shutdown()
