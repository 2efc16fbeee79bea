"""NISQA: quality and four of its dimensions as heard by a network that listeners taught; it hears no reference.

Its code and weights are used from a checkout of github.com/gabrielmittag/NISQA that NISQA_DIR names. The weights are
CC BY-NC-SA 4.0: they may measure, and they are no part of this project.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import soundfile

from constants import SAMPLE_RATE
from measures.measurement import Signal, lacking, measurements

FOLDER_VARIABLE: Final = "NISQA_DIR"
LIBRARY, WEIGHTS = Path("nisqa", "NISQA_lib.py"), Path("weights", "nisqa.tar")
PACKAGES: Final = ("torch", "librosa", "pandas", "matplotlib")
COLUMNS: Final = ("nisqa", "nisqa_noise", "nisqa_discontinuity", "nisqa_coloration", "nisqa_loudness")
SIZES: Final = (
    *("ms_seg_length", "ms_n_mels", "cnn_model", "cnn_c_out_1", "cnn_c_out_2", "cnn_c_out_3", "cnn_kernel_size"),
    *("cnn_dropout", "cnn_pool_1", "cnn_pool_2", "cnn_pool_3", "cnn_fc_out_h", "td", "td_sa_d_model", "td_sa_nhead"),
    *("td_sa_pos_enc", "td_sa_num_layers", "td_sa_h", "td_sa_dropout", "td_lstm_h", "td_lstm_num_layers"),
    *("td_lstm_dropout", "td_lstm_bidirectional", "td_2", "td_2_sa_d_model", "td_2_sa_nhead", "td_2_sa_pos_enc"),
    *("td_2_sa_num_layers", "td_2_sa_h", "td_2_sa_dropout", "td_2_lstm_h", "td_2_lstm_num_layers"),
    *("td_2_lstm_dropout", "td_2_lstm_bidirectional", "pool", "pool_att_h", "pool_att_dropout"),
)  # of the network, among the settings that lie beside its weights


def nisqa_missing() -> str:
    """What NISQA needs that is not here; empty if nothing is missing."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return f"set {FOLDER_VARIABLE} to a checkout of github.com/gabrielmittag/NISQA"
    absent = [str(name) for name in (LIBRARY, WEIGHTS) if not (Path(folder) / name).is_file()]
    return f"{FOLDER_VARIABLE} {folder} has no {' and no '.join(absent)}" if absent else lacking(PACKAGES, "jury")


@measurements(COLUMNS)
def nisqa(reference: Signal, decoded: Signal) -> list[float]:
    """NISQA of a decoded signal [n] at 16 kHz, 1 to 5 (Mittag et al., Interspeech 2021).

    Overall quality, then noisiness, discontinuity, coloration and loudness, each the better the higher.
    """
    import torch

    network = _network(Path(os.environ[FOLDER_VARIABLE]))
    segments, count = network.segments(decoded)
    with torch.no_grad():
        return network.model(segments[None], torch.tensor(count).reshape(1))[0].tolist()


class _Nisqa(NamedTuple):
    """The network, the library that it is of, and its settings."""

    model: Any
    library: Any
    settings: dict[str, Any]

    def segments(self, signal: Signal) -> tuple[Any, Any]:
        """Overlapping pieces of the mel spectrum [segments, 1, mels, frames] and how many there are."""
        names = {"sr": "sr", "n_fft": "n_fft", "hop_length": "hop_length", "win_length": "win_length"}
        names |= {"n_mels": "n_mels", "fmax": "fmax"}
        settings = {name: self.settings[f"ms_{each}"] for name, each in names.items()}
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():  # the library reads files only
            path = str(Path(folder, "decoded.wav"))
            soundfile.write(path, signal.astype(np.float32), SAMPLE_RATE)
            channel = self.settings.get("ms_channel")
            warnings.simplefilter("ignore", UserWarning)  # filters without a bin, at each file of 16 kHz
            spectrum = self.library.get_librosa_melspec(path, ms_channel=channel, **settings)
        lengths = [self.settings[f"ms_{name}"] for name in ("seg_length", "seg_hop_length", "max_segments")]
        return self.library.segment_specs(path, spectrum, *lengths)


@functools.cache
def _network(folder: Path) -> _Nisqa:
    import torch

    torch.set_num_threads(1)
    library = _module(folder / LIBRARY)
    saved = torch.load(folder / WEIGHTS, map_location="cpu", weights_only=False)
    settings = saved["args"]
    model = library.NISQA_DIM(**{name: settings[name] for name in SIZES if name in settings})
    model.load_state_dict(saved["model_state_dict"], strict=True)
    return _Nisqa(model.eval(), library, settings)


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
