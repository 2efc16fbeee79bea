"""What a model's description may say; checked before any of it is used. Needs no numpy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from nsc.errors import UserError, brief

MOST_BYTES: Final = 1 << 20  # of a description
MOST_LAYERS: Final = 63
MOST_SYMBOLS: Final = 1 << 12  # of a part and frame, each way
LARGEST_ALPHABET: Final = 1 << 16
LONGEST_NAME: Final = 64  # characters
MOST_KBPS: Final = 1000
HEX: Final = {"digest": re.compile("[0-9a-f]{8}"), "hash": re.compile("[0-9a-f]{64}")}


def check_description(values: Mapping[str, Any]) -> None:
    """Raises UserError where entries of a description are missing or of wrong types."""
    for name in ("kind", "name", "weights", "digest"):
        require(isinstance(values.get(name), str), name, "text", values.get(name))
    name = values["name"]
    printable = 0 < len(name) <= LONGEST_NAME and name.isprintable()
    require(printable, "name", f"1 to {LONGEST_NAME} printable characters", name)
    require(HEX["digest"].fullmatch(values["digest"]) is not None, "digest", "eight hex digits", values["digest"])
    require(isinstance(values.get("settings"), dict), "settings", "a table", values.get("settings"))
    files = values.get("files")
    hashes = isinstance(files, dict) and all(
        isinstance(each, str) and HEX["hash"].fullmatch(each) for each in files.values()
    )
    require(hashes, "files", "a hash for each", files)
    for name in ("parameters", "multiply_adds"):
        numbers = values.get(name)
        whole = isinstance(numbers, list) and all(type(each) is int and 0 <= each < 1 << 53 for each in numbers)
        require(whole and 1 <= len(numbers or ()) <= MOST_LAYERS, name, "a whole number for each layer", numbers)
    kbps = values.get("kbps")
    number = kbps is None or (type(kbps) in (int, float) and 0 <= kbps <= MOST_KBPS)
    require(number, "kbps", f"a number up to {MOST_KBPS}", kbps)


def check_parts(parts: Any) -> None:
    """Raises UserError where the parts of a cascade's settings are none, or so large that memory would be at risk."""
    require(isinstance(parts, list) and 1 <= len(parts) <= MOST_LAYERS + 1, "parts", "a list of parts", parts)
    for place, part in enumerate(parts):
        require(isinstance(part, dict) and isinstance(part.get("name"), str), "parts", "parts with names", part)
        shape, alphabet = part.get("shape"), part.get("alphabet")
        sized = isinstance(shape, list) and len(shape) == 2 and all(type(each) is int for each in shape)
        require(sized and all(1 <= each <= MOST_SYMBOLS for each in shape or ()), part["name"], "a shape of two", shape)
        small = type(alphabet) is int and 2 <= alphabet <= LARGEST_ALPHABET
        require(small, part["name"], f"an alphabet of 2 to {LARGEST_ALPHABET}", alphabet)
        names = ["lpc"] if place == 0 else []
        first = 0 if parts[0]["name"] == "lpc" else 1
        require(part["name"] in [*names, f"codec {place + first}"], "parts", "lpc, codec 1, codec 2 ...", part["name"])


def require(condition: bool, name: str, expected: str, found: object) -> None:
    """Raises UserError where an entry is not what is expected."""
    if not condition:
        raise UserError(f"{name}: expected {expected}, found {brief(found)}")
