"""The cascade as encoder and decoder see it: contexts to symbols, symbols to frames, 16 frames at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nsc.format.version_1 import FRAME_LENGTH, FRAMES_PER_GROUP, LPC_PART, LPC_WINDOW_LENGTH
from nsc.loading.litert import Graphs, Ports, Sizes, naming_misfits

Symbols = NDArray[np.int32]  # [frames, positions, channels] of one part

CONTEXTS, FRAMES, LOST, USED = "contexts", "frames", "lost", "used"  # inputs and outputs of the graphs

# The network sees one group at a time, never more or fewer frames: another batch size moves codes by 1e-6.
NETWORK_BATCH = FRAMES_PER_GROUP


class Part(NamedTuple):
    """A part of the rate: its name, its symbols of one frame as (positions, channels) and its alphabet."""

    name: str
    shape: tuple[int, int]
    alphabet: int


@dataclass(frozen=True)
class CascadeSettings:
    """The settings of a cascade that encoder and decoder need.

    parts: of the rate, LPC first if there is any, then one per codec.
    gain: "group" or "utterance", see `gains.group_levels`.
    pre_emphasis, high_pass: filters ahead of the network.
    """

    parts: tuple[Part, ...]
    gain: str = "group"
    pre_emphasis: bool = True
    high_pass: bool = False

    @property
    def has_lpc(self) -> bool:
        """Whether the first part holds LSFs."""
        return self.parts[0].name == LPC_PART

    @property
    def depth(self) -> int:
        """Number of codecs."""
        return len(self.parts) - self.has_lpc

    def parts_of(self, layers: int) -> tuple[Part, ...]:
        """The parts of the first `layers` codecs."""
        return self.parts[: self.has_lpc + layers]


class Network(Protocol):
    """Quantisers and networks of a cascade, on 16 frames at a time. It remembers nothing from call to call."""

    def symbols(self, contexts: NDArray[np.float32], layers: int) -> Sequence[Symbols]:
        """The symbols int32 [16, positions, channels] of each part of the first `layers` codecs, in order.

        Args:
            contexts: float32 [16, 1024], each frame with 256 samples on both sides, emphasised, at unit level.
            layers: how many codecs.
        """
        ...

    def frames(self, symbols: Sequence[Symbols], lost: NDArray[np.float32]) -> NDArray[np.float32]:
        """Windowed frames, float32 [16, 512] at unit level, ready for plain overlap-add.

        Args:
            symbols: int32 [16, positions, channels] of each part, as many codecs as are there.
            lost: float32 [16], 0 for frames that arrived. A frame that repeats the symbols of one `lost` frames ago
                has its formants widened and its residual faded accordingly.
        """
        ...


class GraphNetwork:
    """Implements `Network` by an encoder and a decoder graph.

    The encoder takes `contexts` and gives the symbols of all parts. The decoder takes the symbols of all parts, `lost`,
    and which codecs are `used`; it gives `frames`.
    """

    def __init__(self, graphs: Graphs, parts: Sequence[Part], depth: int) -> None:
        """Takes the graphs, and the parts and number of codecs of the model."""
        self._graphs, self._parts, self._depth = graphs, tuple(parts), depth

    def symbols(self, contexts: NDArray[np.float32], layers: int) -> list[Symbols]:
        kept = self._parts[: len(self._parts) - self._depth + layers]
        with naming_misfits():
            found = self._graphs("encoder", contexts=contexts.astype(np.float32, copy=False))
            return [found[port_name(part)] for part in kept]

    def frames(self, symbols: Sequence[Symbols], lost: NDArray[np.float32]) -> NDArray[np.float32]:
        missing = len(self._parts) - len(symbols)
        inputs = {port_name(part): values for part, values in zip(self._parts, symbols, strict=False)}
        for part in self._parts[len(symbols) :]:
            inputs[port_name(part)] = np.zeros((len(lost), *part.shape), np.int32)
        used = np.array([1.0] * (self._depth - missing) + [0.0] * missing, np.float32)
        with naming_misfits():
            return self._graphs("decoder", **inputs, lost=lost, used=used)[FRAMES]


def graph_ports(settings: CascadeSettings) -> dict[str, Ports]:
    """What goes into the graphs of a model of these settings, and comes out of them."""
    symbols: Sizes = {port_name(part): (NETWORK_BATCH, *part.shape) for part in settings.parts}
    state: Sizes = {LOST: (NETWORK_BATCH,), USED: (settings.depth,)}
    return {
        "encoder": Ports({CONTEXTS: (NETWORK_BATCH, LPC_WINDOW_LENGTH)}, symbols),
        "decoder": Ports({**symbols, **state}, {FRAMES: (NETWORK_BATCH, FRAME_LENGTH)}),
    }


def port_name(part: Part) -> str:
    """The name of the input or output that holds a part's symbols."""
    return part.name.replace(" ", "_")


def network_symbols(network: Network, contexts: NDArray[np.float32], parts: Sequence[Part]) -> dict[str, Symbols]:
    """The symbols by part of contexts [frames, 1024] at unit level."""
    layers = sum(part.name != LPC_PART for part in parts)
    count = len(contexts)
    padded = np.pad(contexts, ((0, -count % NETWORK_BATCH), (0, 0)))
    batches = [
        network.symbols(padded[start : start + NETWORK_BATCH], layers) for start in range(0, count, NETWORK_BATCH)
    ]
    return {part.name: np.concatenate([batch[place] for batch in batches])[:count] for place, part in enumerate(parts)}


def network_frames(
    network: Network, symbols: Mapping[str, Symbols], lost: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Windowed frames [frames, 512] at unit level of symbols [frames, positions, channels] by part.

    Args:
        network: which decodes.
        symbols: of the parts, in order.
        lost: float32 [frames], see `Network.frames`; None where all frames arrived.
    """
    count = len(next(iter(symbols.values())))
    lost = np.zeros(count, np.float32) if lost is None else lost
    frames = []
    for start in range(0, count, NETWORK_BATCH):
        batch = [_padded(values[start : start + NETWORK_BATCH]) for values in symbols.values()]
        frames.append(network.frames(batch, _padded(lost[start : start + NETWORK_BATCH])))
    return np.concatenate(frames)[:count]


def _padded(values: NDArray) -> NDArray:
    return np.pad(values, [(0, NETWORK_BATCH - len(values)), *[(0, 0)] * (values.ndim - 1)])
