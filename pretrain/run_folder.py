"""A run's folder belongs to one run at a time."""

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pretrain.distributed import rank
from pretrain.state import StateError

FILE = "run.lock"

log = logging.getLogger(__name__)


@contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Hold a run's folder, made if absent: of two runs each would undo the other's state.

    The system lets go however the process ends, so a killed run needs no clearing up. Of several
    processes of one run the first holds it.

    Args:
        folder: of the run, `--out`.

    Raises:
        StateError: another run holds the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if rank() != 0:
        yield
        return
    with (folder / FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StateError(
                f"{folder}: another run is training there; wait for it or choose another --out"
            ) from error
        except OSError as error:
            log.warning("%s: cannot be locked (%s): see that no other run uses it", folder, error)
        yield
