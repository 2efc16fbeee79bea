"""Arrays of a model, read with suspicion: nothing is asked of memory that the file does not hold."""

from __future__ import annotations

import math
import zipfile
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nsc.errors import UserError

MOST_BYTES: Final = 1 << 26  # of all arrays together; the largest network of the papers takes a tenth
LARGEST_WEIGHT: Final = 1e6
HEADERS: Final = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class Layout(NamedTuple):
    """How an array lies in its file, from byte `start` on."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int
    order: Literal["C", "F"]


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
        for name in names:
            if names.count(name) > 1:
                raise UserError(f"expected every array once, found {name} twice")
        layouts = [_layout(archive, member, name) for name, member in zip(names, members, strict=True)]
        contents = map(archive.read, members)  # to the end of each, where checksums are compared
        return {name: _array(layout, data, name) for name, layout, data in zip(names, layouts, contents, strict=True)}


def _layout(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> Layout:
    """Raises UserError where an array is none of numbers, or its shape is not that of its bytes."""
    with archive.open(member) as content:
        shape, fortran, dtype = HEADERS[np.lib.format.read_magic(content)](content)
        start = content.tell()
    if dtype.kind not in "iuf":
        raise UserError(f"{name}: expected numbers, found {dtype}")
    expected, found = math.prod(shape) * dtype.itemsize, member.file_size - start
    if expected != found:
        raise UserError(f"{name}: expected {expected} bytes, found {found}")
    return Layout(shape, dtype, start, "F" if fortran else "C")


def _array(layout: Layout, data: bytes, name: str) -> NDArray[Any]:
    array = np.ndarray(layout.shape, layout.dtype, data, layout.start, order=layout.order).copy(order="K")
    # NaN is not below anything
    if array.dtype.kind == "f" and not float(np.max(np.abs(array), initial=0)) <= LARGEST_WEIGHT:
        raise UserError(f"{name}: expected finite numbers up to {LARGEST_WEIGHT:g}, found others")
    return array
