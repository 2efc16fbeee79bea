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

SIGNATURE = "serving_default"
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
                self._runners[name] = Runner(self._read(name), self._threads)
            return self._runners[name](**inputs)

    def check(self, expected: Mapping[str, Ports], *, encodes: bool = True) -> None:
        """Looks at graphs by their names, without making them ready to run; a model that only decodes has no encoder.

        Raises:
            UserError: one is missing, damaged, or takes or gives other arrays than expected.
        """
        for name, ports in expected.items():
            if name == "encoder" and not encodes:
                continue
            for sizes, details in zip(ports, _ports(_opened(self._read(name))), strict=True):
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


class Runner:
    """A graph as a function of its inputs by name to its outputs by name.

    XNNPACK, which runs a graph in parts, gives all parts one workspace. Where a larger input makes that grow and move,
    parts may go on reading where it was (seen in LiteRT 2.3.0): the first call of a size was right, from the second
    on samples were up to 0.2 of full scale off, in one process and not in the next. Parts are made ready anew whenever
    a size changes, so that a call larger than all before is followed by a change.
    """

    def __init__(self, graph: bytes, threads: int = 1) -> None:
        """Loads a graph, to be run by so many threads of LiteRT's own.

        Raises:
            UserError: LiteRT is not installed, or cannot read the graph.
        """
        self._interpreter = _opened(graph, threads)
        self._inputs, self._outputs = _ports(self._interpreter)
        self._least = {name: tuple(map(int, details["shape"])) for name, details in self._inputs.items()}
        self._shapes: dict[str, tuple[int, ...]] = self._least
        self._largest = 0
        with native_notes_hidden(), _naming_damage():
            self._interpreter.allocate_tensors()

    def __call__(self, **inputs: NDArray[Any]) -> Arrays:
        """The outputs of the graph by name."""
        if inputs.keys() != self._inputs.keys():
            raise ValueError(f"expected {', '.join(sorted(self._inputs))}, found {', '.join(sorted(inputs))}")
        self._resize({name: values.shape for name, values in inputs.items()})
        for name, values in inputs.items():
            self._interpreter.set_tensor(self._inputs[name]["index"], values)
        self._interpreter.invoke()
        found = {name: self._interpreter.get_tensor(details["index"]) for name, details in self._outputs.items()}
        size = sum(values.size for values in inputs.values())
        if size > self._largest:
            self._largest = size
            self._resize(self._least)
        return found

    def _resize(self, shapes: dict[str, tuple[int, ...]]) -> None:
        if shapes == self._shapes:
            return
        self._shapes = {}  # should any of this fail
        for name, shape in shapes.items():
            self._interpreter.resize_tensor_input(self._inputs[name]["index"], shape)
        self._interpreter.allocate_tensors()
        self._shapes = shapes


def _opened(graph: bytes, threads: int = 1) -> Any:
    """LiteRT's interpreter of a graph, to be looked at or made ready."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise UserError(f"running a model needs LiteRT ({error}); pip install ai-edge-litert") from None
    with native_notes_hidden(), _naming_damage():
        return Interpreter(model_content=graph, num_threads=threads)


def _ports(interpreter: Any) -> tuple[Arrays, Arrays]:
    """What LiteRT tells of a graph's inputs and outputs, by name."""
    with _naming_damage():
        runner = interpreter.get_signature_runner(SIGNATURE)
    return runner.get_input_details(), runner.get_output_details()


@contextmanager
def _naming_damage() -> Iterator[None]:
    try:
        yield
    except (ValueError, RuntimeError) as error:
        raise UserError(f"LiteRT cannot read the model's graph ({error}); install a newer ai-edge-litert") from None


def _fits(found: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    """Sizes below 0 are those that the graph leaves open."""
    axes = zip(found, expected, strict=False)
    return len(found) == len(expected) and all(size in (each, -1) or each is None for size, each in axes)


def _shown(sizes: Mapping[str, tuple[int | None, ...]]) -> str:
    return ", ".join(f"{name} {list(sizes[name])}".replace("None", "-1") for name in sorted(sizes))
