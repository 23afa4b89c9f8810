"""Ctrl-C and SIGTERM: what is done is kept, one line is said, and the exit code is the signal's."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], object] | int | None


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised as Ctrl-C raises KeyboardInterrupt."""


def run_command(main: Callable[[], int], remedy: str) -> int:
    """Run a command; SIGTERM or Ctrl-C ends it with one line in place of a traceback.

    Args:
        main: returns the exit code.
        remedy: end of the line "stopped; REMEDY", such as "the same command goes on".

    Returns:
        The exit code: 130 after Ctrl-C, 143 after SIGTERM.
    """
    with _handlers({signal.SIGTERM: _terminate}):
        try:
            return main()
        except KeyboardInterrupt as error:
            with _handlers(dict.fromkeys((signal.SIGINT, signal.SIGTERM), signal.SIG_IGN)):
                sys.stderr.write(f"\nstopped; {str(error) or remedy}\n")
            return 143 if isinstance(error, Terminated) else 130


class StopRequest:
    """Whether a signal has asked a loop to stop: its number, or 0."""

    number = 0

    def error(self, message: str) -> KeyboardInterrupt:
        """Return what to raise once all is saved; `run_command` says the message."""
        return (Terminated if self.number == signal.SIGTERM else KeyboardInterrupt)(message)


@contextmanager
def deferred_signals() -> Iterator[StopRequest]:
    """Let a loop end the step that it is in when Ctrl-C or SIGTERM comes; a second one raises.

    Outside the main thread, where Python handles no signals, it does nothing.

    Yields:
        The request, which the loop looks at between steps.
    """
    request = StopRequest()

    def ask(number: int, frame: FrameType | None) -> None:
        if request.number:
            raise request.error("at once, what was done since the last save is lost")
        request.number = number

    asked = [s for s in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) != signal.SIG_IGN]
    with _handlers(dict.fromkeys(asked, ask)):
        yield request


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


@contextmanager
def _handlers(handlers: dict[signal.Signals, Handler]) -> Iterator[None]:
    """Set signal handlers, in the main thread only, and put the old ones back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
