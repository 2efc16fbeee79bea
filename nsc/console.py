"""The terminal: the program's own lines, without TensorFlow's start-up notes."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nsc.errors import UserError

log = logging.getLogger("neural_speech_coding")


def show_own_lines() -> None:
    """Sends the project's lines to standard error as they are, and of other libraries their errors only."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
    logging.getLogger("absl").setLevel(logging.ERROR)


def exit_status(program: str, work: Callable[[], int | None]) -> int:
    """What `work` returns, 0 for nothing; 2 after one line that says what it refuses."""
    try:
        return work() or 0
    except UserError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2


def import_tensorflow() -> None:
    """Imports TensorFlow, which takes seconds, without its notes about CUDA and oneDNN.

    Its mistakes reach Python as exceptions, so that none of them is lost.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _native_notes_hidden(), _without("matplotlib"):
        import tensorflow  # noqa: F401


@contextmanager
def _without(module: str) -> Iterator[None]:
    """Hides a module that others import where it is there: Keras would draw pictures and takes half a second to."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]


@contextmanager
def _native_notes_hidden() -> Iterator[None]:
    """Points file descriptor 2 nowhere: what is printed during the import ignores TF_CPP_MIN_LOG_LEVEL."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
