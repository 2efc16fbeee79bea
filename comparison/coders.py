"""Coders of a comparison: a peer, or one of our models through written .nsc files."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

import nsc
from comparison.peers import baselines
from comparison.results import Codec
from constants import SAMPLE_RATE
from nsc import format as bitstream
from nsc.coding.interface import Model, Signal
from nsc.errors import UserError
from nsc.format.channel import Channel, lose_groups
from nsc.loading.find import PRETRAINED
from utilities import INT16_SCALE, atomic_write, to_int16

# TensorFlow is imported where a model is loaded: the processes that serve peers would wait seconds for it.

Samples = NDArray[np.int16]
BLOCK = 320  # samples, 20 ms, in which speech comes
EVEN_STEPS = "even steps"  # in the name of a curve whose points have a quality, not a rate


class Version(NamedTuple):
    """A decoded file at one layer and loss.

    layer: 0 for a peer. loss: share of groups lost. bits: of the file, or of a peer's packets. delay: in samples.
    delay_ms: algorithmic delay. bands: share of packets in each band, where packets tell.
    """

    layer: int
    loss: float
    bits: int
    delay: int
    decoded: Path
    delay_ms: float = 0.0
    bands: Mapping[str, float] = MappingProxyType({})


class Coder(Protocol):
    """Codes signals; travels to other processes."""

    @property
    def codec(self) -> Codec:
        """Its description, for the record."""
        ...

    @property
    def losses(self) -> tuple[float, ...]:
        """Shares of groups lost, of which each decoded file has one."""
        ...

    def code(self, samples: Samples, cache_dir: Path) -> list[Version]:
        """A signal [n] of 16 kHz at every layer and loss; made once for the same content."""
        ...


@dataclass(frozen=True)
class PeerCoder:
    """Another codec by name, with the losses of a Gilbert channel where it conceals them."""

    name: str
    losses: tuple[float, ...] = (0.0,)
    burst: float = 1.0

    @property
    def codec(self) -> Codec:
        peer = baselines.PEERS[self.name]
        return Codec(
            peer.name,
            peer.name,
            peer.family,
            "peer",
            peer.high_pass,
            commands=tuple(peer.commands()),
            versions=peer.versions(),
            waveform=peer.waveform,
            band=peer.band,
        )

    def code(self, samples: Samples, cache_dir: Path) -> list[Version]:
        peer = baselines.PEERS[self.name]
        versions = []
        for loss in self.losses:
            channel = Channel(loss, self.burst, _seed(samples)) if loss else baselines.LOSSLESS
            coded, path = baselines.code_cached(peer, samples, cache_dir, channel)
            versions.append(Version(0, loss, coded.bits, coded.delay, path, peer.delay_ms, coded.bands))
        return versions


@dataclass(frozen=True)
class ModelCoder:
    """A saved model; each layer is a file of its own, cut from the whole one.

    Attributes:
        folder: of the model.
        codec: what it is, for the record.
        losses: shares of groups that a Gilbert channel loses.
        burst: mean number of groups lost in a row.
        kbps: of each file, for models of any rate, or the other codec whose rate each file gets; None for the
            model's own.
        quality: even steps in place of a rate, from 0 to 10: the rate follows the speech, without looking ahead.
        spans: length of a group in units of the model's shortest; None for the model's own.
        refresh: coded as in a call, block by block, in packets of the shortest length, of which every so many-th stands
            alone; the rate is found on the way. None for files.
        redundancy: kbps of copies in packets; None for none.
    """

    folder: Path
    codec: Codec
    losses: tuple[float, ...] = (0.0,)
    burst: float = 1.0
    kbps: float | str | None = None
    quality: float | None = None
    spans: int | None = None
    refresh: int | None = None
    redundancy: float | None = None

    def code(self, samples: Samples, cache_dir: Path) -> list[Version]:
        content = content_of(samples)
        folder = cache_dir / self.codec.name
        whole = self._whole_file(folder / f"{content}.nsc", samples, cache_dir)
        versions = []
        header = bitstream.unpack_header(whole)
        delay_ms = 1000 * header.delay_samples / SAMPLE_RATE
        for layer in range(1, header.layers + 1):
            cut = folder / f"{content}-{layer}.nsc"
            atomic_write(cut, bitstream.truncate(whole, layer))
            bits = 8 * bitstream.sent_bytes(cut.read_bytes())
            for loss in self.losses:
                decoded = cut.with_suffix(f".{loss:g}.{self.burst:g}.flac" if loss else ".flac")
                if not _is_intact(decoded, len(samples)):
                    baselines.write_flac(decoded, self._decoded(cut.read_bytes(), loss, samples))
                versions.append(Version(layer, loss, bits, 0, decoded, delay_ms))
        return versions

    def _whole_file(self, path: Path, samples: Samples, cache_dir: Path) -> bytes:
        if not path.is_file():
            signal = np.divide(samples, INT16_SCALE, dtype=np.float32)
            kbps = _kbps_of(self.kbps, samples, cache_dir) if isinstance(self.kbps, str) else self.kbps
            atomic_write(path, self._coded(signal, kbps))
        return path.read_bytes()

    def _coded(self, signal: Signal, kbps: float | None) -> bytes:
        model = load_alone(self.folder)
        if self.refresh is None:
            return nsc.encode(signal, model, kbps=kbps, quality=self.quality, spans=self.spans)
        packets = {"refresh": self.refresh, "redundancy": self.redundancy}
        encoder = nsc.Encoder(model, kbps=kbps, quality=self.quality, spans=1, **packets)  # type: ignore[arg-type]
        blocks = [encoder.write(signal[start : start + BLOCK]) for start in range(0, len(signal), BLOCK)]
        return b"".join([*blocks, encoder.finish()])

    def _decoded(self, data: bytes, loss: float, samples: Samples) -> Samples:
        """As long as the signal: after a last packet that was lost, there is silence."""
        if loss:
            data = lose_groups(data, loss, self.burst, _seed(samples))
        decoded = to_int16(nsc.decode(data, load_alone(self.folder)).signal)
        return np.pad(decoded, (0, len(samples) - len(decoded)))


def _kbps_of(peer: str, samples: Samples, cache_dir: Path) -> float:
    """What another codec takes for a signal."""
    coded, _ = baselines.code_cached(baselines.PEERS[peer], samples, cache_dir)
    return coded.bits / len(samples) * SAMPLE_RATE / 1000


def content_of(samples: Samples) -> str:
    """A signal's name by what it holds."""
    return hashlib.sha256(samples.astype("<i2").tobytes()).hexdigest()[:24]


def _seed(samples: Samples) -> int:
    """Of the channel: the same for all codecs."""
    return int(content_of(samples)[:8], 16)


def _is_intact(path: Path, length: int) -> bool:
    try:
        return bool(soundfile.info(path).frames == length)
    except (OSError, soundfile.SoundFileError):
        return False


@functools.cache
def load_alone(folder: Path) -> Model:
    """A model in a process that uses one thread, since each processor core has a process of its own.

    One that ships codes as it is installed, by its LiteRT graphs, which take a third of the time of the saved model.
    """
    run = folder.resolve().parent.parent
    if run.parent == PRETRAINED:
        return nsc.load(run)
    from runs.machine import import_tensorflow

    import_tensorflow()
    import tensorflow as tf

    from runs.saved_model import load_model

    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        pass  # this process has computed before and keeps its threads
    return load_model(folder).coding


def model_coder(name: str, check_dir: Path, losses: tuple[float, ...] = (0.0,), burst: float = 1.0) -> ModelCoder:
    """The coder of a saved model.

    Args:
        name: as `runs.stages.find_model` takes it, with LABEL= before it or not, and @KBPS after it for a rate of a
            model of any rate, @qQUALITY for even steps, or @CODEC for the rate that another codec takes for each file;
            models of one label share a curve.
        check_dir: folder of runs.
        losses: shares of groups to lose.
        burst: mean number of groups lost in a row.

    Raises:
        UserError: there is no such model.
    """
    from runs.runs import SHIPPED
    from runs.stages import DESCRIPTION, find_model

    label, equals, wanted = name.rpartition("=")
    if equals and not label:
        raise UserError(f"expected LABEL=MODEL, found '{name}'; give a label or omit the sign")
    wanted, kbps, quality = _model_and_rate(wanted)
    folder = find_model(wanted, check_dir)
    try:
        description = json.loads((folder / DESCRIPTION).read_text())
        digest, high_pass = str(description["sha256"])[:8], bool(description["config"]["high_pass"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder} holds no readable model ({error}); train it again or replace the copy") from None
    run = folder.resolve().parent.parent
    origin = f"{run.name}/{folder.name}"
    if run.parent == SHIPPED:
        label = label or run.name
    family = label or f"{run.name.partition('_')[2] or 'model'} {folder.name} {digest}"
    shown = f"{family} {digest}" if label else family
    if quality is not None:
        even, label = f"{family}, {EVEN_STEPS}", f"{family} quality {quality:g}"
        codec = Codec(f"{digest}-q{quality:g}", label, even, "model", high_pass, origin)
        return ModelCoder(folder, codec, losses, burst, quality=quality)
    if kbps is None:
        return ModelCoder(folder, Codec(digest, shown, family, "model", high_pass, origin), losses, burst)
    rate = f"at {kbps}" if isinstance(kbps, str) else f"{kbps:g}"
    codec = Codec(f"{digest}-{rate.replace(' ', '-')}", f"{family} {rate}", family, "model", high_pass, origin)
    return ModelCoder(folder, codec, losses, burst, kbps)


def with_groups_of(spans: int, model: ModelCoder) -> ModelCoder:
    """The same model with groups of another length, as a codec of its own with another delay."""
    name, text = f"{model.codec.name}-groups-{spans}", f"groups of {spans}"
    label, family = f"{model.codec.label}, {text}", f"{model.codec.family}, {text}"
    return replace(model, codec=replace(model.codec, name=name, label=label, family=family), spans=spans)


def in_packets(refresh: int, model: ModelCoder, redundancy: float | None = None) -> ModelCoder:
    """The same model in a call, in packets of which every so many-th stands alone, as a codec of its own.

    Args:
        refresh: see `ModelCoder`.
        model: the same.
        redundancy: kbps of the copy of the packet before that each one carries; None for none.
    """
    codec, text, name = model.codec, "in packets", f"{model.codec.name}-packets-{refresh}"
    if redundancy is not None:
        text, name = f"{text} with copies", f"{name}-copies-{redundancy:g}"
    codec = replace(codec, name=name, label=f"{codec.label} {text}", family=f"{codec.family} {text}")
    return replace(model, codec=codec, refresh=refresh, redundancy=redundancy)


def _model_and_rate(name: str) -> tuple[str, float | str | None, float | None]:
    """MODEL, MODEL@KBPS, MODEL@CODEC or MODEL@qQUALITY in its parts: the model, the rate, the quality."""
    model, at, rate = name.rpartition("@")
    if not at:
        return name, None, None
    if rate in baselines.PEERS:
        return model, rate, None
    try:
        return (model, None, float(rate[1:])) if rate.startswith("q") else (model, float(rate), None)
    except ValueError:
        raise UserError(f"expected MODEL@KBPS, found '{name}'; give a rate such as {model}@12") from None
