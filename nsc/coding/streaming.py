"""Speech to an .nsc stream and back in blocks of any size; a whole file is a stream of one block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from cmrl import Cascade
from cmrl import Symbols as NetworkSymbols
from configs.config import Config
from constants import FRAMES_PER_GROUP, HOP, LPC_CONTEXT, LPC_WINDOW_LENGTH, OVERLAP, PRE_EMPHASIS
from network.feed_forward import Signal
from nsc.coding.concealment import Concealment
from nsc.entropy.context_model import Symbols, read_models
from nsc.entropy.entropy_model import symbols_by_part
from nsc.entropy.symbol_coding import SymbolCoder
from nsc.errors import UserError
from nsc.format import (
    HEADER_BYTES,
    MOST_SPANS,
    DamagedError,
    Gap,
    Group,
    GroupReader,
    Header,
    WrongModelError,
    pack_group,
    pack_header,
    read_contents,
    unpack_header,
)
from runs.saved_model import SavedModel
from utilities import (
    GROUP_LENGTH,
    frame_gains,
    group_level,
    high_pass_sections,
    level_indices,
    number_of_frames,
)

# The network sees one group at a time, never more or fewer frames: another batch size moves codes by 1e-6.
NETWORK_BATCH = FRAMES_PER_GROUP
LEAD = OVERLAP + LPC_CONTEXT  # samples that a frame's context reaches back before the frame's new ones
LOOK_AHEAD = LPC_CONTEXT  # samples that the context of a group's last frame reaches beyond the group
DE_EMPHASIS = PRE_EMPHASIS ** np.arange(64)  # impulse response of 1 / (1 - 0.68 z^-1): what is left out is -213 dB


def delay_samples(spans: int = 1) -> int:
    """Samples between a sample's arrival at an encoder and its way out of a decoder, at most.

    The encoder waits for a whole group and the look-ahead of its last frame, the decoder for the next group to
    cross-fade with.
    """
    return spans * GROUP_LENGTH + LOOK_AHEAD + OVERLAP


class Encoder:
    """Speech in, bytes out. What is given as one block or as many becomes the same bytes."""

    def __init__(
        self,
        model: SavedModel,
        layers: int | None = None,
        *,
        spans: int = 1,
        num_samples: int | None = None,
        gain_index: int | None = None,
    ) -> None:
        """Begins a stream.

        Args:
            model: what to code with.
            layers: codecs of the cascade to send; None for all.
            spans: stretches of 16 frames (0.48 s) in a group.
            num_samples: length of the signal where it is known; else the last group tells it.
            gain_index: of all groups, for models with one gain an utterance.

        Raises:
            UserError: the model does not have so many layers, or cannot code a stream.
        """
        depth = len(model.cascade.codecs)
        layers = depth if layers is None else layers
        if not 1 <= layers <= depth:
            raise UserError(f"expected 1 to {depth} layers, which the model has, found {layers}; choose among them")
        if not 1 <= spans <= MOST_SPANS:
            raise UserError(f"expected 1 to {MOST_SPANS} times 16 frames a group, found {spans}; choose among them")
        if model.cascade.config.gain == "utterance" and gain_index is None:
            raise UserError(
                "this model takes its gain from the whole utterance; encode a file, or train with gain group"
            )
        self._model = model
        self._layers = layers
        self._fixed_gain = gain_index
        self._known_length = num_samples
        config = model.cascade.config
        self._header = Header(model.digest, num_samples, layers, not config.time_domain, spans)
        self._coder = symbol_coder(model, layers)
        self._filters = _InputFilters(config)
        self._samples = np.zeros(0, np.float32)  # from the start of the group
        self._emphasised = np.zeros(LEAD, np.float32)  # from LEAD before it
        self._received = self._frames_sent = self._groups_sent = 0
        self._level = -np.inf
        self._output = [pack_header(self._header)]

    def write(self, block: Signal) -> bytes:
        """Takes samples [n] of 16 kHz, full scale 1; gives the bytes of the groups that they complete.

        Raises:
            UserError: samples that are not finite, or not one channel.
        """
        block = _checked(block)
        self._received += len(block)
        self._samples = np.concatenate([self._samples, block])
        self._emphasised = np.concatenate([self._emphasised, self._filters(block)])
        while len(self._samples) >= self._header.group_samples + LOOK_AHEAD:
            self._send(self._header.group_frames)
        return self._flush()

    def finish(self) -> bytes:
        """The bytes that are left when no more samples come."""
        if self._known_length not in (None, self._received):
            raise ValueError(f"expected {self._known_length} samples as declared, found {self._received}")
        frames = number_of_frames(self._received)
        # the last frames see zeros behind the signal, not what the filters make of zeros
        self._emphasised = np.pad(self._emphasised, (0, 2 * self._header.group_samples))
        while self._frames_sent < frames:
            left = frames - self._frames_sent
            self._send(min(left, self._header.group_frames), last=left <= self._header.group_frames)
        return self._flush()

    def _send(self, count: int, *, last: bool = False) -> None:
        gains = self._next_gains(count)
        contexts = np.lib.stride_tricks.sliding_window_view(self._emphasised, LPC_WINDOW_LENGTH)[::HOP][:count]
        contexts = contexts / frame_gains(gains, count)[:, None]
        symbols = network_symbols(self._model.cascade, contexts, self._layers)
        length = self._received if last and self._known_length is None else None
        padded_gains = [*gains.tolist(), *[0] * (self._header.spans - len(gains))]
        parts = tuple(self._coder.encode(symbols))
        self._output.append(pack_group(Group(self._groups_sent, tuple(padded_gains), parts, length)))
        self._groups_sent += 1
        self._frames_sent += count
        self._samples = self._samples[self._header.group_samples :]
        self._emphasised = self._emphasised[self._header.group_samples :]

    def _next_gains(self, count: int) -> NDArray[np.uint8]:
        spans = -(-count // FRAMES_PER_GROUP)
        if self._fixed_gain is not None:
            return np.full(spans, self._fixed_gain, np.uint8)
        levels = np.empty(spans)
        for span in range(spans):
            samples = self._samples[span * GROUP_LENGTH : (span + 1) * GROUP_LENGTH]
            levels[span] = self._level = group_level(samples, self._level)
        return level_indices(levels)

    def _flush(self) -> bytes:
        output = b"".join(self._output)
        self._output = []
        return output


class _InputFilters:
    """High-pass and pre-emphasis with a memory, equal to those of whole signals."""

    def __init__(self, config: Config) -> None:
        self._sections = high_pass_sections() if config.high_pass else None
        self._state = np.zeros((1, 2))
        self._taps = [1.0, -PRE_EMPHASIS] if config.pre_emphasis else [1.0, 0.0]
        self._last = np.zeros(1)

    def __call__(self, block: Signal) -> Signal:
        if self._sections is not None:
            from scipy.signal import sosfilt  # takes most of a second to import, and few models have the filter

            filtered, self._state = sosfilt(self._sections, block, zi=self._state)
            block = filtered.astype(np.float32)
        delayed = np.concatenate([self._last, block])
        self._last = delayed[-1:]
        return (self._taps[0] * delayed[1:] + self._taps[1] * delayed[:-1]).astype(np.float32)


def _checked(block: Signal) -> Signal:
    block = np.asarray(block, np.float32)
    if block.ndim != 1:
        raise UserError(f"expected samples of one channel, found an array of shape {block.shape}; mix the channels")
    if not np.isfinite(block).all():
        raise UserError("expected finite samples, found NaN or infinity; mend the signal")
    return block


def network_symbols(cascade: Cascade, contexts: NDArray[np.float32], layers: int) -> dict[str, Symbols]:
    """The symbols by part of contexts [frames, 1024] at unit level."""
    parts, count = cascade.parts(layers), len(contexts)
    padded = np.pad(contexts, ((0, -count % NETWORK_BATCH), (0, 0)))
    batches = [
        symbols_by_part(parts, cascade.encode(tf.constant(padded[start : start + NETWORK_BATCH]), layers))
        for start in range(0, count, NETWORK_BATCH)
    ]
    return {part.name: np.concatenate([batch[part.name] for batch in batches])[:count] for part in parts}


def network_frames(cascade: Cascade, symbols: dict[str, Symbols]) -> NDArray[np.float32]:
    """Windowed frames [frames, 512] at unit level of symbols [frames, positions, channels] by part."""
    count = len(next(iter(symbols.values())))
    frames = []
    for start in range(0, count, NETWORK_BATCH):
        batch = [values[start : start + NETWORK_BATCH] for values in symbols.values()]
        missing = NETWORK_BATCH - len(batch[0])
        tensors = [tf.constant(np.pad(values, ((0, missing), (0, 0), (0, 0)))) for values in batch]
        lsf = None if cascade.config.time_domain else tensors.pop(0)
        frames.append(np.asarray(cascade.decode(NetworkSymbols(lsf, tensors))[-1]))
    return np.concatenate(frames)[:count]


def symbol_coder(model: SavedModel, layers: int) -> SymbolCoder:
    """The coder of a model's first `layers` codecs."""
    return SymbolCoder(read_models(model.tables), {part.name: part.shape for part in model.cascade.parts(layers)})


def file_symbols(data: bytes, model: SavedModel) -> dict[str, Symbols]:
    """The symbols int32 [frames, positions, channels] of every part of an undamaged file of known length.

    Raises:
        BitstreamError: the header cannot be read, or groups are missing or damaged.
    """
    header, groups, missing, damaged = read_contents(data)
    if missing or damaged or header.num_samples is None or not groups:
        raise DamagedError(
            f"expected a whole file of known length, found {len(groups)} groups, {missing} missing and {damaged} bytes"
            " damaged; decode it instead"
        )
    coder, left, found = symbol_coder(model, header.layers), number_of_frames(header.num_samples), []
    for number, group in enumerate(groups):
        try:
            found.append(coder.decode(group.parts, min(left, header.group_frames)))
        except ValueError as error:
            raise DamagedError(
                f"expected the symbols of group {number}, found none ({error}); decode the file instead"
            ) from None
        left -= header.group_frames
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]}


@dataclass
class Damage:
    """What a decoder had to make up.

    lost: number of each group that was concealed, from 0.
    damaged_bytes: bytes that belong to no group.
    end_missing: a stream of unknown length broke off before its last group.
    """

    lost: list[int] = field(default_factory=list)
    damaged_bytes: int = 0
    end_missing: bool = False

    def __bool__(self) -> bool:
        return bool(self.lost or self.damaged_bytes or self.end_missing)


class Decoder:
    """Bytes in, speech out. Lost groups are concealed and listed in `damage`."""

    def __init__(self, model: SavedModel, layers: int | None = None) -> None:
        """Begins a stream that was made with `model`; of its layers the first `layers` are used, None for all."""
        self._model = model
        self._wanted_layers = layers
        self._reader: GroupReader | None = None
        self._start = b""
        self._concealment = Concealment(model.cascade)
        self._num_samples: int | None = None
        self._frames_done = self._groups_done = self._samples_given = 0
        self._gain = 0
        self._seam = np.zeros(OVERLAP, np.float32)
        self._emphasised = np.zeros(len(DE_EMPHASIS) - 1)
        self.damage = Damage()

    @property
    def header(self) -> Header | None:
        """What the stream says of itself, once that has arrived."""
        return self._reader.header if self._reader else None

    def write(self, data: bytes) -> Signal:
        """Takes bytes; gives the samples [n] of 16 kHz that they complete.

        Raises:
            BitstreamError: the header is not that of an .nsc stream of this model.
            UserError: the stream does not have so many layers.
        """
        return np.concatenate([np.zeros(0, np.float32), *self.pieces(data)])

    def finish(self) -> Signal:
        """The samples that are left when no more bytes come.

        Raises:
            BitstreamError: there was no header, or too little of the speech is there.
        """
        return np.concatenate([np.zeros(0, np.float32), *self.last_pieces()])

    def pieces(self, data: bytes) -> Iterator[Signal]:
        """As `write`, a group at a time, however much a few bytes stand for; to be used up before the next bytes."""
        if self._reader is None:
            self._start += data
            if len(self._start) < HEADER_BYTES:
                return
            data = self._begin()
        assert self._reader is not None
        yield from self._decode(self._reader.write(data))

    def last_pieces(self) -> Iterator[Signal]:
        """As `finish`, a group at a time."""
        if self._reader is None:
            unpack_header(self._start)
        assert self._reader is not None
        found = self._reader.finish()
        arrived, missing = self._reader.arrived, self._reader.missing
        if self._reader.too_little_arrived or not arrived:
            raise DamagedError(
                f"expected {max(1, arrived + missing)} groups, found {arrived}: too little of the speech is there;"
                " fetch the file again"
            )
        yield from self._decode(found)
        self.damage.damaged_bytes = self._reader.damaged_bytes
        self.damage.end_missing = self._num_samples is None

    def _begin(self) -> bytes:
        header = unpack_header(self._start)
        self._check(header)
        self._layers = header.layers if self._wanted_layers is None else self._wanted_layers
        self._coder = symbol_coder(self._model, self._layers)
        self._num_samples = header.num_samples
        self._reader = GroupReader(header)
        return self._start[HEADER_BYTES:]

    def _check(self, header: Header) -> None:
        cascade = self._model.cascade
        if header.model != self._model.digest:
            raise WrongModelError(
                f"expected a file of model {self._model.digest}, found one of model {header.model}; give that model"
            )
        if header.has_lpc == cascade.config.time_domain or header.layers > len(cascade.codecs):
            raise WrongModelError(f"expected the parts of model {header.model}, found others; encode the speech again")
        if self._wanted_layers is not None and not 1 <= self._wanted_layers <= header.layers:
            raise UserError(
                f"expected 1 to {header.layers} layers, which the file has, found {self._wanted_layers};"
                " choose among them"
            )

    def _decode(self, found: list[Group | Gap]) -> Iterator[Signal]:
        for each in found:
            if isinstance(each, Gap):
                yield from (self._conceal() for _ in range(each.groups))
            else:
                yield self._decode_group(each)

    def _decode_group(self, group: Group) -> Signal:
        if group.num_samples is not None:
            self._num_samples = group.num_samples
        count = self._frames_in_next()
        symbols = self._symbols(group, count)
        if symbols is None:
            return self._conceal()
        self._concealment.arrived(symbols)
        gains = np.array(group.gains, np.uint8)
        self._gain = group.gains[-(-count // FRAMES_PER_GROUP) - 1]
        self._groups_done += 1
        return self._synthesise(network_frames(self._model.cascade, symbols) * frame_gains(gains, count)[:, None])

    def _symbols(self, group: Group, count: int) -> dict[str, Symbols] | None:
        """A group's symbols; None where a checksum was right by chance."""
        assert self.header is not None
        if count < 1:
            return None
        try:
            return self._coder.decode(group.parts[: self.header.has_lpc + self._layers], count)
        except ValueError:
            return None

    def _conceal(self) -> Signal:
        count = self._frames_in_next()
        self.damage.lost.append(self._groups_done)
        self._groups_done += 1
        gains = np.full(-(-count // FRAMES_PER_GROUP), self._gain, np.uint8)
        return self._synthesise(self._concealment.frames(count) * frame_gains(gains, count)[:, None])

    def _frames_in_next(self) -> int:
        """Frames of the next group."""
        assert self.header is not None
        if self._num_samples is None:
            return self.header.group_frames
        return max(0, min(self.header.group_frames, number_of_frames(self._num_samples) - self._frames_done))

    def _synthesise(self, frames: NDArray[np.float32]) -> Signal:
        """Adds windowed frames [n, 512] to the signal; gives what no later frame will change."""
        if not len(frames):
            return np.zeros(0, np.float32)
        added = frames[:, :HOP].copy()
        added[1:, :OVERLAP] += frames[:-1, HOP:]
        added[0, :OVERLAP] += self._seam
        self._seam = frames[-1, HOP:]
        signal = added.reshape(-1)
        if not self._frames_done:
            signal = signal[OVERLAP:]  # before the signal's start
        self._frames_done += len(frames)
        if self._model.cascade.config.pre_emphasis:
            signal = self._de_emphasised(signal)
        if self._num_samples is not None:
            signal = signal[: max(0, self._num_samples - self._samples_given)]
        self._samples_given += len(signal)
        return signal

    def _de_emphasised(self, signal: Signal) -> Signal:
        samples = np.concatenate([self._emphasised, signal])
        self._emphasised = samples[len(signal) :]
        return np.convolve(samples, DE_EMPHASIS, "valid").astype(np.float32)
