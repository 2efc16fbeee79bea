from pathlib import Path

import pytest

from corpus.find import find_speech
from corpus.packed import PackedCorpus


@pytest.fixture
def corpus(speech_folder: Path, tmp_path: Path) -> PackedCorpus:
    return PackedCorpus.pack(find_speech(speech_folder), tmp_path / "cache")
