"""Symbols of training speech for the coder of a cascade, at many offsets, in groups of many lengths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from kinds.spectral.batch import file_batch
from kinds.spectral.cascade import SpectralBatch, SpectralCascade
from kinds.spectral.cascade import SpectralSymbols as Tensors
from kinds.spectral.tables import SampleGroups, build_coder, cut_groups, offset_grid
from kinds.tables import speech_at_random
from nsc.constants import SAMPLE_RATE
from nsc.entropy.spectral_coder import SpectralCoder, SpectralSymbols
from nsc.entropy.whole_numbers import Integers
from nsc.errors import UserError
from nsc.format.version_2 import OFFSETS
from nsc.kinds.spectral.level import OFFSET_STEP, ZERO_OFFSET, offset_of
from options.config import Config

GROUP_FRAMES, GROUP_SHARES = (1, 2, 4, 8, 16), (0.1, 0.1, 0.15, 0.25, 0.4)  # lengths of groups and how usual they are
# Offsets at which the first models for any rate came to 32 and to 6 kbps; between them kbps fall evenly by the octave.
FINE_OFFSET, FINE_KBPS, COARSE_OFFSET, COARSE_KBPS = -1.1, 32.0, 1.5, 6.0
FEWEST_FILES = 3 * len(GROUP_FRAMES)  # that give every length of group some symbols


def trained_offsets(config: Config) -> tuple[float, float]:
    """The finest and the coarsest offset of the log step in training: of `rate_range`, both 0 for one rate.

    A file can have no others than the format's, between which they are kept.
    """
    if not config.rate_range:
        return 0.0, 0.0
    octaves = math.log(FINE_KBPS / COARSE_KBPS)
    coarsest, finest = (
        COARSE_OFFSET + (FINE_OFFSET - COARSE_OFFSET) * math.log(kbps / COARSE_KBPS) / octaves
        for kbps in config.rate_range
    )
    return max(finest, offset_of(0)), min(coarsest, offset_of(OFFSETS - 1))


def offsets_of_format() -> Integers:
    """The offsets of the log step that a file can have, for a coder."""
    return offset_grid(offset_of(0), offset_of(OFFSETS - 1))


def training_symbols(
    cascade: SpectralCascade, depth: int, paths: Sequence[Path], minutes: float, seed: int = 0
) -> list[SampleGroups]:
    """Symbols of speech files taken at random, until there is enough of them; one entry for each length of group.

    Args:
        cascade: which codes them.
        depth: number of codecs.
        paths: audio files, of which those that cannot be read are skipped.
        minutes: of speech, at most, but of some files at least.
        seed: of the choice.

    Raises:
        UserError: no file can be read.
    """
    random = np.random.default_rng(seed)
    found: dict[int, list[tuple[SpectralSymbols, int]]] = {}
    seconds = files = 0.0
    for signal in speech_at_random(paths, random):
        frames = GROUP_FRAMES[int(files) % len(GROUP_FRAMES)] if files < FEWEST_FILES else _length(random)
        offset = _offset(random, cascade.config) if cascade.config.rate_range else ZERO_OFFSET
        batch = file_batch(signal, cascade.config, offset_of(offset), frames)
        found.setdefault(frames, []).append((cut_groups(_symbols(cascade, batch, depth), frames), offset))
        seconds += len(signal) / SAMPLE_RATE
        files += 1
        if seconds >= 60 * minutes and files >= FEWEST_FILES:
            break
    if not found:
        raise UserError("expected training speech for the probability tables, found none; give other files")
    return [_joined(each) for each in found.values()]


def coder_of(cascade: SpectralCascade, depth: int, samples: Sequence[SampleGroups]) -> SpectralCoder:
    """The coder of the first `depth` codecs."""
    return build_coder(cascade, depth, samples, offsets_of_format())


def _length(random: np.random.Generator) -> int:
    return int(random.choice(GROUP_FRAMES, p=GROUP_SHARES))


def _offset(random: np.random.Generator, config: Config) -> int:
    finest, coarsest = (round(offset / OFFSET_STEP) for offset in trained_offsets(config))
    return ZERO_OFFSET + int(random.integers(finest, coarsest + 1))


def _symbols(cascade: SpectralCascade, batch: SpectralBatch, depth: int) -> SpectralSymbols:
    found = _coded(cascade, batch, depth)
    return SpectralSymbols(found.lsf.numpy(), found.gains.numpy(), tuple(code.numpy() for code in found.codes))


@tf.function(reduce_retracing=True, autograph=False)
def _coded(cascade: SpectralCascade, batch: SpectralBatch, depth: int) -> Tensors:
    return cascade.symbols_of(batch, depth)


def _joined(pieces: Sequence[tuple[SpectralSymbols, int]]) -> SampleGroups:
    lsf, gains, indices = zip(*(symbols for symbols, _ in pieces), strict=True)
    joined = SpectralSymbols(
        np.concatenate(lsf), np.concatenate(gains), tuple(map(np.concatenate, zip(*indices, strict=True)))
    )
    offsets = np.concatenate([np.full(len(symbols.lsf), offset) for symbols, offset in pieces])
    return SampleGroups(joined, offsets)
