"""How every command of ours meets its terminal: interrupts, closed pipes, terminals of ASCII."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

KEPT = "what is done is kept; the same command goes on from there"


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does."""


def run_command(main: Callable[[], int], kept: str = KEPT) -> NoReturn:
    """Run the main function of a command and end the process with its exit code.

    Ctrl-C and SIGTERM unwind the command, which saves what it has, and end it with one line and 130
    or 143. A reader that goes away, as `head` does, ends it silently. Characters that a terminal
    does not know are replaced.

    Args:
        main: returns the exit code.
        kept: what the line on an interrupt says besides.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still in the buffer has no reader: Python would complain at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + signal.SIGPIPE
    except KeyboardInterrupt as error:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"\ninterrupted: {kept}\n")
        code = 128 + (signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT)
    sys.exit(code)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    """Raise Terminated."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the second one does not wait
    raise Terminated
