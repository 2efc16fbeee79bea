"""Graphs of a model, run by LiteRT."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from nsc.console import native_notes_hidden
from nsc.errors import UserError

Arrays = dict[str, NDArray[Any]]
Runner = Callable[..., Arrays]

SIGNATURE = "serving_default"


class Graphs:
    """The graphs of a model by name, each loaded when it is first needed.

    Threads may share them: LiteRT's interpreters hold one call at a time, so that calls take turns. Another process
    gets what reads them, and loads its own.
    """

    def __init__(self, read: Callable[[str], bytes], threads: int = 1) -> None:
        """Takes what reads a graph by its name, and how many threads of LiteRT's own run it."""
        self._read, self._threads = read, threads
        self._runners: dict[str, Runner] = {}
        self._turn = threading.Lock()

    def __call__(self, name: str, **inputs: NDArray[Any]) -> Arrays:
        """The outputs of a graph by name."""
        with self._turn:
            if name not in self._runners:
                self._runners[name] = load_runner(self._read(name), self._threads)
            return self._runners[name](**inputs)

    def __reduce__(self) -> tuple[type[Graphs], tuple[Callable[[str], bytes], int]]:
        return Graphs, (self._read, self._threads)


@contextmanager
def naming_misfits() -> Iterator[None]:
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
