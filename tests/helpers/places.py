"""Where the project and what its tests read lie."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
CORPUS: Final = ROOT / "tests" / "data"  # twelve clips of four speakers
GOLDEN: Final = ROOT / "tests" / "golden"
