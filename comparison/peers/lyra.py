"""Lyra V2, a neural codec at 3.2 to 9.2 kbps, by the LiteRT files of its release."""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comparison.peers.peer import Packed, Peer, PeerError, Samples
from runs.runs import version_of
from utilities import INT16_SCALE

FOLDER_VARIABLE = "LYRA_DIR"
FILES = ("soundstream_encoder.tflite", "quantizer.tflite", "lyragan.tflite")
SOURCE = "https://github.com/google/lyra, folder lyra/model_coeffs (Apache-2.0)"
RUNTIME = "ai-edge-litert"
HOP = 320  # samples, 20 ms
INDEX_BITS = 4
MOST_QUANTIZERS = 46
QUANTIZERS = {"3.2": 16, "6": 30, "9.2": 46}  # by kbps
DELAY_MS = 20.0  # one frame; its networks look no further
DELAY = 0  # measured: what it is late by its frame is taken off by coding whole frames
MARGIN = 16  # less than any period of the pitch


@dataclass(frozen=True)
class LyraPeer(Peer):
    """Lyra V2 without discontinuous transmission.

    Attributes:
        quantizers: of the residual vector quantiser, of 4 bits each.
    """

    quantizers: int = MOST_QUANTIZERS

    def commands(self) -> list[str]:
        return [f"{name} by LiteRT, a frame of 20 ms a call, {self.quantizers} quantisers of 4 bits" for name in FILES]

    def missing(self) -> str:
        folder = folder_of_files()
        absent = [name for name in FILES if not (folder and (folder / name).is_file())]
        if absent:
            found = f"{folder} without {', '.join(absent)}" if folder else "no folder of them"
            return f"Lyra V2's model files, found {found}: give --lyra_dir or {FOLDER_VARIABLE}; they are in {SOURCE}"
        return "" if version_of(RUNTIME) else f"LiteRT, found none: pip install {RUNTIME}"

    def versions(self) -> dict[str, str]:
        folder = folder_of_files()
        digests = _digests(folder) if folder else {}
        files = {f"Lyra {name}": f"sha256 {each}" for name, each in digests.items()}
        return {"LiteRT": version_of(RUNTIME) or ""} | files

    def through(self, samples: Samples) -> Packed:
        folder = folder_of_files()
        if folder is None:
            raise PeerError(f"{self.name} needs {self.missing()}")
        frames = -(-len(samples) // HOP) + 1  # one more, for what comes late
        padded = np.zeros(frames * HOP, np.float32)
        padded[: len(samples)] = samples / INT16_SCALE
        codec = _Networks(folder, self.quantizers)
        decoded = [codec.through(frame) for frame in padded.reshape(frames, HOP)]
        return Packed(np.concatenate(decoded), (frames - 1) * self.quantizers * INDEX_BITS)


def folder_of_files() -> Path | None:
    """Where the environment says that the model files are."""
    value = os.environ.get(FOLDER_VARIABLE, "")
    return Path(value) if value else None


def use_folder(folder: Path) -> None:
    """Has this process, and those that it starts, look for the model files in a folder."""
    os.environ[FOLDER_VARIABLE] = str(folder.resolve())


@functools.cache
def _digests(folder: Path) -> dict[str, str]:
    paths = [folder / name for name in FILES if (folder / name).is_file()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in paths}


class _Networks:
    """Encoder, quantiser and decoder with the state of one signal."""

    def __init__(self, folder: Path, quantizers: int) -> None:
        self._quantizers = np.array(quantizers, np.int32)
        self._encoder, quantizer, self._decoder = (_interpreter(folder / name) for name in FILES)
        self._encode = quantizer.get_signature_runner("encode")
        self._decode = quantizer.get_signature_runner("decode")

    def through(self, frame: NDArray[np.float32]) -> NDArray[np.float32]:
        """Decoded samples [320] of samples [320]."""
        features = _invoke(self._encoder, frame)
        shape = self._encode.get_input_details()["input_frames"]["shape"]
        # the second output says how many bits an index has
        indices = self._encode(input_frames=features.reshape(shape), num_quantizers=self._quantizers)["output_0"]
        decoded = self._decode(encoding_indices=indices)["output_0"]
        return _invoke(self._decoder, decoded).reshape(HOP)


def _interpreter(path: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def _invoke(interpreter: Any, values: NDArray[Any]) -> NDArray[np.float32]:
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(given["index"], np.asarray(values, np.float32).reshape(given["shape"]))
    interpreter.invoke()
    return np.array(interpreter.get_tensor(made["index"]))


PEERS: tuple[Peer, ...] = tuple(
    LyraPeer(
        f"lyra-{kbps}",
        "Lyra V2",
        delay=DELAY,
        margin=MARGIN,
        delay_ms=DELAY_MS,
        waveform=False,
        quantizers=quantizers,
    )
    for kbps, quantizers in QUANTIZERS.items()
)
