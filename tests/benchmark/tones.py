"""Twelve made-up clips of a task, and their embedding."""

from pathlib import Path
from typing import Any

import soundfile

from benchmark.data.clip import Clip, Source, Task
from benchmark.data.registry import TaskClips
from benchmark.embed.embed import EmbeddedTask, embed_task
from tests.synth import noisy_tone
from wavebyol_hear.files.hear_module import load

TASK = Task(
    name="tones",
    title="Tones",
    classes=("low", "high"),
    split_policy="folds",
    n_clips=12,
    clip_seconds=None,
    licence="none",
    citation="none",
    sources=(Source("http://example.org"),),
    layout="<name>.wav",
    index=lambda root: [],
)
COUNTED = """
import os
calls = 0

def count_call():
    global calls
    calls += 1
    if os.environ.get("STOP_AFTER") and calls > int(os.environ["STOP_AFTER"]):
        raise KeyboardInterrupt

"""
"""How the source of a module begins that is stopped after STOP_AFTER calls of its encoder."""
RANDOM = "baselines.content_random"


def write_tones(folder: Path) -> list[Clip]:
    """Twelve clips of four lengths and two rates in a new folder."""
    folder.mkdir()
    listed = []
    for i in range(12):
        rate = 16000 if i % 2 else 22050
        wave = noisy_tone((0.1, 0.15, 0.4, 0.1)[i % 4], i, rate)
        soundfile.write(folder / f"{i}.wav", wave, rate, subtype="PCM_16")
        label, split, group = TASK.classes[i % 2], f"fold{i % 3 + 1:02d}", f"g{i % 3}"
        listed.append(Clip(f"clip{i}", f"{i}.wav", label, split, group))
    return listed


def run(tmp_path: Path, clips: list[Clip], spec: str = RANDOM, **options: Any) -> EmbeddedTask:
    """Embed the clips of tmp_path / "tones"."""
    defaults: dict[str, Any] = {"cache_dir": tmp_path / "cache", "workers": 0, "batch_seconds": 0.3}
    source = TaskClips(TASK, clips, tmp_path / "tones")
    return embed_task(source, load(spec), **(defaults | options))
