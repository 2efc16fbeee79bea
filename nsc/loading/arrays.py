"""Arrays of a model, read with suspicion: nothing is asked of memory that the file does not hold."""

from __future__ import annotations

import math
import zipfile
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from nsc.errors import UserError

MOST_BYTES: Final = 1 << 26  # of all arrays together; the largest network of the papers takes a tenth
LARGEST_WEIGHT: Final = 1e6
HEADERS: Final = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_arrays(file: Any) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file, open or by its path; the headers of all are looked at before any is read.

    Raises:
        UserError: they are too large, or no numbers.
        Exception: of any kind, where the file is damaged.
    """
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        size = sum(member.file_size for member in members)
        if size > MOST_BYTES:
            raise UserError(f"expected at most {MOST_BYTES} bytes of arrays, found {size}")
        names = [member.filename.removesuffix(".npy") for member in members]
        for name, member in zip(names, members, strict=True):
            if names.count(name) > 1:
                raise UserError(f"expected every array once, found {name} twice")
            with archive.open(member) as content:
                _check_header(content, name, member.file_size)
        return {name: _read_array(archive, member, name) for name, member in zip(names, members, strict=True)}


def _check_header(content: IO[bytes], name: str, size: int) -> None:
    """Raises UserError where an array is none of numbers, or its shape is not that of its bytes."""
    read_header = HEADERS[np.lib.format.read_magic(content)]
    shape, _, dtype = read_header(content)
    if dtype.kind not in "iuf":
        raise UserError(f"{name}: expected numbers, found {dtype}")
    expected, found = math.prod(shape) * dtype.itemsize, size - content.tell()
    if expected != found:
        raise UserError(f"{name}: expected {expected} bytes, found {found}")


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> NDArray[Any]:
    with archive.open(member) as content:
        array: NDArray[Any] = np.lib.format.read_array(content, allow_pickle=False)
        content.read()  # to the end, where the checksum is compared
    # NaN is not below anything
    if array.dtype.kind == "f" and not float(np.max(np.abs(array), initial=0)) <= LARGEST_WEIGHT:
        raise UserError(f"{name}: expected finite numbers up to {LARGEST_WEIGHT:g}, found others")
    return array
