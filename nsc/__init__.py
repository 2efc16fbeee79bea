"""Neural speech codec: trained models that code speech of 16 kHz at 6 to 32 kbps.

>>> import nsc, soundfile
>>> samples, _ = soundfile.read("speech.wav", dtype="float32")  # 16 kHz, one channel
>>> data = nsc.encode(samples, "cq")
>>> decoded, damage = nsc.decode(data)
>>> nsc.info(data).kbps()

Streams go through `nsc.Encoder` and `nsc.Decoder` in blocks of any size, calls in packets through `nsc.PacketEncoder`
and `nsc.PacketDecoder`. Invalid arguments raise `nsc.UserError`, a file that cannot be decoded its subclass
`nsc.BitstreamError`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nsc.version import __version__

if TYPE_CHECKING:
    from nsc.api import decode, encode, load, models, regroup
    from nsc.coding.decoder import Decoder
    from nsc.coding.encoder import Encoder
    from nsc.coding.interface import Model
    from nsc.coding.packets import PacketDecoder, PacketEncoder
    from nsc.coding.playout import Damage
    from nsc.coding.whole import Decoded
    from nsc.constants import SAMPLE_RATE
    from nsc.errors import UserError
    from nsc.format import BitstreamError, Header, Info, Packets, file_of, info, packets_of

# Imported when first used: the command's `info` should not wait for numpy, nor a user of `models` for LiteRT.
_HOMES = {
    "SAMPLE_RATE": "nsc.constants",
    "BitstreamError": "nsc.format",
    "Damage": "nsc.coding.playout",
    "Decoded": "nsc.coding.whole",
    "Decoder": "nsc.coding.decoder",
    "Encoder": "nsc.coding.encoder",
    "Header": "nsc.format",
    "Info": "nsc.format",
    "Model": "nsc.coding.interface",
    "PacketDecoder": "nsc.coding.packets",
    "PacketEncoder": "nsc.coding.packets",
    "Packets": "nsc.format",
    "UserError": "nsc.errors",
    "decode": "nsc.api",
    "encode": "nsc.api",
    "file_of": "nsc.format",
    "info": "nsc.format",
    "load": "nsc.api",
    "models": "nsc.api",
    "packets_of": "nsc.format",
    "regroup": "nsc.api",
}

__all__ = [
    "SAMPLE_RATE",
    "BitstreamError",
    "Damage",
    "Decoded",
    "Decoder",
    "Encoder",
    "Header",
    "Info",
    "Model",
    "PacketDecoder",
    "PacketEncoder",
    "Packets",
    "UserError",
    "__version__",
    "decode",
    "encode",
    "file_of",
    "info",
    "load",
    "models",
    "packets_of",
    "regroup",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nsc' has no attribute '{name}'")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
