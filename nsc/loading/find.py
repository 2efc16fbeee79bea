"""Models by name: those that ship, those of the folder in NSC_MODELS, and any folder."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path

from nsc.errors import UserError
from nsc.loading.folder import DESCRIPTION, TRAINED, Description, read_description

PRETRAINED = Path(__file__).resolve().parents[1] / "pretrained"
DEFAULT_MODEL = "cq"  # of those that ship, the one that codes at any rate
OWN_MODELS = "NSC_MODELS"  # environment variable: a folder of the user's own models


def all_models() -> list[Description]:
    """Every model that can be found by name, in the order of names; unreadable ones of the user's are skipped."""
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
    if any((Path(name) / each).is_file() for each in (DESCRIPTION, TRAINED)):
        return Path(name)
    names = sorted((model.name for model in known), key=_natural)
    nearest = difflib.get_close_matches(name, names, 1, 0.5)
    advice = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(names)}"
    raise UserError(f"expected the name, the hash or the folder of a model, found '{name}'; {advice}")


def _found() -> Iterator[Description]:
    own = os.environ.get(OWN_MODELS)
    for place in [*([Path(own)] if own else []), PRETRAINED]:
        for file in sorted(place.glob(f"*/{DESCRIPTION}")):
            try:
                yield read_description(file.parent)
            except UserError:
                continue


def _natural(name: str) -> tuple[str, int]:
    """cq-9k comes before cq-16k."""
    digits = "".join(character for character in name if character.isdigit())
    return name.rstrip("0123456789k"), int(digits or 0)
