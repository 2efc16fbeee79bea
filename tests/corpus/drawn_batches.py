"""Batches as training takes them, with other options than usual."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpus.batches import training_batches
from corpus.interface import Corpus
from kinds.kind import BatchForm

OF_EPOCH: dict[str, Any] = {"seed": 3, "epoch": 2, "first_step": 0, "num_steps": 0, "share": (0, 1)}


def drawn(corpus: Corpus, options: dict[str, Any]) -> NDArray[np.float32]:
    """Batches [steps, batch, length] of pre-emphasised speech; options are those of `BatchForm` and `OF_EPOCH`."""
    form = BatchForm(
        **{"pre_emphasis": True, "high_pass": False}
        | {name: value for name, value in options.items() if name not in OF_EPOCH}
    )
    given = OF_EPOCH | {name: value for name, value in options.items() if name in OF_EPOCH}
    steps = range(given["first_step"], given["num_steps"])
    batches = training_batches(corpus, form, (given["seed"], given["epoch"]), steps, given["share"])
    return np.stack(list(batches.as_numpy_iterator()))
