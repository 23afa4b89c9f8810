"""Where weights come from: the record that travels in their file's header."""

import subprocess
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from pretrain.config import Config
from pretrain.data.store import Store


def git_revision() -> str:
    """Return this checkout's commit, `+` behind it where files differ; `unknown` outside git."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        run = subprocess.run(
            ["git", *words], cwd=here, capture_output=True, text=True, check=True
        )
        return run.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def provenance(config: Config, store: Store, steps: int) -> dict[str, Any]:
    """Return the record of a run: configuration, data, length, code and machine.

    Args:
        config: of the run.
        store: its data.
        steps: steps done.
    """
    return {
        "config": config.to_dict(),
        "steps": steps,
        "crops": steps * config.optim.batch,
        "data_hash": store.hash,
        "data_clips": len(store.starts),
        "data_hours": round(float(store.lengths.sum()) / 16_000 / 3600, 2),
        "data_kinds": dict(Counter(store.kinds)),
        "git_revision": git_revision(),
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }
