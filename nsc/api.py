"""Public API: models by name, signals to bytes and back."""

from __future__ import annotations

from pathlib import Path

from numpy.typing import ArrayLike

from nsc import arguments
from nsc.coding import whole
from nsc.coding.interface import Model
from nsc.coding.whole import Decoded, Rate
from nsc.errors import UserError
from nsc.format import WrongModelError, unpack_header
from nsc.loading import folder
from nsc.loading.find import DEFAULT_MODEL, all_models, find_model
from nsc.loading.folder import Description


def models() -> list[Description]:
    """The models that can be found by name: those that ship, and those in the folder that NSC_MODELS names.

    >>> [model.name for model in nsc.models()]
    ['cq', 'cq-1', 'cq-2', 'cq-9k', 'cq-16k', 'cq-24k', 'cq-scalable', 'cq-scalable-1']
    """
    return all_models()


def load(name: str | Path = DEFAULT_MODEL, *, threads: int = 1) -> Model:
    """Loads a model. Threads may share it; their calls are serialised.

    >>> model = nsc.load("cq")

    Args:
        name: name or hash of a model, or a folder written by `python -m export`.
        threads: number of threads to run its networks with.

    Raises:
        UserError: there is no such model, its files are damaged, or `threads` is out of range.
    """
    arguments.whole_number("threads", threads, 1, arguments.MOST_THREADS)
    if not isinstance(name, str | Path):
        raise UserError(f"expected the name, the hash or the folder of a model, found {arguments.brief(name)}")
    return folder.load(find_model(name), threads)


def encode(
    samples: ArrayLike,
    model: Model | str | Path = DEFAULT_MODEL,
    layers: int | None = None,
    *,
    kbps: float | None = None,
    quality: float | None = None,
    bounded: bool = False,
    spans: int | None = None,
    refresh: int | None = None,
) -> bytes:
    """An .nsc file of speech.

    >>> data = nsc.encode(samples, "cq", kbps=12)

    Args:
        samples: floats [n] from -1 to 1, one channel at 16 kHz.
        model: a loaded model, or its name, hash or folder; load it once to code many signals.
        layers: number of layers to use; None for all.
        kbps: rate of the whole file, for variable-rate models; None for the model's default.
        quality: from 0 to 10, instead of kbps.
        bounded: no group exceeds kbps.
        spans: group length in units of 0.48 s, or of 40 ms for models on the lapped spectrum; longer groups save bytes
            and add delay. None for the model's default.
        refresh: writes packets, see `packets_of`, of which every `refresh`-th decodes on its own; kbps then counts
            packets without framing, and their default length is 40 ms. None for groups, all of which decode on their
            own.

    Raises:
        UserError: samples that are not finite or far beyond full scale, more layers than the model has, a rate that it
            does not support, or an argument of the wrong type.
    """
    layers = arguments.layers_of(layers)
    spans = arguments.whole_number("spans", spans, 1, arguments.MOST_SPANS)
    refresh = arguments.whole_number("refresh", refresh, 1, arguments.MOST_SPANS)
    arguments.check_rate(kbps, quality, bounded)
    rate = Rate(kbps, quality, bounded)
    return whole.encode(samples, arguments.model_of(model), layers, spans=spans, refresh=refresh, rate=rate)


def decode(data: bytes, model: Model | str | Path | None = None, layers: int | None = None) -> Decoded:
    """The speech of an .nsc file, of the declared length even if parts of the file are damaged.

    >>> samples, damage = nsc.decode(data)

    Args:
        data: the file.
        model: the model that it was coded with; None finds it by the hash in the file.
        layers: number of layers to decode; None for all in the file.

    Returns:
        Samples float32 [n] at 16 kHz, and what had to be concealed.

    Raises:
        BitstreamError: the header is unreadable, the model is another or not available, or too little is left.
        UserError: more layers than the file has, or an argument of the wrong type.
    """
    data, layers = arguments.file_bytes(data), arguments.layers_of(layers)
    return whole.decode(data, model_of(data) if model is None else arguments.model_of(model), layers)


def regroup(
    data: bytes, model: Model | str | Path | None = None, *, spans: int | None = None, refresh: int | None = None
) -> bytes:
    """An .nsc file in groups of another length, or in packets: the same symbols, which decode to the same speech.

    >>> header, packets = nsc.packets_of(nsc.regroup(data, refresh=5))

    Args:
        data: an undamaged file of known length, of a model on the lapped spectrum.
        model: as for `decode`.
        spans: group length, as for `encode`. Groups can be merged only if they share level and step offset.
        refresh: for packets, as for `encode`.

    Raises:
        BitstreamError: the file is damaged, or its model is another or not available.
        UserError: its model has no groups of this length, or a group would mix levels or step offsets.
    """
    data = arguments.file_bytes(data)
    spans = arguments.whole_number("spans", spans, 1, arguments.MOST_SPANS)
    refresh = arguments.whole_number("refresh", refresh, 1, arguments.MOST_SPANS)
    found = model_of(data) if model is None else arguments.model_of(model)
    return found.regrouped(data, spans, refresh)


def model_of(data: bytes) -> Model:
    """The model that an .nsc file was coded with.

    Raises:
        BitstreamError: the header cannot be read, or the model is not available.
    """
    digest = unpack_header(data).model
    try:
        return load(digest)
    except UserError as error:
        raise WrongModelError(f"the file needs model {digest}: {error}") from None
