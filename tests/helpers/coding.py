"""A saved cascade of two codecs, small and untrained, whose tables belong to its own symbols of real speech."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kinds.samples import batch as feed_forward
from kinds.samples.cascade import SampleCascade
from kinds.samples.rate import Tables, count_symbols, integer_tables
from kinds.samples.tables import fit_models
from nsc.entropy.context_model import Symbols, whole_groups
from runs.saved_model import SavedModel, load_model, save_model
from tests.helpers.tiny import config

CODE_GAIN = 12.0  # on the codes of untrained encoders, which else lie all in one bin


def make_model(folder: Path, clips: list[NDArray[np.float32]], *, contexts: bool = True, **changes: Any) -> SavedModel:
    """Saves and loads a model with tables for `clips`, with or without context models."""
    keras.utils.set_random_seed(1)
    cascade = SampleCascade(config(num_modules=2, bins=(9, 7), **changes))
    for codec in cascade.codecs:
        last = codec.encoder.layers[-1]
        last.kernel.assign(last.kernel * CODE_GAIN)
    symbols = symbols_of(cascade, clips)
    tables = plain_tables(cascade, symbols)
    if contexts:
        for name, model in fit_models(cascade, 2, symbols).items():
            tables |= model.arrays(name)
    save_model(folder, "first", cascade, tables, 2)
    return load_model(folder / "stages" / "first")


def symbols_of(cascade: SampleCascade, clips: list[NDArray[np.float32]]) -> dict[str, Symbols]:
    """Whole groups of all clips, int32 [groups, 16, positions, channels] by part."""
    coded = [feed_forward.encode(cascade, clip, len(cascade.codecs)).symbols for clip in clips]
    return {part.name: np.concatenate([whole_groups(each[part.name]) for each in coded]) for part in cascade.parts()}


def plain_tables(cascade: SampleCascade, symbols: dict[str, Symbols]) -> Tables:
    """One table a channel, from all symbols."""
    return integer_tables({part.name: count_symbols(part, symbols[part.name]) for part in cascade.parts()})
