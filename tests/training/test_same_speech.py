"""A run goes on with the samples that it began with."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from nsc.errors import UserError
from runs.runs import find_or_create_run
from tests.helpers.tiny import CORPUS, Workplace
from training.same_speech import check_same_samples


class Speech:
    """Stands for a corpus."""

    def __init__(self, **checksums: str) -> None:
        self.found = checksums

    def checksums(self) -> dict[str, str]:
        return self.found


def test_another_recording_another_checksum_and_a_missing_one_are_named(tmp_path: Path) -> None:
    run = find_or_create_run({}, [], check_dir=tmp_path / "check", doc_dir=tmp_path / "doc")
    check_same_samples(run, Speech(a="1", b="2", c="3"))  # type: ignore[arg-type]
    check_same_samples(run, Speech(c="3", a="1", b="2"))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"other samples in 3 of 3 recordings \(b, c, d\); restore them, or .* --new"):
        check_same_samples(run, Speech(a="1", b="9", d="4"))  # type: ignore[arg-type]


def test_an_unfinished_run_whose_speech_changed_stops_and_names_the_file(tmp_path: Path) -> None:
    corpus = Path(shutil.copytree(CORPUS, tmp_path / "speech"))
    place = Workplace(tmp_path)
    options = {"training_mode": 1, "num_modules": 1, "data_dir": str(corpus)}
    run = place.train(**options)
    run.status = "unfinished"
    run._write_state()
    changed = next(path for path in sorted(corpus.rglob("*.flac")))
    samples, rate = soundfile.read(changed, dtype="int16")
    soundfile.write(changed, np.roll(samples, 1), rate)
    with pytest.raises(UserError, match=f"began with other samples in 1 of 12 recordings .*{changed.name}"):
        place.train(**options)
