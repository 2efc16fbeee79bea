"""Where a call's speech comes from and goes to: files, or microphone and loudspeaker where sounddevice is installed."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

import numpy as np

from nsc.coding.interface import Signal
from nsc.constants import SAMPLE_RATE
from nsc.errors import UserError

BLOCK: Final = SAMPLE_RATE // 50  # samples of 20 ms
MOST_WAITING: Final = 50  # blocks of a microphone that nobody has taken yet
LAST_BLOCKS: Final = 0.1  # seconds that a device may still be playing
INSTALL: Final = "pip install 'neural-speech-coding[call]'"


class Source(Protocol):
    """Speech of a call.

    endless: it has no end of its own.
    """

    endless: bool

    def read(self) -> Signal | None:
        """The samples [n] that have come by now, perhaps none; None at the end."""
        ...


class PacedFile:
    """A recording, at the pace of the clock from the first reading on."""

    endless = False

    def __init__(self, blocks: Iterable[Signal], clock: Callable[[], float] = time.monotonic) -> None:
        self._blocks, self._clock = iter(blocks), clock
        self._begun: float | None = None
        self._given = 0
        self._left = np.zeros(0, np.float32)

    def read(self) -> Signal | None:
        now = self._clock()
        self._begun = now if self._begun is None else self._begun
        wanted = round((now - self._begun) * SAMPLE_RATE) - self._given
        while len(self._left) < wanted:
            block = next(self._blocks, None)
            if block is None:
                wanted = len(self._left)
                if not wanted:
                    return None
            else:
                self._left = np.concatenate([self._left, block])
        found, self._left = self._left[:wanted], self._left[wanted:]
        self._given += wanted
        return found


class Microphone:
    """The system's microphone, as sounddevice has it."""

    endless = True

    def __init__(self, device: Any) -> None:
        """Begins to record with the module `sounddevice`."""
        self._blocks: queue.Queue[Signal] = queue.Queue(MOST_WAITING)
        self._stream = _started(device, device.InputStream, self._take)

    def close(self) -> None:
        """Ends recording."""
        self._stream.close()

    def read(self) -> Signal | None:
        found = [np.zeros(0, np.float32)]
        while not self._blocks.empty():
            found.append(self._blocks.get())
        return np.concatenate(found)

    def _take(self, data: Signal, frames: int, moment: Any, status: Any) -> None:
        if not self._blocks.full():  # else the call has stopped, and old speech is of no use
            self._blocks.put(np.clip(np.nan_to_num(data[:, 0]), -1, 1))  # some drivers begin with any bytes


class Loudspeaker:
    """The system's loudspeaker, as sounddevice has it."""

    def __init__(self, device: Any) -> None:
        """Begins to play silence with the module `sounddevice`."""
        self._blocks = deque[Signal]()
        self._rest = np.zeros(0, np.float32)
        self._stream = _started(device, device.OutputStream, self._give)

    def close(self) -> None:
        """Ends playing."""
        self._stream.close()

    @property
    def wants(self) -> bool:
        """Whether it will soon have nothing to play."""
        return sum(map(len, self._blocks)) < 2 * BLOCK

    def play(self, block: Signal) -> None:
        """Takes samples [n] to be played after those before them."""
        self._blocks.append(block)

    def finish(self) -> None:
        """Waits until all is played, as long as that should take."""
        latest = time.monotonic() + sum(map(len, self._blocks)) / SAMPLE_RATE + LAST_BLOCKS
        while self._blocks and time.monotonic() < latest:
            time.sleep(LAST_BLOCKS / 10)
        time.sleep(LAST_BLOCKS)

    def _give(self, data: Signal, frames: int, moment: Any, status: Any) -> None:
        while len(self._rest) < frames and self._blocks:
            self._rest = np.concatenate([self._rest, self._blocks.popleft()])
        found, self._rest = self._rest[:frames], self._rest[frames:]
        data[:, 0] = np.pad(found, (0, frames - len(found)))


def _started(device: Any, kind: Any, work: Callable[..., None]) -> Any:
    try:
        stream = kind(samplerate=SAMPLE_RATE, channels=1, dtype="float32", blocksize=BLOCK, callback=work)
        stream.start()
    except (device.PortAudioError, ValueError) as error:
        line = f"expected a microphone and a loudspeaker of 16 kHz, found {error}; give --input and --output"
        raise UserError(line) from None
    return stream


@contextmanager
def opened(device: type[Microphone] | type[Loudspeaker]) -> Iterator[Any]:
    """A microphone or a loudspeaker for as long as it is needed.

    Raises:
        UserError: there is none, or no sounddevice.
    """
    flag = "--input" if device is Microphone else "--output"
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # the second: its library PortAudio is missing
        found = "none" if isinstance(error, ImportError) else str(error)
        raise UserError(f"expected sounddevice, found {found}; {INSTALL}, or give a file with {flag}") from None
    running = device(sounddevice)
    try:
        yield running
    finally:
        running.close()
