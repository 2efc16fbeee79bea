"""Graphs of a model, run by LiteRT."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from numpy.typing import NDArray

from nsc.console import native_notes_hidden
from nsc.errors import UserError

Arrays = dict[str, NDArray[Any]]
Runner = Callable[..., Arrays]

SIGNATURE = "serving_default"
# Graphs that LiteRT runs without XNNPACK, which gave results up to 0.05 of full scale off for these, in one process and
# not in the next, for the same input (2.3.0).
PLAIN = frozenset({"enhancer"})

Sizes = Mapping[str, tuple[int | None, ...]]  # of the axes of arrays by name; None where a caller chooses


class Ports(NamedTuple):
    """What goes into a graph and comes out of it."""

    inputs: Sizes
    outputs: Sizes


class Graphs:
    """The graphs of a model by name, each loaded when it is first needed.

    Threads may share them: LiteRT's interpreters hold one call at a time, so that calls take turns. Another process,
    spawned or forked, loads its own: what it inherits may be in the midst of a call that never ends there.
    """

    def __init__(self, read: Callable[[str], bytes], threads: int = 1) -> None:
        """Takes what reads a graph by its name, and how many threads of LiteRT's own run it."""
        self._read, self._threads = read, threads
        self._runners: dict[str, Runner] = {}
        self._turn, self._process = threading.Lock(), os.getpid()

    def __call__(self, name: str, **inputs: NDArray[Any]) -> Arrays:
        """The outputs of a graph by name."""
        if self._process != os.getpid():
            self.__init__(self._read, self._threads)  # type: ignore[misc]
        with self._turn:
            if name not in self._runners:
                self._runners[name] = load_runner(self._read(name), self._threads, delegates=name not in PLAIN)
            return self._runners[name](**inputs)

    def check(self, expected: Mapping[str, Ports], *, encodes: bool = True) -> None:
        """Looks at graphs by their names, without making them ready to run; a model that only decodes has no encoder.

        Raises:
            UserError: one is missing, damaged, or takes or gives other arrays than expected.
        """
        for name, ports in expected.items():
            if name == "encoder" and not encodes:
                continue
            runner = _opened(self._read(name), self._threads, ready=False)
            for sizes, details in zip(ports, (runner.get_input_details(), runner.get_output_details()), strict=True):
                found = {port: tuple(map(int, each["shape_signature"])) for port, each in details.items()}
                if sizes.keys() != found.keys() or not all(_fits(found[port], sizes[port]) for port in sizes):
                    raise UserError(f"the {name} graph: expected {_shown(sizes)}, found {_shown(found)}")

    def __reduce__(self) -> tuple[type[Graphs], tuple[Callable[[str], bytes], int]]:
        return Graphs, (self._read, self._threads)


@contextmanager
def naming_misfits() -> Iterator[None]:
    """A graph with other inputs and outputs than the description says ends in plain words."""
    try:
        yield
    except (KeyError, ValueError, RuntimeError, TypeError) as error:
        raise UserError(f"the model's graph does not fit its description ({error}); copy or export it again") from None


def load_runner(graph: bytes, threads: int = 1, *, delegates: bool = True) -> Runner:
    """A function of a graph's inputs by name to its outputs by name.

    Args:
        graph: of a model.
        threads: of LiteRT's own.
        delegates: whether XNNPACK runs what it can of it.

    Raises:
        UserError: LiteRT is not installed, or cannot read the graph.
    """
    runner: Runner = _opened(graph, threads, delegates=delegates)
    return runner


def _opened(graph: bytes, threads: int, *, ready: bool = True, delegates: bool = True) -> Any:
    """LiteRT's runner of a graph, ready to run or only to be looked at."""
    with native_notes_hidden():
        try:
            from ai_edge_litert.interpreter import Interpreter, OpResolverType
        except ImportError as error:
            raise UserError(f"running a model needs LiteRT ({error}); pip install ai-edge-litert") from None
        try:
            resolver = OpResolverType.AUTO if delegates else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            interpreter = Interpreter(model_content=graph, num_threads=threads, experimental_op_resolver_type=resolver)
            if ready:
                interpreter.allocate_tensors()
            return interpreter.get_signature_runner(SIGNATURE)
        except (ValueError, RuntimeError) as error:
            raise UserError(f"LiteRT cannot read the model's graph ({error}); install a newer ai-edge-litert") from None


def _fits(found: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    """Sizes below 0 are those that the graph leaves open."""
    axes = zip(found, expected, strict=False)
    return len(found) == len(expected) and all(size in (each, -1) or each is None for size, each in axes)


def _shown(sizes: Mapping[str, tuple[int | None, ...]]) -> str:
    return ", ".join(f"{name} {list(sizes[name])}".replace("None", "-1") for name in sorted(sizes))
