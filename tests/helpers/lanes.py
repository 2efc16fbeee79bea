"""The fast lane: tests that need neither TensorFlow nor a minute, for the time between two edits."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

from tests.helpers.places import ROOT

# fixtures that make or train a model
BUILDERS = frozenset({"trained", "coding_model", "codec_folder", "model_folder", "check_dir", "research_corpus"})


def needs_tensorflow(path: Path) -> bool:
    """Whether a module imports TensorFlow, or another of ours that does so when it is imported."""
    waiting, seen = [path], {path}
    while waiting:
        names = _imports(waiting.pop())
        if any(name.split(".")[0] in ("tensorflow", "keras") for name in names):
            return True
        found = {file for name in names for file in _files(name)} - seen
        seen |= found
        waiting += found
    return False


@functools.cache
def _imports(path: Path) -> frozenset[str]:
    return frozenset(_imported(ast.parse(path.read_text()).body))


def _imported(statements: list[ast.stmt]) -> Iterator[str]:
    """Names that statements at the top of a module import."""
    for statement in statements:
        if isinstance(statement, ast.Import):
            yield from (each.name for each in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            yield statement.module
            yield from (f"{statement.module}.{each.name}" for each in statement.names)


@functools.cache
def _files(name: str) -> tuple[Path, ...]:
    """The module of ours, and the packages around it."""
    parts = name.split(".")
    below = [ROOT.joinpath(*parts[:count]) for count in range(1, len(parts) + 1)]
    return tuple(file for each in below for file in (each.with_suffix(".py"), each / "__init__.py") if file.is_file())
