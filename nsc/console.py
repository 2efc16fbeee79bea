"""The terminal: the program's own lines, exit statuses, and a parser whose complaints are one line."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from nsc.errors import UserError

USER_ERROR, INTERRUPTED = 2, 130  # exit statuses; 130 is what shells expect after Ctrl-C

log = logging.getLogger("neural_speech_coding")


def show_own_lines() -> None:
    """Sends the project's lines to standard error as they are."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False


def exit_status(program: str, work: Callable[[], int | None], interrupted: str = "") -> int:
    """What `work` returns, 0 for nothing; 2 after one line that says what it refuses; 130 after Ctrl-C.

    Args:
        program: whose name begins the line.
        work: what is done.
        interrupted: a line to print after Ctrl-C.
    """
    try:
        return work() or 0
    except UserError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        if interrupted:
            print(f"{program}: {interrupted}", file=sys.stderr)
        return INTERRUPTED


@contextmanager
def native_notes_hidden() -> Iterator[None]:
    """Points file descriptor 2 nowhere: native libraries announce their devices there, whatever Python says."""
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, AttributeError, ValueError):  # there is no standard error
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class Parser(argparse.ArgumentParser):
    """Raises UserError where argparse would print its usage and exit; never guesses abbreviated flags."""

    def __init__(self, **options: object) -> None:
        super().__init__(allow_abbrev=False, **options)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Raises UserError."""
        raise UserError(f"{message}; --help shows how it is used")
