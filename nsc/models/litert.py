"""Networks as LiteRT graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsc.console import native_notes_hidden
from nsc.errors import UserError
from nsc.kinds.samples.network import Part, Symbols

Arrays = dict[str, NDArray[Any]]
Runner = Callable[..., Arrays]

SIGNATURE = "serving_default"
CONTEXTS, FRAMES, LOST, USED = "contexts", "frames", "lost", "used"  # inputs and outputs of the graphs


def port_name(part: Part) -> str:
    """The name of the input or output that holds a part's symbols."""
    return part.name.replace(" ", "_")


class LiteRtNetwork:
    """Implements `coding.network.Network` by an encoder and a decoder graph, each loaded when it is first needed.

    The encoder takes `contexts` and gives the symbols of all parts. The decoder takes the symbols of all parts, `lost`,
    and which codecs are `used`; it gives `frames`. Not to be shared between threads.
    """

    def __init__(self, read: Callable[[str], bytes], parts: Sequence[Part], depth: int, threads: int = 1) -> None:
        """Takes what reads a graph, "encoder" or "decoder", and the parts and number of codecs of the model."""
        self._read = read
        self._parts = tuple(parts)
        self._depth = depth
        self._threads = threads
        self._runners: dict[str, Runner] = {}

    def symbols(self, contexts: NDArray[np.float32], layers: int) -> list[Symbols]:
        """See `Network`."""
        kept = self._parts[: len(self._parts) - self._depth + layers]
        with _naming_misfits():
            found = self._runner("encoder")(contexts=contexts.astype(np.float32, copy=False))
            return [found[port_name(part)] for part in kept]

    def frames(self, symbols: Sequence[Symbols], lost: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Network`."""
        missing = len(self._parts) - len(symbols)
        inputs = {port_name(part): values for part, values in zip(self._parts, symbols, strict=False)}
        for part in self._parts[len(symbols) :]:
            inputs[port_name(part)] = np.zeros((len(lost), *part.shape), np.int32)
        used = np.array([1.0] * (self._depth - missing) + [0.0] * missing, np.float32)
        with _naming_misfits():
            return self._runner("decoder")(**inputs, lost=lost, used=used)[FRAMES]

    def _runner(self, name: str) -> Runner:
        if name not in self._runners:
            self._runners[name] = load_runner(self._read(name), self._threads)
        return self._runners[name]


@contextmanager
def _naming_misfits() -> Iterator[None]:
    """A graph with other inputs and outputs than the description says ends in plain words."""
    try:
        yield
    except (KeyError, ValueError, RuntimeError, TypeError) as error:
        raise UserError(f"the model's graph does not fit its description ({error}); copy or export it again") from None


def load_runner(graph: bytes, threads: int = 1) -> Runner:
    """A function of a graph's inputs by name to its outputs by name.

    Raises:
        UserError: LiteRT is not installed, or cannot read the graph.
    """
    with native_notes_hidden():
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise UserError(f"running a model needs LiteRT ({error}); pip install ai-edge-litert") from None
        try:
            interpreter = Interpreter(model_content=graph, num_threads=threads)
            interpreter.allocate_tensors()
            runner: Runner = interpreter.get_signature_runner(SIGNATURE)
        except (ValueError, RuntimeError) as error:
            raise UserError(f"LiteRT cannot read the model's graph ({error}); install a newer ai-edge-litert") from None
    return runner
