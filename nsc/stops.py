"""Signals that stop a process: each raises an exception, so that nothing is left half-written, or waits for a save."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Final

NAMES: Final = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
WAITS: Final = b"stopping as soon as all is saved; a second signal stops at once\n"


class Stopped(KeyboardInterrupt):
    """A signal asked the process to stop.

    number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__("interrupted" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}")
        self.number = number


@dataclass
class Stops:
    """The signals that a piece of work has met.

    asked: number of the last one, 0 for none.
    waits: whether the first one only sets `asked`: there is something to save, and `raise_asked` follows.
    """

    asked: int = 0
    waits: bool = False

    def raise_asked(self) -> None:
        """Raises Stopped where a signal has come."""
        self.waits = False
        if self.asked:
            raise Stopped(self.asked)

    def _meet(self, number: int) -> None:
        first, self.asked = not self.asked, number
        if not (self.waits and first):
            raise Stopped(number)
        with suppress(OSError):
            os.write(2, WAITS)  # a stream might be in the middle of a line


_met: Stops | None = None  # of the outermost `stops`, which all inner ones share


def raise_met() -> None:
    """Raises Stopped where a signal has come of whose exception native code may have made another.

    For what goes on after any exception. While a first signal waits for a save, nothing is raised.
    """
    if _met and not _met.waits:
        _met.raise_asked()


@contextmanager
def stops() -> Iterator[Stops]:
    """SIGINT, SIGTERM and SIGHUP raise Stopped in here; those that the parent process has ignored stay ignored.

    Outside of the main thread, where Python delivers no signals, nothing changes. Forked processes die of a signal.
    """
    global _met
    if _met:
        try:
            yield _met
        finally:
            _met.waits = False
        return
    met, before, owner = Stops(), {}, os.getpid()

    def handler(number: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:
            met._meet(number)
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    if threading.current_thread() is threading.main_thread():
        for number in (getattr(signal, name) for name in NAMES if hasattr(signal, name)):
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    _met = met
    try:
        yield met
    finally:
        _met = None
        for number, former in before.items():
            signal.signal(number, former)
