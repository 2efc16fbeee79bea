"""What passes the checks of models has to code: symbols of arbitrary bytes, and the same ones again."""

from __future__ import annotations

from typing import Any

import numpy as np

ARBITRARY = bytes(40)


def use_tables(model: Any, frames: int) -> None:
    """Decodes arbitrary bytes under the tables of a model of the codec, and encodes the result again.

    Raises:
        AssertionError: other symbols come back.
    """
    if model.offsets:
        coder, arguments = model.coder, (frames, 0)
        symbols = coder.decode([ARBITRARY] * model.depth, *arguments)
        again = coder.decode(coder.encode(symbols, 0), *arguments)
        pairs = [*zip((*symbols[:2], *symbols.indices), (*again[:2], *again.indices), strict=True)]
    else:
        coder = model.symbol_coder(model.depth)
        symbols = coder.decode([ARBITRARY] * len(coder.shapes), frames)
        again = coder.decode(coder.encode(symbols), frames)
        pairs = [(symbols[name], again[name]) for name in symbols]
    if not all(np.array_equal(*pair) for pair in pairs):
        raise AssertionError("other symbols after coding them")
