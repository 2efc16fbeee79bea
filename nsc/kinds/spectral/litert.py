"""Spectral networks as LiteRT graphs of any number of frames."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nsc.entropy.spectral_coder import SpectralSymbols
from nsc.kinds.spectral.network import Floats, Quantised, silence
from nsc.models.litert import Runner, load_runner

SAMPLES, LEVELS, OFFSETS, LSF, GAINS, USED = "samples", "levels", "offsets", "lsf", "gains", "used"  # of the graphs


def codec_port(number: int) -> str:
    """The name of the input or output that holds the indices of codec `number`, from 1."""
    return f"codec_{number}"


def code_port(number: int) -> str:
    """The name of the output that holds what codec `number`, from 1, quantised."""
    return f"code_{number}"


class LiteRtSpectralNetwork:
    """Implements `SpectralNetwork` by an encoder and a decoder graph, each loaded when it is first needed.

    The encoder takes samples, levels and offsets and gives the symbols of all codecs. The decoder takes all symbols,
    levels, offsets and which codecs are used; it gives samples. Not to be shared between threads.
    """

    def __init__(self, read: Callable[[str], bytes], depth: int, hop: int, threads: int = 1) -> None:
        """Takes what reads a graph, "encoder" or "decoder", and the model's number of codecs and hop."""
        self._read, self._depth, self._hop, self._threads = read, depth, hop, threads
        self._runners: dict[str, Runner] = {}

    def quantised(self, samples: Floats, levels: Floats, offsets: Floats, layers: int) -> Quantised:
        """See `SpectralNetwork`."""
        inputs = {SAMPLES: samples, LEVELS: levels, OFFSETS: offsets}
        found = self._runner("encoder")(**{name: values.astype(np.float32) for name, values in inputs.items()})
        numbers = range(1, layers + 1)
        indices = tuple(found[codec_port(number)] for number in numbers)
        codes = tuple(found[code_port(number)] for number in numbers) if code_port(1) in found else ()
        return Quantised(SpectralSymbols(found[LSF], found[GAINS], indices), codes)

    def samples(self, symbols: SpectralSymbols, levels: Floats, offsets: Floats) -> Floats:
        """See `SpectralNetwork`."""
        present = len(symbols.indices)
        missing = silence(len(symbols.lsf), self._depth - present, self._hop, symbols.spectra_per_frame).indices
        codes = {codec_port(n): values for n, values in enumerate((*symbols.indices, *missing), start=1)}
        used = np.array([1.0] * present + [0.0] * len(missing), np.float32)
        steps = {LEVELS: levels.astype(np.float32), OFFSETS: offsets.astype(np.float32)}
        decoder = self._runner("decoder")
        samples: Floats = decoder(**{LSF: symbols.lsf, GAINS: symbols.gains, USED: used}, **codes, **steps)[SAMPLES]
        return samples

    def _runner(self, name: str) -> Runner:
        if name not in self._runners:
            self._runners[name] = load_runner(self._read(name), self._threads)
        return self._runners[name]
