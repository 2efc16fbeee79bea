"""Streaming objects used in any order: bytes that arrive, are lost or foreign, calls that come twice or too late."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

import nsc
from nsc.format import BitstreamError, unpack_header
from scripts.fuzzing.choice import Generator, one_of
from scripts.fuzzing.targets import Target, files_of

MOST_STEPS = 12
MOST_BYTES = 400  # of a step


class Listener:
    """A decoder and the bytes on their way to it. Every step ends in samples or an error that is promised."""

    def __init__(self, data: bytes, model: Target, *, joins: bool = False) -> None:
        """Takes an .nsc file and its model; who joins is given the header and begins anywhere."""
        header = unpack_header(data)
        self.decoder = nsc.Decoder(model, header=header) if joins else nsc.Decoder(model)
        self.declared = None if joins else header.num_samples  # who joins hears a part of them
        self._left = data[16:] if joins else data
        self.samples, self.ended, self.failed = 0, False, ""

    def arrive(self, count: int) -> None:
        """The next bytes come."""
        data, self._left = self._left[:count], self._left[count:]
        self._get(lambda: self.decoder.write(data))

    def lose(self, count: int) -> None:
        """The next bytes are lost."""
        self._left = self._left[count:]

    def receive(self, foreign: bytes) -> None:
        """Bytes come that nobody sent."""
        self._get(lambda: self.decoder.write(foreign))

    def conceal(self) -> None:
        """A group is known to be lost."""
        self._get(self.decoder.lost)

    def finish(self) -> None:
        """The stream ends, perhaps again."""
        before = self.ended
        self._get(self.decoder.finish)
        self.ended = True
        if before and not self.failed:
            raise AssertionError("an end after the end")
        if not before and not self.failed and self.declared not in (None, self.samples):
            raise AssertionError(f"{self.samples} samples of {self.declared}")

    def _get(self, call: Callable[[], np.ndarray]) -> None:
        self.failed = ""
        try:
            samples = call()
        except nsc.UserError as error:
            if "\n" in str(error):
                raise AssertionError(f"no line: {error}") from None
            self.failed = "refused" if isinstance(error, BitstreamError) else "mistake"
            return
        if self.ended:
            raise AssertionError("samples after the end")
        if samples.ndim != 1 or samples.dtype != np.float32 or not np.isfinite(samples).all():
            raise AssertionError(f"no samples: {samples.dtype} {samples.shape}")
        self.samples += len(samples)
        if self.declared is not None and self.samples > self.declared:
            raise AssertionError(f"{self.samples} samples of {self.declared}")


class Sequences:
    """Drawn sequences of steps with files of every model that ships."""

    def __init__(self, models: Sequence[Target], generator: Generator) -> None:
        self._files = files_of(models, generator)
        self._models = {model.digest: model for model in models}

    def outcome(self, generator: Generator) -> str:
        """How a sequence ends."""
        data = one_of(self._files, generator)
        model = self._models[unpack_header(data).model]
        listener = Listener(data, model, joins=generator.integers(4) == 0)
        for _ in range(int(generator.integers(1, MOST_STEPS))):
            count = int(generator.integers(MOST_BYTES))
            steps: tuple[Callable[[], None], ...] = (
                partial(listener.arrive, count),
                partial(listener.arrive, 20 * count),
                partial(listener.lose, count),
                listener.conceal,
                partial(listener.receive, generator.bytes(count % 40)),
                partial(listener.arrive, 0),
            )
            one_of((*steps, *steps, listener.finish), generator)()
        listener.finish()
        return listener.failed or "finished"
