"""What one clip more costs in memory: counted by Python, so the same on a busy machine."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmark.data.clip import Clip
from benchmark.data.registry import TaskClips
from benchmark.embed.embed import embed_task
from tests.benchmark.tones import RANDOM, TASK
from wavebyol_hear.files.hear_module import load
from wavebyol_hear.files.read_ahead import plan_batches

COUNT = 2_000


def per_clip(work: Callable[[], object]) -> tuple[float, float]:
    """Return the bytes a clip that a call takes at its peak, and those that its result keeps."""
    tracemalloc.start()
    try:
        result = work()
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    del result
    return peak / COUNT, kept / COUNT


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    """Clips of one file under many names."""
    root = tmp_path / "sound"
    root.mkdir()
    names = [f"{number}.wav" for number in range(COUNT)]
    soundfile.write(root / names[0], np.full(160, 0.1), 16000)
    for name in names[1:]:
        (root / name).hardlink_to(root / names[0])
    return [Clip(name, name, "low", f"fold{row % 3}", name) for row, name in enumerate(names)]


def test_a_task_s_embeddings_keep_no_strings_of_their_own(
    tmp_path: Path, clips: list[Clip]
) -> None:
    model, root = load(RANDOM), tmp_path / "sound"

    def embed(count: int = COUNT) -> object:
        cache = tmp_path / str(count)
        source = TaskClips(TASK, clips[:count], root)
        return embed_task(source, model, cache_dir=cache, workers=0, batch_seconds=0.1)

    embed(9)  # starts what does not grow
    for _, kept in (per_clip(embed), per_clip(embed)):
        assert kept < 100  # 50 and up to 32 of coverage's own; a string per clip takes 60 more


def test_a_batch_is_planned_when_it_is_read() -> None:
    lengths = np.random.default_rng(0).permutation(COUNT)

    def begin() -> object:
        plan = plan_batches(lengths, lengths, 9)
        return plan, next(plan)

    assert per_clip(begin)[1] < 40  # rows and lengths as sorted; a list of all batches takes 60
