"""The terminal: the program's own lines, exit statuses, and a parser whose errors are one line."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import BinaryIO, Final, NoReturn

from nsc.atomic import naming
from nsc.errors import UserError
from nsc.stops import stops

USER_ERROR, NOBODY_READS = 2, 141  # exit statuses; the second as shells have it after SIGPIPE
SIGNALLED: Final = 128  # to which the number of the signal is added that stopped a process
ADVICE: Final[Mapping[int, str]] = {
    errno.ENOSPC: "make room, and the same command continues",
    errno.EDQUOT: "make room, and the same command continues",
    errno.EFBIG: "files here must not be so large; choose another place",
    errno.EACCES: "check its rights, or choose another place",
    errno.EPERM: "check its rights, or choose another place",
    errno.EROFS: "choose another place",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a file is where a folder should be; move it away, or choose another place",
    errno.EEXIST: "a file is where a folder should be; move it away, or choose another place",
    errno.EISDIR: "name a file in it",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "allow more open files (ulimit -n)",
}
SYSTEM_ERRORS: Final = ("ResourceExhaustedError", "DataLossError", "PermissionDeniedError", "UnavailableError")

log = logging.getLogger("neural_speech_coding")


class _OneLine(logging.Formatter):
    """Messages in one line each, whatever the names of files and models in them hold."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        return shown(record.getMessage())


def show_own_lines() -> None:
    """Sends the project's lines to standard error as they are, and of other libraries their errors only."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine())
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
    if sys.stdout and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files are any bytes


def exit_status(program: str, work: Callable[[], int | None], interrupted: str = "stopped") -> int:
    """The one way out of every command: what a user, a disk or a network can cause is one line and a status.

    With NSC_DEBUG=1 the traceback comes before the line.

    Args:
        program: whose name begins the line.
        work: what is done.
        interrupted: a line to print after a signal that stops.

    Returns:
        What `work` returns, 0 for nothing; 2 after a line; 128 and the signal's number after Ctrl-C (130), SIGTERM
        (143) or SIGHUP (129); 141 where the reader has closed the pipe.
    """
    _fill_closed_streams()
    with stops() as met:
        try:
            status = work() or 0
            if sys.stdout:
                with naming("standard output"):
                    sys.stdout.flush()
            return status
        except BrokenPipeError:
            return _left(NOBODY_READS, "")
        except (Exception, KeyboardInterrupt) as error:
            reason = _reason(error)
            if reason is not None:
                return _left(USER_ERROR, f"{program}: {reason}")
            # native code makes other errors of the exception of a signal
            if not met.asked and not isinstance(error, KeyboardInterrupt):
                raise
            number = met.asked or signal.SIGINT
            return _left(SIGNALLED + number, f"{program}: {interrupted}")


def _reason(error: BaseException) -> str | None:
    """Message of an error that is not a bug; None for others."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MemoryError):
        return "there is not enough memory for this; give less at a time, or take a machine with more"
    if isinstance(error, OSError):
        where = error.filename2 or error.filename
        named = f"{os.fsdecode(where)}: " if isinstance(where, str | bytes) else ""
        return f"{named}{error.strerror or error}; {ADVICE.get(error.errno or 0, 'fix it and try again')}"
    if type(error).__module__.startswith("tensorflow") and type(error).__name__ in SYSTEM_ERRORS:
        words = str(error).splitlines() or [type(error).__name__]
        return f"{words[0]}; make room in memory or on the disk, and the same command continues"
    return None


def _left(status: int, line: str) -> int:
    if os.environ.get("NSC_DEBUG") == "1":
        traceback.print_exc()
    if line and sys.stderr:
        with suppress(OSError):
            print(shown(line), file=sys.stderr)
    # what is left in buffers has nowhere to go, and must not be reported again when the interpreter ends
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    return status


def shown(line: str) -> str:
    """A line for a terminal: names of files and models may hold ends of lines and commands to it."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in line)


def _fill_closed_streams() -> None:
    """Points standard streams that are closed nowhere, or else the next file to be opened would take their place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def standard_input() -> BinaryIO:
    """Standard input in bytes.

    Raises:
        UserError: it is closed.
    """
    if sys.stdin is None:
        raise UserError("expected speech or an .nsc file on standard input, found it closed; give a file")
    return sys.stdin.buffer


def standard_output() -> BinaryIO:
    """Standard output in bytes.

    Raises:
        UserError: it is closed.
    """
    if sys.stdout is None:
        raise UserError("standard output is closed; give an output file")
    return sys.stdout.buffer


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

    def flags(self) -> dict[str, bool]:
        """Every flag, and whether it takes a value."""
        return {name: action.nargs != 0 for action in self._actions for name in action.option_strings}

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Ends as argparse does after --help, with nothing left to report."""
        if sys.stdout:
            sys.stdout.flush()
        super().exit(status, message)

    def error(self, message: str) -> NoReturn:
        """Raises UserError."""
        raise UserError(f"{message}; --help shows the usage")
