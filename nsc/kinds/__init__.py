"""The kinds of model: on samples, in format version 1, and on the lapped spectrum, in version 2."""

from __future__ import annotations

from typing import Final

# Kinds of models by the name that their descriptions give, and the modules whose `load` reads a folder of theirs.
KINDS: Final = {"cascade": "nsc.kinds.samples.model", "spectral": "nsc.kinds.spectral.model"}
