"""Running a command in a child process, which is restarted if a model terminates it.

After `os._exit`, a crash of native code or a kill by the system when memory runs out, Python cannot
handle the error. The child therefore logs what it starts and finishes. If it dies, the work in
progress is recorded as a failure, and another child does the rest. The parent forks before large
imports, and only waits.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from typing import NoReturn

from wavebyol_hear.files.command import KEPT, SIGNALS, run_command
from wavebyol_hear.files.interrupt import set_handlers

Key = tuple[str, str, str]
"""Task, model and protocol, as `benchmark.results.schema.ResultKey`."""
PR_SET_PDEATHSIG = 1


class Journal:
    """The work that a command has started and finished, in an unnamed file that outlives it."""

    def __init__(self) -> None:
        self.failures: dict[Key, str] = {}  #: why results are missing
        self.results: list[str] = []  #: names of result files
        self.under_way: list[Key] = []  #: work in progress
        self.code: int | None = None  #: exit code of the command; None if it was terminated
        self.file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115

    def note(self, **entry: object) -> None:
        """Log the work in progress, pairs of key and failure, result files, or the exit code."""
        with contextlib.suppress(OSError):  # such as a full disk
            self.file.write(json.dumps(entry).encode() + b"\n")

    def read(self) -> None:
        """Read the entries of a child."""
        self.file.seek(0)
        for line in self.file.read().splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                self.under_way = [tuple(key) for key in entry.get("under_way", self.under_way)]
                self.failures |= {tuple(key): why for key, why in entry.get("failures", ())}
                self.results += entry.get("results", ())
                self.code = entry.get("code", self.code)
        self.file.truncate(0)
        self.file.seek(0)


def supervise(main: Callable[[Journal], int], kept: str = KEPT) -> NoReturn:
    """Run a command as `run_command` does, but in a child process that is restarted if it dies.

    `main` does the work that its journal does not contain yet, and returns the exit code.
    """
    journal = Journal()

    def child() -> int:
        code = 1
        try:
            code = main(journal)
            return code
        finally:  # on SystemExit and interrupts, too
            journal.note(code=code)

    if not hasattr(os, "fork"):
        run_command(child, kept)
    while True:
        asked, status = _fork(lambda: run_command(child, kept))
        journal.read()
        if asked:
            os._exit(128 + asked[0])
        if journal.code is not None:
            os._exit(status if status >= 0 else journal.code)
        reason = _reason(status)
        if not journal.under_way:
            sys.stderr.write(f"error: {reason}\n")
            sys.exit(1)
        journal.failures |= dict.fromkeys(journal.under_way, reason)
        journal.under_way = []


def _fork(child: Callable[[], NoReturn]) -> tuple[list[int], int]:
    """Run a function in a child; return the signals that were passed on and the exit code."""
    asked: list[int] = []
    parent = os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    pid = os.fork()
    if pid == 0:
        if sys.platform == "linux":  # no child outlives a parent that is killed
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        child()

    def pass_on(number: int, frame: object) -> None:
        asked.append(number)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    handlers = set_handlers(dict.fromkeys(SIGNALS, pass_on))
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    set_handlers(handlers)
    return asked, status


def _reason(status: int) -> str:
    """Return why a child is dead."""
    if status >= 0:
        return f"the process ended itself with exit code {status} while this was under way"
    why = " (as the system does when memory runs out)" if -status == signal.SIGKILL else ""
    return f"{signal.Signals(-status).name} ended the process{why} while this was under way"
