"""The scene embeddings of all splits of a HEAR task as one array that is read from disk."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmark.data.hear_folder import HearTask
from benchmark.heareval.form import embedding_size


@contextmanager
def scene_rows(task: HearTask, folder: Path) -> Iterator[np.ndarray]:
    """Give the rows of all clips, in heareval's order, memory-mapped, for as long as the block.

    heareval keeps a file a split, and a probe's rows lie in several: FSD50K's 51,185 rows of 4,800
    numbers are a gigabyte, which goes from file to file and not through memory.

    Args:
        task: read and checked.
        folder: of its embeddings.

    Shape:
        float32 `[n, D]`.

    Raises:
        OSError: a file cannot be read or written.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        for split in task.clips:
            with (folder / f"{split}.embeddings.npy").open("rb") as part:
                shutil.copyfileobj(part, file, 1 << 22)
        file.flush()
        yield np.memmap(file, np.float32, "r", shape=(task.count, embedding_size(task, folder)))
