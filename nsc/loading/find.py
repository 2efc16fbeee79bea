"""Models by name: those that ship, those of the folder in NSC_MODELS, and any folder."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path

from nsc.console import log
from nsc.errors import UserError, brief
from nsc.loading.folder import DESCRIPTION, TRAINED, Description, read_description
from nsc.loading.resources import resource

PRETRAINED = resource("pretrained")
DEFAULT_MODEL = "cq"  # of those that ship, the one that codes at any rate
OWN_MODELS = "NSC_MODELS"  # environment variable: a folder of the user's own models
LONGEST_NUMBER = 9  # digits of a name that count in its order

_said: set[str] = set()  # lines on the user's models, each of which is said once


def all_models() -> list[Description]:
    """Every model that can be found by name, in the order of names; unreadable ones are passed over with a line."""
    return sorted(_found(), key=lambda model: _natural(model.name))


def find_model(name: str | Path = "") -> Path:
    """The folder of a model.

    Args:
        name: the folder itself, the model's name, or its hash; '' is the default.

    Raises:
        UserError: there is no such model; the nearest name is suggested.
    """
    name = str(name) or DEFAULT_MODEL
    known = list(_found())
    for model in known:
        if name in (model.name, model.digest):
            return model.folder
    if any(os.path.isfile(os.path.join(name, each)) for each in (DESCRIPTION, TRAINED)):
        return Path(name)
    names = sorted({model.name for model in known}, key=_natural)
    nearest = difflib.get_close_matches(name[:100], names, 1, 0.5)
    advice = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(names)}"
    raise UserError(f"expected the name, the hash or the folder of a model, found {brief(name)}; {advice}")


def _found() -> Iterator[Description]:
    """The user's own models first, which go before shipped ones of the same name."""
    own, folders = os.environ.get(OWN_MODELS), dict[str, Path]()
    if own and not os.path.isdir(own):
        _say(f"{OWN_MODELS} names {brief(own)}, which is no folder: no models of your own")
    for place in [*([Path(own)] if own and os.path.isdir(own) else []), PRETRAINED]:
        for file in sorted(place.glob(f"*/{DESCRIPTION}")):
            try:
                model = read_description(file.parent)
            except UserError as error:
                _say(f"passed over: {error}")
                continue
            first = folders.setdefault(model.name, model.folder)
            if first != model.folder:
                _say(f"{model.folder} goes by its hash {model.digest} alone: {first} has the name {brief(model.name)}")
            yield model


def _say(line: str) -> None:
    if line not in _said:
        _said.add(line)
        log.info("%s", line)


def _natural(name: str) -> tuple[str, int]:
    """cq-9k comes before cq-16k."""
    digits = "".join(character for character in name if character in "0123456789")
    return name.rstrip("0123456789k"), int(digits[:LONGEST_NUMBER] or 0)
