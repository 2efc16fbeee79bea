"""Arrays of a model, read with suspicion: nothing is asked of memory that the file does not hold."""

from __future__ import annotations

import io
import math
import zipfile
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nsc.errors import UserError

MOST_BYTES: Final = 1 << 29  # of all arrays together; the largest network of the papers takes a hundredth
LARGEST_WEIGHT: Final = 1e6


def read_arrays(file: Any) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file, open or by its path.

    Raises:
        UserError: they are too large.
        Exception: of any kind, where the file is damaged.
    """
    arrays: dict[str, NDArray[Any]] = {}
    with zipfile.ZipFile(file) as archive:
        size = sum(member.file_size for member in archive.infolist())
        if size > MOST_BYTES:
            raise UserError(f"expected at most {MOST_BYTES} bytes of arrays, found {size}")
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name in arrays:
                raise UserError(f"expected every array once, found {name} twice")
            arrays[name] = _read_array(archive.read(member), name)
    return arrays


def _read_array(data: bytes, name: str) -> NDArray[Any]:
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    shape, _, dtype = read_header(file)
    if dtype.kind not in "iuf":
        raise UserError(f"{name}: expected numbers, found {dtype}")
    expected, found = math.prod(shape) * dtype.itemsize, len(data) - file.tell()
    if expected != found:
        raise UserError(f"{name}: expected {expected} bytes, found {found}")
    array = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    # NaN is not below anything
    if dtype.kind == "f" and not float(np.max(np.abs(array), initial=0)) <= LARGEST_WEIGHT:
        raise UserError(f"{name}: expected finite numbers up to {LARGEST_WEIGHT:g}, found others")
    return array
