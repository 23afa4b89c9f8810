"""Ctrl-C and SIGTERM in loops that end the step that they are in first."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], object] | int | None


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised as Ctrl-C raises KeyboardInterrupt."""


def interrupted() -> bool:
    """Return whether an interrupt is being handled, as in a `finally` that it has led to."""
    error = sys.exception()
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


class StopRequest:
    """Whether a signal has asked a loop to stop: its number, or 0."""

    number = 0

    def error(self, message: str) -> KeyboardInterrupt:
        """Return what to raise once all is saved; `run_command` says the message."""
        return (Terminated if self.number == signal.SIGTERM else KeyboardInterrupt)(message)


@contextmanager
def deferred_signals() -> Iterator[StopRequest]:
    """Let a loop end the step that it is in when Ctrl-C or SIGTERM comes; a second one raises.

    The loop looks at the request between steps. Outside the main thread, where Python handles no
    signals, nothing comes.
    """
    request = StopRequest()

    def ask(number: int, frame: FrameType | None) -> None:
        if request.number:
            raise request.error("at once, what was done since the last save is lost")
        request.number = number

    before = set_handlers(dict.fromkeys((signal.SIGINT, signal.SIGTERM), ask))
    try:
        yield request
    finally:
        set_handlers(before)


def set_handlers(handlers: Mapping[signal.Signals, Handler]) -> dict[signal.Signals, Handler]:
    """Set signal handlers, in the main thread only, and return those before of what was set.

    A signal that is ignored stays so, as SIGINT in a job that a script has put in the background.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    ignored = signal.SIG_IGN, None  # None: set by no Python code
    chosen = {n: h for n, h in handlers.items() if signal.getsignal(n) not in ignored}
    return {number: signal.signal(number, handler) for number, handler in chosen.items()}
