"""Speech collected from public repositories: by commit and hash, and a corpus afterwards."""

import csv
import hashlib
from pathlib import Path

import pytest

from corpus.find import find_test_speech
from nsc.errors import UserError
from scripts.speech.collect import collect
from tests.helpers.places import ROOT

COLUMNS = ("path", "speaker", "split", "repository", "commit", "source", "sha256")


@pytest.fixture
def manifest(tmp_path: Path, speech_folder: Path) -> Path:
    """Two clips of two voices as a repository has them, and the table that names them."""
    rows = []
    for place, source in enumerate(sorted(speech_folder.rglob("*.flac"))[::6]):
        data, name = source.read_bytes(), f"of voice {place}.flac"
        origin = tmp_path / "owner" / "name" / "abc" / name
        origin.parent.mkdir(parents=True, exist_ok=True)
        origin.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        rows.append((f"v{place}/a.flac", f"v{place}", "test", "owner/name", "abc", name, digest))
    path = tmp_path / "table.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return path


def test_files_come_from_their_repository_once_and_are_a_corpus(manifest: Path, tmp_path: Path) -> None:
    url, folder = tmp_path.as_uri() + "/{repository}/{commit}/{source}", tmp_path / "speech"
    assert collect(manifest, folder, url) == 2
    assert [file.speaker for file in find_test_speech(folder)] == ["v0", "v1"]
    assert collect(manifest, folder, "file:///nowhere/{source}") == 2


def test_a_file_that_is_another_one_now_is_refused_in_one_line(manifest: Path, tmp_path: Path) -> None:
    for changed in (tmp_path / "owner").rglob("*1.flac"):
        changed.write_bytes(b"another")
    with pytest.raises(UserError, match=r"voice%201.flac: expected a file of hash \w{8}, found \w{8}"):
        collect(manifest, tmp_path / "speech", tmp_path.as_uri() + "/{repository}/{commit}/{source}")
    assert not list((tmp_path / "speech").rglob("v1/*")) and not (tmp_path / "speech" / "manifest.csv").exists()


def test_the_table_of_the_corpus_that_is_published_names_every_origin() -> None:
    with (ROOT / "results" / "vctk" / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["path"] for row in rows}) == len(rows)
    assert {(len(row["commit"]), len(row["sha256"]), row["split"]) for row in rows} == {(40, 64, "test")}
