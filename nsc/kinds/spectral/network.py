"""Spectral networks as encoder and decoder see them: samples to symbols and back, with frames of the past."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nsc.constants import SAMPLE_RATE
from nsc.entropy.spectral_coder import SpectralCoder, SpectralSymbols
from nsc.errors import UserError
from nsc.format import version_2, version_3
from nsc.format.version_2 import (
    HOP_UNIT,
    LSF_ORDER,
    MOST_FRAMES,
    MOST_LAYERS,
    SPECTRA_PER_FRAME,
    number_of_frames,
)
from nsc.kinds.spectral.concealment import concealment_ports
from nsc.kinds.spectral.enhancer import STATE, enhancer_ports
from nsc.kinds.spectral.level import ZERO_OFFSET
from nsc.kinds.spectral.pitch import BLOCK
from nsc.loading.check import require
from nsc.loading.litert import Graphs, Ports, naming_misfits

Floats = NDArray[np.float32]

SAMPLES, LEVELS, OFFSETS, LSF, GAINS = "samples", "levels", "offsets", "lsf", "gains"  # names of the graphs' ports
NOISE, USED = "noise", "used"
MOST_HISTORY = 64  # frames
MOST_LAMBDA = 10
MOST_STATE = 1 << 18  # numbers


@dataclass(frozen=True)
class SpectralSettings:
    """The settings of a spectral cascade that encoder and decoder need.

    depth: number of codecs.
    hop: new samples of a spectrum, and its bins.
    history: frames of the past that the networks need to see.
    look_ahead: frames of the future that the encoder sees, 0 or 1.
    group_frames: frames in a group by default.
    offset: index of the step offset by default.
    pre_emphasis: whether speech is filtered ahead of the transform.
    spectra_per_frame: that share one set of LSFs.
    rdo_lambda: squared error, in units of the step, that a bit is worth to the encoder; 0: always the nearest bins.
    noise_fill: whether the decoder adds noise.
    enhancer_state: numbers that the enhancer of decoded speech remembers; 0 where there is none.
    conceals: whether a network conceals what was lost.
    encoder_state, decoder_state: numbers that networks remember of the past, so that they see its frames at the start
        of a stream alone; 0 for those that are given frames of the past in every call.
    """

    depth: int
    hop: int
    history: int
    look_ahead: int = 0
    group_frames: int = 16
    offset: int = ZERO_OFFSET
    pre_emphasis: bool = True
    spectra_per_frame: int = SPECTRA_PER_FRAME
    rdo_lambda: float = 0.0
    noise_fill: bool = False
    enhancer_state: int = 0
    conceals: bool = False
    encoder_state: int = 0
    decoder_state: int = 0

    @property
    def frame_seconds(self) -> float:
        """Of new speech."""
        return self.spectra_per_frame * self.hop / SAMPLE_RATE

    def frames_of(self, num_samples: int) -> int:
        """Frames of a signal of so many samples."""
        return number_of_frames(num_samples, self.hop, self.spectra_per_frame)


def check_settings(settings: SpectralSettings) -> None:
    """Raises UserError where a number is beyond what any model needs."""
    spectra, weight = settings.spectra_per_frame, settings.rdo_lambda
    known = ", ".join(map(str, version_3.SPECTRA_PER_FRAME))
    spectra_exist = type(spectra) is int and spectra in version_3.SPECTRA_PER_FRAME  # True is no number
    require(spectra_exist, "spectra_per_frame", f"one of {known}", spectra)
    bounds = {
        "depth": (1, MOST_LAYERS if spectra == SPECTRA_PER_FRAME else version_3.MOST_LAYERS),
        "hop": (HOP_UNIT, 16 * HOP_UNIT),
        "history": (1, MOST_HISTORY),
        "look_ahead": (0, 1),
        "group_frames": (1, MOST_FRAMES),
        "offset": (0, version_2.OFFSETS - 1),
    } | dict.fromkeys(("enhancer_state", "encoder_state", "decoder_state"), (0, MOST_STATE))
    for name, (lowest, highest) in bounds.items():
        value = getattr(settings, name)
        within = type(value) is int and lowest <= value <= highest
        require(within, name, f"a whole number from {lowest} to {highest}", value)
    for name in ("pre_emphasis", "noise_fill", "conceals"):
        value = getattr(settings, name)
        require(isinstance(value, bool), name, "true or false", value)
    is_weight = type(weight) in (int, float) and 0 <= weight <= MOST_LAMBDA
    require(is_weight, "rdo_lambda", f"a number from 0 to {MOST_LAMBDA}", weight)
    for unit in (HOP_UNIT, BLOCK if settings.enhancer_state else 1):
        require(settings.hop % unit == 0, "hop", f"a multiple of {unit}", settings.hop)
    goes_on = not settings.conceals or settings.decoder_state > 0
    require(goes_on, "decoder_state", "numbers, from which a concealment goes on", settings.decoder_state)


def check_coder(settings: SpectralSettings, coder: SpectralCoder) -> None:
    """Raises UserError where a coder is not one of the symbols of a model of these settings."""
    expected = settings.depth, settings.hop, settings.spectra_per_frame
    found = len(coder.codecs), len(coder.codecs[0].offsets), coder.spectra_per_frame
    if found != expected:
        codecs, bins, spectra = expected
        raise UserError(
            f"tables: expected {codecs} codecs of {bins} bins and {spectra} spectra per frame, found {found[0]},"
            f" {found[1]} and {found[2]}"
        )
    if settings.rdo_lambda and any(codec.bins is None for codec in coder.codecs):
        raise UserError("tables: expected the bins of every codec's quantiser, found none")


class Quantised(NamedTuple):
    """What an encoder's network makes of frames.

    symbols: with the index of the nearest bin of every code.
    codes: what each codec quantised, float32 [spectra, bins]; none for models that always take the nearest bin.
    state: after these frames.
    """

    symbols: SpectralSymbols
    codes: tuple[Floats, ...]
    state: Floats


class SpectralNetwork(Protocol):
    """Transform, quantisers and networks of a spectral cascade.

    It remembers nothing from call to call: either the caller hands over its state, or that has no numbers, and frames
    of the past come before those of interest in every call.
    """

    def quantised(self, samples: Floats, levels: Floats, offsets: Floats, layers: int, state: Floats) -> Quantised:
        """The symbols of frames, and what they were before.

        Args:
            samples: float32 [(spectra + 1) hop], emphasised.
            levels: float32 [spectra], amplitude that counts as 1.
            offsets: float32 [spectra], of the logarithm of the step.
            layers: how many codecs.
            state: float32 [encoder_state], after the frames before these; zeros at the start.
        """
        ...

    def samples(
        self, symbols: SpectralSymbols, levels: Floats, offsets: Floats, noise: Floats | None, state: Floats
    ) -> tuple[Floats, Floats]:
        """Emphasised samples [(spectra + 1) hop] of frames, and the state after them.

        The last hop lacks its overlap, and so does the first where the state has no numbers.

        Args:
            symbols: of the frames, of as many codecs as are there.
            levels: as for `quantised`.
            offsets: as for `quantised`.
            noise: float32 [spectra, hop] of unit variance, for models whose decoder adds noise.
            state: float32 [decoder_state], after the frames before these; zeros at the start.
        """
        ...


class GraphNetwork:
    """Implements `SpectralNetwork` by an encoder and a decoder graph of any number of frames.

    The encoder takes samples, levels and offsets and gives the symbols of all codecs. The decoder takes all symbols,
    levels, offsets, noise where it adds any, and which codecs are used; it gives samples.
    """

    def __init__(self, graphs: Graphs, settings: SpectralSettings) -> None:
        self._graphs, self._settings = graphs, settings

    def quantised(self, samples: Floats, levels: Floats, offsets: Floats, layers: int, state: Floats) -> Quantised:
        inputs = {SAMPLES: samples, LEVELS: levels, OFFSETS: offsets} | _given(state)
        numbers = range(1, layers + 1)
        with naming_misfits():
            found = self._graphs("encoder", **{name: values.astype(np.float32) for name, values in inputs.items()})
            indices = tuple(found[codec_port(number)] for number in numbers)
            codes = tuple(found[code_port(number)] for number in numbers) if self._settings.rdo_lambda else ()
            symbols = SpectralSymbols(found[LSF], found[GAINS], indices)
            return Quantised(symbols, codes, found[STATE] if state.size else state)

    def samples(
        self, symbols: SpectralSymbols, levels: Floats, offsets: Floats, noise: Floats | None, state: Floats
    ) -> tuple[Floats, Floats]:
        whole, used = in_all_codecs(symbols, self._settings.depth, self._settings.hop)
        codes = {codec_port(n): values for n, values in enumerate(whole.indices, start=1)}
        steps = {LEVELS: levels.astype(np.float32), OFFSETS: offsets.astype(np.float32)}
        sent = {LSF: whole.lsf, GAINS: whole.gains, USED: used} | codes
        added = {} if noise is None else {NOISE: noise}
        with naming_misfits():
            found = self._graphs("decoder", **sent, **steps, **added, **_given(state))
            return found[SAMPLES], found[STATE] if state.size else state


def _given(state: Floats) -> dict[str, Floats]:
    return {STATE: state} if state.size else {}


def in_all_codecs(symbols: SpectralSymbols, depth: int, hop: int) -> tuple[SpectralSymbols, Floats]:
    """Symbols with zeros for codecs that are not there, up to `depth`; and 1 for each that is, else 0."""
    present = len(symbols.indices)
    missing = silence(len(symbols.lsf), depth - present, hop, symbols.spectra_per_frame).indices
    used = np.array([1.0] * present + [0.0] * len(missing), np.float32)
    return symbols._replace(indices=(*symbols.indices, *missing)), used


def graph_ports(settings: SpectralSettings) -> dict[str, Ports]:
    """What goes into the graphs of a model of these settings, and comes out of them."""
    spectra, numbers = (None, settings.hop), range(1, settings.depth + 1)
    symbols = {LSF: (None, LSF_ORDER), GAINS: (None,)} | {codec_port(number): spectra for number in numbers}
    codes = {code_port(number): spectra for number in numbers} if settings.rdo_lambda else {}
    sizes = settings.encoder_state, settings.decoder_state
    kept: list[dict[str, tuple[int | None, ...]]] = [{STATE: (size,)} if size else {} for size in sizes]
    steps, noise = {LEVELS: (None,), OFFSETS: (None,)}, {NOISE: spectra} if settings.noise_fill else {}
    parts = {"enhancer": enhancer_ports(settings.enhancer_state)} if settings.enhancer_state else {}
    parts |= {"concealment": concealment_ports(settings.hop)} if settings.conceals else {}
    return {
        "encoder": Ports({SAMPLES: (None,)} | steps | kept[0], symbols | codes | kept[0]),
        "decoder": Ports(symbols | steps | noise | {USED: (settings.depth,)} | kept[1], {SAMPLES: (None,)} | kept[1]),
    } | parts


def codec_port(number: int) -> str:
    """The name of the input or output that holds the indices of codec `number`, from 1."""
    return f"codec_{number}"


def code_port(number: int) -> str:
    """The name of the output that holds what codec `number`, from 1, quantised."""
    return f"code_{number}"


def silence(frames: int, depth: int, hop: int, spectra_per_frame: int) -> SpectralSymbols:
    """Frames whose gain is the lowest, which decode to zeros."""
    spectra = spectra_per_frame * frames
    codes = tuple(np.zeros((spectra, hop), np.int32) for _ in range(depth))
    return SpectralSymbols(np.zeros((frames, LSF_ORDER), np.int32), np.zeros(spectra, np.int32), codes)


def frames_between(symbols: SpectralSymbols, first: int, end: int) -> SpectralSymbols:
    """Frames `first` to `end` - 1."""
    per_frame = symbols.spectra_per_frame
    spectra = slice(per_frame * first, per_frame * end)
    return SpectralSymbols(symbols.lsf[first:end], symbols.gains[spectra], tuple(i[spectra] for i in symbols.indices))


def joined(*pieces: SpectralSymbols) -> SpectralSymbols:
    """Consecutive frames in one piece."""
    lsf, gains, indices = zip(*pieces, strict=True)
    return SpectralSymbols(
        np.concatenate(lsf), np.concatenate(gains), tuple(map(np.concatenate, zip(*indices, strict=True)))
    )
