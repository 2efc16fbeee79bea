"""What is attacked: short files of every model that ships."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nsc.loading.find import all_models
from nsc.loading.folder import Description
from scripts.fuzzing.choice import Generator
from scripts.fuzzing.spectral_targets import SpectralTarget, spectral_target
from scripts.fuzzing.targets import Target, cascade_target

TARGETS: dict[str, Callable[[Description], Target | SpectralTarget]] = {
    "cascade": cascade_target,
    "spectral": spectral_target,
}


def shipped_targets() -> list[Target | SpectralTarget]:
    """All models that ship."""
    return [TARGETS[each.kind](each) for each in all_models()]


def files_of(targets: Sequence[Target | SpectralTarget], generator: Generator) -> list[bytes]:
    """A few short files of every model: of known and unknown length, of one frame, with long groups."""
    found = []
    for target in targets:
        found += [target.file(generator, 17), target.file(generator, 40, known=False)]
        found += [target.file(generator, 1), target.file(generator, 50, 2)]
    return found
