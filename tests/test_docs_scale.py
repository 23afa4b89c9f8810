"""The commands of docs/scale.md run, on tiny data and with two processes where it has more."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from tests.pretrain.synthetic_sources import sound, wav, write_tar

pq = pytest.importorskip("pyarrow.parquet")

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "scale.md"
BLOCK = re.compile(r"^```bash\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)  # but for `no-run`
TINY = """
encoder: {widths: "4 P 8 P", crop_samples: 4096}
byol: {projector: [16, 8], predictor: 16}
optim: {steps: 2, warmup: 1, batch: 4}
stream: {held_shards: 1}
"""
# What a cluster has, as far as these commands use it
PROGRAMS = {
    "torchrun": 'exec python -m torch.distributed.run --local-addr 127.0.0.1 "$@"',
    "wavebyol": 'exec python -m wavebyol_hear "$@"',
    "srun": 'exec "$@"',
    "scontrol": "echo 127.0.0.1",
    "sbatch": "for SLURM_ARRAY_TASK_ID in 0 1; do\n"
    "export SLURM_ARRAY_TASK_ID SLURM_ARRAY_TASK_COUNT=2; bash $1 || exit 1\ndone",
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder with shards, what the page's clusters have, and settings of a tiny run."""
    for folder in ("shards", "data", "programs"):
        (tmp_path / folder).mkdir()
    for number in range(2):
        waves = {f"{number}-{i}.wav": wav(sound(10 * number + i, 6000)) for i in range(6)}
        for folder in ("shards", "data"):
            write_tar(tmp_path / folder / f"{number:04}.tar", waves)
    for name, script in PROGRAMS.items():
        (tmp_path / "programs" / name).write_text(f"#!/bin/bash\n{script}\n")
        (tmp_path / "programs" / name).chmod(0o755)
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


def smaller(command: str, home: Path) -> str:
    """Return a command of the page for this machine: its data, two processes, a tiny network."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for pattern, ours in (
        (r"--nnodes \w+", "--nnodes 1"),
        (r"--nnodes \$SLURM_NNODES", "--nnodes 1"),
        (r"--nproc-per-node 8", "--nproc-per-node 2"),
        (r"HOST", "127.0.0.1"),
        (r"29500", str(port)),
        (r"s3://bucket", str(home)),
        (r"/data\b", str(home / "data")),
        (r"\{0000\.\.4095\}", "{0000..0001}"),
        (r"/(8|100)\b", "/2"),
        (r"file_groups=32", "file_groups=2"),
        (r"-m pretrain ", f"-m pretrain --preset tiny --config {home}/tiny.yaml "),
    ):
        command = re.sub(pattern, ours, command)
    return command


def run(command: str, folder: Path, home: Path, **variables: str) -> None:
    """Run a line in an empty folder, as the shell would."""
    folder.mkdir()
    paths = [str(home / "programs"), str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = {
        **os.environ,
        "HOME": str(home),
        "PATH": os.pathsep.join(paths),
        "PYTHONPATH": str(ROOT),
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
        "SLURM_JOB_ID": "7",
        **variables,
    }
    done = subprocess.run(
        ["bash", "-ec", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def test_the_pages_commands_run(home: Path) -> None:
    blocks = "".join(BLOCK.findall(PAGE.read_text(encoding="utf-8")))
    lines = [line for line in blocks.replace("\\\n", " ").splitlines() if line.strip()]
    build = next(line for line in lines if "pretrain.store" in line)
    lines.remove(build)
    for part in range(2):
        run(smaller(build, home), home / f"build-{part}", home, i=str(part))
    (home / "store").symlink_to(home / "store-0")  # the page's store, of six clips
    ran = {"pretrain": 0, "embed": 0}
    for number, line in enumerate(lines):
        folder = home / f"line-{number}"
        if "-m pretrain" in line:
            run(smaller(line, home), folder, home)
            assert torch.load(folder / "runs/h2/state.pt", weights_only=True)["step"] == 2
            with safe_open(folder / "runs/h2/weights.safetensors", "pt") as weights:
                assert weights.keys()
            ran["pretrain"] += 1
        else:
            indexed = {"JOB_COMPLETION_INDEX": "0"} if "indexed job" in line else {}
            out = home / f"embedded-{number}"
            command = smaller(line, home).replace(f"{home}/data/embedded", str(out))
            run(command, folder, home, **indexed)
            rows = sum(pq.read_metadata(path).num_rows for path in out.rglob("*.parquet"))
            assert rows == (6 if indexed else 12), line
            ran["embed"] += 1
    assert ran == {"pretrain": 7, "embed": 3}
