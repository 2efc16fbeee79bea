"""Distill-MOS: quality as a network hears it that was distilled from a large speech model; it hears no reference."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import sys
import types
from typing import Any

import numpy as np

from measures.measurement import Signal, measurement


@measurement
def distill_mos(reference: Signal, decoded: Signal) -> float:
    """Distill-MOS of a decoded signal [n] at 16 kHz, about 1 to 5 (Stahl and Gamper, ICASSP 2025)."""
    import torch

    with torch.no_grad():
        return float(_network()(torch.from_numpy(decoded.astype(np.float32))[None])[0])


@functools.cache
def _network() -> Any:
    import torch

    _stand_in_for_torchaudio()
    import distillmos

    torch.set_num_threads(1)
    with contextlib.redirect_stdout(io.StringIO()):  # it says where its weights lie
        return distillmos.ConvTransformerSQAModel().eval()


def _stand_in_for_torchaudio() -> None:
    """The package imports torchaudio, for its command line only; most builds do not load beside torch for CPUs."""
    try:
        import torchaudio  # noqa: F401
    except (ImportError, OSError):
        name = "torchaudio"
        module = types.ModuleType(name)
        module.__spec__ = importlib.util.spec_from_loader(name, None)
        sys.modules[name] = module
