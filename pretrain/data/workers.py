"""Pools of workers that never see an interrupt and do not outlive their command."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from multiprocessing.process import BaseProcess


@contextmanager
def blocked_signals() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back; processes started meanwhile never see them.

    They would cut the reading of a clip short; their parent kills them when it is stopped.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def stopping(pool: Executor) -> Iterator[None]:
    """Shut a pool down at the end of a block.

    Where the block is left by an error or an interrupt, processes are killed and threads not waited
    for; what they have done is kept.
    """
    try:
        yield
    except BaseException:
        for process in multiprocessing.active_children():
            process.kill()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def die_with_parent() -> None:
    """Let this process, which `multiprocessing` has started, end when its parent does.

    An orphan would write beside its heir.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent,), daemon=True).start()


def _die_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
