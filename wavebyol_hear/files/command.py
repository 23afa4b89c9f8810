"""How every command of ours meets its terminal: interrupts, closed pipes, terminals of ASCII.

A command's module begins and ends with

    if __name__ == "__main__":  # before imports that take seconds
        from wavebyol_hear.files.command import run_command, start_command

        start_command()
    ...
    if __name__ == "__main__":
        run_command(main)
"""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from wavebyol_hear.files.interrupt import Terminated, interrupted, set_handlers
from wavebyol_hear.files.threads import choose_threads

KEPT = "finished work is kept; the same command resumes"
SIGNALS = (signal.SIGINT, signal.SIGTERM)
INSIST_SECONDS = 0.5

_process = os.getpid()


def start_command() -> None:
    """Let Ctrl-C and SIGTERM end a command that is still importing, with one line and no traceback.

    Threads are chosen, too, before torch is imported; see `choose_threads`. Nothing is under way
    yet that would have to be saved, so the process ends on the spot.
    """
    choose_threads()
    set_handlers(dict.fromkeys(SIGNALS, _quit))


def run_command(main: Callable[[], int], kept: str = KEPT) -> NoReturn:
    """Run the main function of a command and end the process with its exit code.

    Ctrl-C and SIGTERM unwind the command, which saves what it has, and end it with one line and 130
    or 143. A reader that goes away, as `head` does, ends it silently. Characters that a terminal
    does not know are replaced.

    Args:
        main: returns the exit code. A message of the KeyboardInterrupt that it raises is said in
            place of `kept`.
        kept: what the line on an interrupt says besides.
    """
    global _process
    _process = os.getpid()
    choose_threads()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        set_handlers(dict.fromkeys(SIGNALS, _unwind))
        code = main()
        sys.stdout.flush()
        set_handlers(dict.fromkeys(SIGNALS, signal.SIG_DFL))
    except BrokenPipeError:
        # What is still in the buffer has no reader: Python would complain at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + signal.SIGPIPE
    except KeyboardInterrupt as error:
        set_handlers(dict.fromkeys(SIGNALS, signal.SIG_IGN))
        if sys.platform != "win32":
            signal.setitimer(signal.ITIMER_REAL, 0)
        with contextlib.suppress(OSError):
            sys.stderr.write(f"\ninterrupted: {str(error) or kept}\n")
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        code = 128 + (signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT)
        # All is saved: threads that still decode are not waited for. Where there were processes,
        # Python has semaphores to clean up.
        tracker = sys.modules.get("multiprocessing.resource_tracker")
        if tracker is None or tracker._resource_tracker._pid is None:
            os._exit(code)
    sys.exit(code)


def manual_parser(module: str, manual: str | None) -> argparse.ArgumentParser:
    """Return the parser of a command `python -m MODULE`, with the module's docstring as its help.

    The first paragraph stands before the options, and the rest after them, as it is written.
    """
    summary, _, rest = (manual or "").partition("\n\n")
    return argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=summary,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def printable(text: str) -> str:
    r"""Return a text that a terminal shows as it is: control characters are written as `\x1b`.

    Example:
        >>> printable("a\x1b[31m\n.wav")
        'a\\x1b[31m\\n.wav'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def readable(name: str) -> str:
    r"""Return a file name as UTF-8 can hold it: bytes that are none are written as `\xff`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _quit(number: int, frame: FrameType | None) -> NoReturn:
    """End the process on the spot."""
    set_handlers(dict.fromkeys(SIGNALS, signal.SIG_IGN))
    with contextlib.suppress(OSError):
        os.write(2, b"\ninterrupted while importing\n")
    os._exit(128 + number)


def _unwind(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt or Terminated; end the process where an import is under way.

    Exceptions vanish in some imports (torch's of NumPy), in callbacks from C and in `except:` of
    foreign code: while none is being handled, it is raised again.
    """
    if os.getpid() != _process:  # a forked child, whose parent says the line
        os._exit(128 + number)
    if interrupted():  # cleaning up already
        return
    if _imports(frame):
        _quit(number, frame)
    error = Terminated if number == signal.SIGTERM else KeyboardInterrupt

    def insist(alarm: int, frame: FrameType | None) -> None:
        if not interrupted():
            raise error

    if sys.platform != "win32":
        signal.signal(signal.SIGALRM, insist)
        signal.setitimer(signal.ITIMER_REAL, INSIST_SECONDS, INSIST_SECONDS)
    raise error


def _imports(frame: FrameType | None) -> bool:
    """Return whether a module is being imported."""
    while frame is not None and frame.f_globals.get("__name__") != "importlib._bootstrap":
        frame = frame.f_back
    return frame is not None
