"""Speech that another program has decoded, as a coder of a comparison: it is scored as it is."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from comparison.coders import Samples, Version, content_of
from comparison.peers import baselines
from comparison.peers.peer import shifted
from comparison.results import Codec
from corpus.speech_file import SpeechFile
from nsc.errors import UserError
from utilities import load_speech, to_int16

SUFFIXES = (".wav", ".flac", ".ogg", ".WAV")


@dataclass(frozen=True)
class DecodedFolder:
    """Decoded files under the names of their references, or under these names with another suffix.

    Attributes:
        codec: what it is, for the record.
        decoded: path of the decoded file by content of the reference.
        losses: none.
    """

    codec: Codec
    decoded: dict[str, Path]
    losses: tuple[float, ...] = (0.0,)

    def code(self, samples: Samples, cache_dir: Path) -> list[Version]:
        """See Coder; a file that is longer than its reference is cut, a shorter one ends in silence."""
        path = self.decoded[content_of(samples)]
        decoded = load_speech(path)
        kept = to_int16(shifted(decoded, 0, len(samples)))
        copy = cache_dir / self.codec.name / f"{content_of(samples)}-{content_of(kept)}.flac"
        if not copy.is_file():
            baselines.write_flac(copy, kept)
        return [Version(0, 0.0, 0, 0, copy)]


def decoded_folder(name: str, files: Sequence[SpeechFile], data_dir: Path) -> DecodedFolder:
    """The coder of a folder of decoded files.

    Args:
        name: the folder, with LABEL= before it or not.
        files: the references.
        data_dir: folder of the references; a decoded file has the same path within its folder, or the same name.

    Raises:
        UserError: a reference has no decoded file.
    """
    label, _, place = name.rpartition("=")
    folder = Path(place)
    found = {file.path: _counterpart(file.path, data_dir, folder) for file in files}
    label = label or folder.name
    state = "".join(f"{path}{os.stat(path).st_size}{os.stat(path).st_mtime_ns}" for path in found.values())
    digest = hashlib.sha256(f"{folder.resolve()}{state}".encode()).hexdigest()[:8]
    by_content = {content_of(to_int16(load_speech(path))): decoded for path, decoded in found.items()}
    return DecodedFolder(Codec(digest, label, label, "model"), by_content)


def _counterpart(path: Path, data_dir: Path, folder: Path) -> Path:
    inside = Path(os.path.relpath(path, data_dir))
    for stem in (folder / inside, folder / inside.name):
        for candidate in (stem, *(stem.with_suffix(suffix) for suffix in SUFFIXES)):
            if candidate.is_file():
                return candidate
    raise UserError(f"expected {inside} in {folder}, found none; decode it, or leave it out with --files or --split")
