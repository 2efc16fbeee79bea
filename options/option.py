"""One option: its default, meaning and bounds, and how its value is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from nsc.errors import UserError

MOST_SHOWN = 80  # characters of a wrong value in a message


def option(
    default: Any,
    help_text: str,
    *,
    flag: str | None = None,
    choices: Sequence[Any] | None = None,
    network: bool = False,
    identity: bool = True,
    heading: str | None = None,
    networks: Sequence[str] = (),
    sign: int = 0,
    by_module: bool = False,
) -> Any:
    """A field of `Config` with all that the command line needs to know about it.

    Args:
        default: value without a flag.
        help_text: meaning and unit, for `--help`.
        flag: spelling on the command line and in experiment files, where it differs from the field's name.
        choices: the allowed values, where they are few.
        network: part of the model itself: a saved model's value wins over a flag.
        identity: takes part in the run's id; paths and displays do not.
        heading: begins a group of options in `--help`.
        networks: the values of `block` under which anything reads it; none for all. To other kinds it is unknown.
        sign: 1 for numbers above 0, -1 for those below; 0 for those of at least 0.
        by_module: a tuple with a value of each module, see `CommonOptions.by_module`.
    """
    return dataclasses.field(
        default=default,
        metadata={
            "help": help_text,
            "flag": flag,
            "choices": choices,
            "network": network,
            "identity": identity,
            "heading": heading,
            "networks": networks,
            "sign": sign,
            "by_module": by_module,
        },
    )


def flag_of(field: dataclasses.Field[Any]) -> str:
    """The spelling of an option on the command line, without its dashes."""
    return field.metadata["flag"] or field.name


def brief(value: Any) -> str:
    """A value in a message: files may hold ones of any length."""
    try:
        text = repr(value) if isinstance(value, float) else str(value)
    except ValueError:  # Python does not print whole numbers of more than 4300 digits
        text = "a very large number"
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]} ..."


def shown(value: Any) -> str:
    """A value as a user would type it."""
    if isinstance(value, (tuple, list)):
        words = [entry if isinstance(entry, str) else f"{entry:g}" for entry in value]
        return words[0] if len(words) == 1 and isinstance(value[0], str) else f"'{' '.join(words)}'"
    if isinstance(value, bool):
        return str(int(value))
    return f"'{value}'" if value == "" or (isinstance(value, str) and " " in value) else str(value)


def require(condition: bool, options: Any, name: str, expected: str) -> None:
    """Raises UserError where the value of an option, a field of a dataclass of options, is not as expected."""
    if not condition:
        flag = next(flag_of(field) for field in dataclasses.fields(options) if field.name == name)
        raise UserError(f"argument --{flag}: expected {expected}, found {brief(shown(getattr(options, name)))}")


def extended(values: tuple[Any, ...], length: int) -> tuple[Any, ...]:
    """Values for so many modules: the last one goes on."""
    return (values + values[-1:] * length)[:length]
