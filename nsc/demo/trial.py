"""One trial of the demo: a recording through a model and a lossy channel, and all that the page shows of it."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
import soundfile

from nsc import arguments
from nsc import format as bitstream
from nsc.audio import open_speech, to_int16
from nsc.coding import whole
from nsc.coding.encoder import Encoder
from nsc.coding.interface import Model, Signal
from nsc.coding.whole import Rate
from nsc.constants import SAMPLE_RATE
from nsc.errors import UserError
from nsc.format.channel import lose_groups
from nsc.loading.find import find_model
from nsc.loading.folder import load

Number = TypeVar("Number", int, float)

LONGEST_SECONDS = 60  # of a recording; what comes after is left out


class Choice(NamedTuple):
    """What the page asks for.

    model: name, hash or folder.
    kbps: of the whole file; None for the model's own.
    spans: length of a group or packet; None for the model's own.
    refresh: every `refresh`-th packet stands alone; None for groups.
    redundancy: kbps, of those in all, of a copy of the packet before in each; None for none.
    layers: codecs of a cascade whose parts are kept; None for all.
    loss: share of groups or packets lost.
    burst: mean number of them lost in a row.
    """

    model: str
    kbps: float | None = None
    spans: int | None = None
    refresh: int | None = None
    redundancy: float | None = None
    layers: int | None = None
    loss: float = 0.0
    burst: float = 1.0

    @staticmethod
    def read(query: Mapping[str, str]) -> Choice:
        """The choice of an address's query.

        Raises:
            UserError: a value is no number within its bounds.
        """
        kbps, redundancy, loss, burst = (
            _number(query, name, float) for name in ("kbps", "redundancy", "loss", "burst")
        )
        spans, refresh, layers = (_number(query, name, int) for name in ("spans", "refresh", "layers"))
        arguments.check_rate(kbps, None, False)
        arguments.check_redundancy(redundancy, kbps, False)
        arguments.whole_number("spans", spans, 1, arguments.MOST_SPANS)
        arguments.whole_number("refresh", refresh, 1, arguments.MOST_SPANS)
        arguments.whole_number("layers", layers, 1, arguments.MOST_LAYERS)
        burst = 1.0 if burst is None else burst
        return Choice(query.get("model", ""), kbps, spans, refresh, redundancy, layers, loss or 0.0, burst)


def _number(query: Mapping[str, str], name: str, kind: Callable[[str], Number]) -> Number | None:
    try:
        return kind(query[name]) if query.get(name) else None
    except ValueError:
        expected = "a whole number" if kind is int else "a number"
        raise UserError(f"{name}: expected {expected}, found {arguments.brief(query[name])}") from None


class Trials:
    """Codes recordings, one at a time, with models that stay loaded."""

    def __init__(self) -> None:
        self._models: dict[str, Model] = {}
        self._turn = threading.Lock()  # of a model that threads must not share

    def run(self, recording: bytes, name: str, choice: Choice) -> dict[str, Any]:
        """The page's answer to a recording, ready for JSON.

        Raises:
            UserError: the recording cannot be read, or the model does not code so.
        """
        speech = open_speech(recording, name)
        signal = _beginning(speech.blocks)
        with self._turn:
            model = self._model(choice.model)
            data = _coded(signal, model, choice)
            data = bitstream.truncate(data, choice.layers) if choice.layers else data
            arrived = lose_groups(data, choice.loss, choice.burst, seed=0) if choice.loss else data
            decoded = whole.decode(arrived, model)
            bits, seconds = model.code_lengths(data)
        header = bitstream.unpack_header(data)
        if choice.redundancy:
            copies = [8 * len(group.parts[0]) / header.group_frames for group in bitstream.read_contents(data).groups]
            bits["copy"] = np.repeat(copies, header.group_frames)
        lost = sorted(_numbers(data) - _numbers(arrived))
        cut = speech.num_samples > len(signal)
        return {
            "original": _wav(signal),
            "decoded": _wav(decoded.signal),
            "file": base64.b64encode(data).decode(),
            "bytes": bitstream.sent_bytes(data),
            "seconds": len(signal) / SAMPLE_RATE,
            "delay_ms": 1000 * header.delay_samples / SAMPLE_RATE,
            "bits": {part: np.round(each, 1).tolist() for part, each in bits.items()},
            "unit_seconds": seconds,
            "group_seconds": header.group_samples / SAMPLE_RATE,
            "packets": len(_numbers(data)),
            "lost": lost,
            "restored": list(decoded.damage.restored),
            "concealed": sorted(set(decoded.damage.lost) - set(lost)),
            "notes": [*speech.notes, *([f"the first {LONGEST_SECONDS} s of it"] if cut else [])],
        }

    def _model(self, name: str) -> Model:
        if name not in self._models:
            self._models[name] = load(find_model(name))
        return self._models[name]


def _coded(signal: Signal, model: Model, choice: Choice) -> bytes:
    """A file of a signal; one whose packets carry copies is coded as a stream."""
    if choice.redundancy is None:
        return whole.encode(signal, model, spans=choice.spans, refresh=choice.refresh, rate=Rate(choice.kbps))
    encoder = Encoder(
        model,
        kbps=choice.kbps,
        spans=choice.spans,
        refresh=choice.refresh or 1,
        redundancy=choice.redundancy,
        num_samples=len(signal),
    )
    return encoder.write(signal) + encoder.finish()


def _numbers(data: bytes) -> set[int]:
    """Of the groups or packets in a file."""
    return {group.number for group in bitstream.read_contents(data).groups}


def _beginning(blocks: Any) -> Signal:
    most, found = LONGEST_SECONDS * SAMPLE_RATE, [np.zeros(0, np.float32)]
    for block in blocks:
        found.append(block)
        if sum(map(len, found)) >= most:
            break
    return np.concatenate(found)[:most]


def _wav(signal: Signal) -> str:
    buffer = io.BytesIO()
    soundfile.write(buffer, to_int16(signal), SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return base64.b64encode(buffer.getvalue()).decode()
