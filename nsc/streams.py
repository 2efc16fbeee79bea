"""Files, pipes and standard input and output by name."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from nsc.atomic import written_whole
from nsc.console import standard_input, standard_output
from nsc.errors import UserError

STANDARD = "-"


def checked_name(name: str) -> str:
    """The name of a file or a stream.

    Raises:
        UserError: it is none.
    """
    if "\0" in name or not (name == STANDARD or Path(name).name):
        raise UserError(f"expected the name of a file, found '{name}'; name a file in it")
    return name


def is_pipe(name: str) -> bool:
    """Whether a name is that of a stream: standard input or output, a named pipe, a device."""
    return name == STANDARD or (os.path.exists(name) and not os.path.isfile(name) and not os.path.isdir(name))


def read_bytes(name: str) -> bytes:
    """The content of a file or a stream.

    Raises:
        UserError: there is none that can be read.
    """
    try:
        return standard_input().read() if name == STANDARD else Path(name).read_bytes()
    except OSError as error:
        raise UserError(
            f"expected a file {name}, found none that can be read ({error.strerror}); check the path"
        ) from None


def check_output(source: str, target: str, *, force: bool) -> None:
    """Refuses to write over what is there.

    Raises:
        UserError: the target exists and `force` does not say that it may go, or it is the source.
    """
    if is_pipe(target) or not os.path.exists(target):
        return
    if os.path.isdir(target):
        raise UserError(f"expected a file name for the output, found the folder {target}; name a file in it")
    if not is_pipe(source) and os.path.exists(source) and os.path.samefile(source, target):
        raise UserError(f"{target} is the input itself; choose another output")
    if not force:
        raise UserError(f"{target} exists; --force overwrites it, or choose another output")


@contextmanager
def output(name: str, *, seeks: bool = False) -> Iterator[BinaryIO]:
    """Opens an output: a file appears whole or not at all; what goes into a stream and `seeks` is collected first.

    Raises:
        UserError: it cannot be written.
    """
    try:
        if not is_pipe(name):
            with written_whole(name) as file:
                yield file
            return
        collected = io.BytesIO()
        with _opened(name) as stream:
            yield collected if seeks else stream
            if seeks:
                stream.write(collected.getvalue())
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"{name} cannot be written ({error.strerror}); choose another place") from None


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    if name == STANDARD:
        yield standard_output()
        standard_output().flush()
        return
    with open(name, "wb") as stream:
        yield stream
