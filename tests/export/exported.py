"""Reference program around exported graphs: the loops that a program on another machine has to provide."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from constants import FRAMES_PER_GROUP, OVERLAP
from export.device import DESCRIPTION
from kinds.samples.batch import Coded, Signal
from kinds.samples.graphs import INPUT_LENGTH, PAST
from nsc.errors import UserError
from nsc.loading import litert
from utilities import GROUP_LENGTH, group_levels, number_of_frames

Arrays = dict[str, NDArray[Any]]
Runner = Callable[[Arrays], Arrays]


class Exported:
    """Encoder and decoder from a folder that `export.device.export_model` wrote."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        """Loads both graphs.

        Args:
            folder: with export.json.
            threads: of LiteRT's interpreter.

        Raises:
            UserError: no export, or the package ai-edge-litert is missing.
        """
        try:
            self.description: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text())
        except (OSError, ValueError) as error:
            raise UserError(f"{folder} holds no readable export ({error}); write it with python -m export") from None
        if "samples" not in self.description["span"]:
            raise UserError(
                f"{folder} holds graphs of any number of frames; `nsc` runs such models, this program spans"
            )
        self._runners = {name: _runner(folder, self.description, name, threads) for name in ("encoder", "decoder")}
        self._inputs = {name: self.description[name]["inputs"] for name in self._runners}
        self._parts = {port["name"]: port["part"] for port in self._inputs["decoder"] if "part" in port}

    def encode(self, signal: Signal) -> Coded:
        """The symbols of a signal [n] of 16 kHz, as `feed_forward.encode` gives them."""
        frames = number_of_frames(len(signal))
        spans = -(-frames // FRAMES_PER_GROUP)
        padded = np.pad(signal, (PAST, spans * GROUP_LENGTH + INPUT_LENGTH))
        carried = self._start("encoder", "level")
        # a model with one gain per utterance measures none, but is given it
        fixed = {} if carried else {"gain": group_levels(signal, "utterance")[:1].astype(np.int32)}
        found = []
        for start in range(0, spans * GROUP_LENGTH, GROUP_LENGTH):
            length = np.clip([len(signal) + PAST - start], 0, INPUT_LENGTH).astype(np.int32)
            samples = padded[start : start + INPUT_LENGTH]
            found.append(fixed | self._runners["encoder"]({"samples": samples, "length": length} | fixed | carried))
            carried = {name: found[-1][name] for name in carried}
        symbols = {part: np.concatenate([each[name] for each in found])[:frames] for name, part in self._parts.items()}
        return Coded(symbols, np.concatenate([each["gain"] for each in found]).astype(np.uint8), len(signal))

    def decode(self, coded: Coded) -> Signal:
        """The signal [num_samples] of symbols."""
        carried, blocks = self._start("decoder", "state"), []
        for span, gain in enumerate(coded.gain_indices):
            inputs = {"gain": np.array([gain], np.int32)} | carried
            for name, part in self._parts.items():
                values = coded.symbols[part][span * FRAMES_PER_GROUP : (span + 1) * FRAMES_PER_GROUP]
                inputs[name] = np.pad(values, ((0, FRAMES_PER_GROUP - len(values)), (0, 0), (0, 0)))
            outputs = self._runners["decoder"](inputs)
            carried = {"state": outputs["state"]}
            blocks.append(outputs["samples"])
        return np.concatenate(blocks)[OVERLAP : OVERLAP + coded.num_samples]

    def _start(self, graph: str, name: str) -> Arrays:
        """What an input gets with the first span; nothing where the graph has no such input."""
        ports = {port["name"]: port for port in self._inputs[graph]}
        return {name: np.full(ports[name]["shape"], ports[name]["start"], np.float32)} if name in ports else {}


def _runner(folder: Path, description: dict[str, Any], graph: str, threads: int) -> Runner:
    path, signature = str(folder / description[graph]["file"]), description[graph]["signature"]
    if description["format"] == "savedmodel":
        import tensorflow as tf

        model = tf.saved_model.load(path)

        def run_saved(inputs: Arrays) -> Arrays:
            # its variables live as long as the model
            outputs = model.signatures[signature](**{name: tf.constant(value) for name, value in inputs.items()})
            return {name: np.asarray(value) for name, value in outputs.items()}

        return run_saved
    run = litert.Runner(Path(path).read_bytes(), threads)
    return lambda inputs: run(**inputs)
