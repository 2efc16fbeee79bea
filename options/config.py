"""Typed configuration, through which flags, experiment files and saved models all pass."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from kinds import check_of_kind, name_of_kind
from kinds.samples.options import SampleOptions
from kinds.spectral.options import SpectralOptions
from nsc.console import Parser
from nsc.errors import UserError
from options.common import check
from options.option import brief, flag_of, require, shown

PROGRAM = "main.py"
FRESH = (1, 3, 4)  # modes that start without a saved model
COMMAND_LINE = "command line"  # where flags come from, as opposed to files
BARE = ("new", "deterministic")
# Flags of the first implementation that never had an effect.
IGNORED = {"window_size": "no effect, as in the first implementation: frames are 512 samples"}
QUICKSTART = Path(__file__).parents[1] / "configs" / "quickstart.toml"


@dataclass(frozen=True)
class Config(SpectralOptions, SampleOptions):
    """Everything that decides a run: the options of all kinds, of which each knows its own and the common ones."""

    def __post_init__(self) -> None:
        if isinstance(self.quantizer, str):  # one kind for all modules, as older models have it
            object.__setattr__(self, "quantizer", tuple(self.quantizer.split()))
        _check(self)

    def to_dict(self) -> dict[str, Any]:
        """Every option by its flag's spelling, in plain JSON types."""
        return {flag: _plain(getattr(self, name)) for name, flag in _flags().items()}

    def identity(self) -> dict[str, Any]:
        """The options that make two runs different."""
        options = {flag_of(field): field for field in dataclasses.fields(self)}
        return {flag: value for flag, value in self.to_dict().items() if options[flag].metadata["identity"]}

    def with_network_of(self, saved: Config, *, keep: Sequence[str] = ()) -> Config:
        """This configuration with the network of a saved model, but for the fields named in `keep`."""
        network = {
            field.name: getattr(saved, field.name)
            for field in dataclasses.fields(self)
            if field.metadata["network"] and field.name not in keep
        }
        return dataclasses.replace(self, **network)


def from_dict(values: Mapping[str, Any], *, origin: str) -> Config:
    """A configuration from flag spellings and plain values; what is missing keeps its default.

    Raises:
        UserError: an unknown key, or a value of the wrong kind.
    """
    names = {flag: name for name, flag in _flags().items()}
    for key in values:
        if key not in names:
            raise UserError(f"{origin}: unknown key '{brief(key)}'{_nearest(key, names)}")
    types = get_type_hints(Config)
    before = "argument --" if origin == COMMAND_LINE else f"{origin}: "
    fields = {names[key]: _convert(value, types[names[key]], f"{before}{key}") for key, value in values.items()}
    return Config(**fields)


def read_experiment(path: Path) -> dict[str, Any]:
    """The options that an experiment file (TOML) names, by their flags' spelling."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        known = ", ".join(sorted(file.stem for file in QUICKSTART.parent.glob("*.toml")))
        raise UserError(f"no experiment file {path}; configs/ holds {known}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path} cannot be read as an experiment file: {error}") from None


def parse_flags(arguments: Sequence[str]) -> tuple[Config, dict[str, Any]]:
    """The configuration that a command line asks for, and the options it names itself.

    Args:
        arguments: the command line without the program's name. None at all means the quick start.

    Returns:
        The configuration, and what was named in flags or in the experiment file, by flag spelling.

    Raises:
        UserError: an unknown flag or a malformed value.
    """
    given = vars(_parser().parse_args(list(arguments)))
    for flag in IGNORED:
        given.pop(flag, None)
    experiment = given.pop("config", None if arguments else str(QUICKSTART))
    named = read_experiment(_experiment_path(experiment)) if experiment else {}
    origin = str(experiment) if experiment else COMMAND_LINE
    from_dict(named, origin=origin)
    named |= given
    config = from_dict(named, origin=COMMAND_LINE)
    if config.training_mode in FRESH:
        check_known(named, config)
    return config, named


def check_known(named: Mapping[str, Any], config: Config) -> None:
    """Raises UserError where a flag that was named is one of another kind of network, or a number of it does nothing.

    Args:
        named: by flag spelling.
        config: with the kind in hand: that of the flags, or of the saved model that training goes on from.
    """
    networks = {flag_of(field): field.metadata["networks"] for field in dataclasses.fields(Config)}
    own = name_of_kind(config.block)
    for flag in named:
        if networks[flag] and own not in map(name_of_kind, networks[flag]):
            others = " and ".join(networks[flag])
            raise UserError(f"argument --{flag}: unknown with --resnet_type {config.block}; it is for {others}")
    check_of_kind(config, named)


def _experiment_path(name: str) -> Path:
    path = Path(name)
    if path.suffix or path.exists():
        return path
    return QUICKSTART.parent / f"{path.name}.toml"


class _Parser(Parser):
    """Mistakes become a UserError that names the nearest known flag."""

    def error(self, message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ").split()[0].split("=")[0]
        if message.startswith("unrecognized") and unknown.startswith("-"):
            message = f"unknown flag {unknown}{_nearest(unknown.lstrip('-'), _flags().values(), '--')}"
        raise UserError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [--config FILE] [--FLAG VALUE ...]",
        description="Train, finetune and evaluate collaborative quantization. Without any flag: the quick start.",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--config", metavar="FILE", help="experiment file, or its name in configs/; flags win over it")
    group: argparse._ActionsContainer = parser
    for field in dataclasses.fields(Config):
        if field.metadata["heading"]:
            group = parser.add_argument_group(field.metadata["heading"])
        # some read best bare, the other switches take 0 or 1
        bare: dict[str, Any] = {"nargs": "?", "const": "1"} if field.name in BARE else {}
        group.add_argument(f"--{flag_of(field)}", metavar=_metavar(field), help=_help(field), **bare)
    ignored = parser.add_argument_group("Without effect")
    for flag, meaning in IGNORED.items():
        ignored.add_argument(f"--{flag}", metavar="N", help=meaning)
    return parser


def _metavar(field: dataclasses.Field[Any]) -> str:
    if field.metadata["choices"]:
        return f"{{{','.join(map(str, field.metadata['choices']))}}}"
    return {bool: "0|1", int: "N", float: "X", str: "TEXT", tuple: "'X X ...'"}[type(field.default)]


def _help(field: dataclasses.Field[Any]) -> str:
    return f"{field.metadata['help']} (default: {shown(field.default)})".replace("%", "%%")


def _flags() -> dict[str, str]:
    return {field.name: flag_of(field) for field in dataclasses.fields(Config)}


def _plain(value: Any) -> Any:
    """A value in JSON's types; words are one string, the form that models of a single kind of quantiser always had."""
    if isinstance(value, tuple):
        return " ".join(value) if value and isinstance(value[0], str) else list(value)
    return value


def _nearest(word: str, known: Any, prefix: str = "") -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {prefix}{close[0]}?" if close else "; --help lists them all"


def _boolean(value: Any) -> bool:
    text = str(value).lower()
    if text not in ("0", "1", "true", "false"):
        raise ValueError
    return text in ("1", "true")


def _whole(value: Any) -> int:
    number = int(value)
    if isinstance(value, bool) or number != float(value):
        raise ValueError
    return number


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, (str, Path)):
        raise ValueError
    return str(value)


def _entries(kind: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def parse(value: Any) -> tuple[Any, ...]:
        entries = value.replace(",", " ").split() if isinstance(value, str) else value
        return tuple(kind(entry) for entry in (entries if isinstance(entries, Sequence) else [entries]))

    return parse


_CONVERTERS: dict[Any, tuple[Callable[[Any], Any], str]] = {
    bool: (_boolean, "0 or 1"),
    int: (_whole, "a whole number"),
    float: (_number, "a number"),
    str: (_text, "text"),
    tuple[str, ...]: (_entries(_text), "words such as 'vector scalar'"),
    tuple[int, ...]: (_entries(_whole), "whole numbers such as '2 2'"),
    tuple[float, ...]: (_entries(_number), "numbers such as '0.1 0.2'"),
}


def _convert(value: Any, kind: Any, where: str) -> Any:
    convert, expected = _CONVERTERS[kind]
    try:
        return convert(value)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{where}: expected {expected}, found '{brief(value)}'") from None


def _check(config: Config) -> None:
    """Raises UserError where values are out of range or do not fit together."""
    for field in dataclasses.fields(config):
        choices, value = field.metadata["choices"], getattr(config, field.name)
        if choices:
            values = value if isinstance(value, tuple) else (value,)
            fits = bool(values) and set(values) <= set(choices)
            require(fits, config, field.name, f"one of {', '.join(map(str, choices))}")
        sign = field.metadata["sign"]
        if sign:
            above = f"a number {'above' if sign > 0 else 'below'} 0"
            require(0 < sign * value < math.inf, config, field.name, above)
        elif isinstance(field.default, (int, float)):
            require(0 <= value < math.inf, config, field.name, "a number of at least 0")
    check(config)
    check_of_kind(config)
