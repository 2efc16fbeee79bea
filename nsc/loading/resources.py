"""What comes with the package: folders beside its modules, or within the archive that it is run from."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


def resource(*names: str) -> Path:
    """A folder of the package; of an archive (zipapp) a copy, which lasts as long as the process."""
    place = files("nsc").joinpath(*names)
    if isinstance(place, Path):
        return place
    unpacked = Path(tempfile.mkdtemp(prefix="nsc-"))
    atexit.register(shutil.rmtree, unpacked, ignore_errors=True)
    _copy(place, unpacked / names[-1])
    return unpacked / names[-1]


def _copy(place: Traversable, target: Path) -> None:
    if not place.is_dir():
        target.write_bytes(place.read_bytes())
        return
    target.mkdir()
    for each in place.iterdir():
        _copy(each, target / each.name)
