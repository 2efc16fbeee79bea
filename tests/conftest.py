import os

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # before TensorFlow is imported: tests need no GPU
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import signal
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tests.helpers.lanes import BUILDERS, needs_tensorflow
from tests.helpers.places import CORPUS, ROOT

if TYPE_CHECKING:
    from tests.helpers.tiny import Workplace

if TYPE_CHECKING:
    from runs.saved_model import SavedModel


FAST = "fast"  # pytest -m fast


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves modules that import TensorFlow unread in the fast lane."""
    is_test = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    return True if config.option.markexpr == FAST and is_test and needs_tensorflow(collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the fast lane: what needs no TensorFlow, builds no model and is not marked slow."""
    for item in items:
        builds = BUILDERS & set(getattr(item, "fixturenames", ()))
        if not (builds or item.get_closest_marker("slow") or needs_tensorflow(item.path)):
            item.add_marker(FAST)


WriteSphere = Callable[[Path, NDArray[np.int16]], None]


def pytest_configure() -> None:
    """Whatever started the tests may ignore signals, as nohup and background jobs do; what tests start must not."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Output of tests may name files of any bytes, which reports from another process cannot hold."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(scope="session")
def speech_folder() -> Path:
    return CORPUS


@pytest.fixture(scope="session")
def speech_clips(speech_folder: Path) -> list[NDArray[np.int16]]:
    """All twelve clips, 16 kHz 16-bit."""
    return [soundfile.read(path, dtype="int16")[0] for path in sorted(speech_folder.rglob("*.flac"))]


@pytest.fixture(scope="session")
def speech_signals(speech_clips: list[NDArray[np.int16]]) -> list[NDArray[np.float32]]:
    """All twelve clips, full scale 1."""
    return [np.divide(clip, 32768, dtype=np.float32) for clip in speech_clips]


@pytest.fixture(scope="session")
def coding_model(tmp_path_factory: pytest.TempPathFactory, speech_signals: list[NDArray[np.float32]]) -> "SavedModel":
    """An untrained cascade of two codecs, see coding.py."""
    from tests.helpers.coding import make_model

    return make_model(tmp_path_factory.mktemp("check") / "tiny", speech_signals)


@pytest.fixture(scope="session")
def codec_folder(tmp_path_factory: pytest.TempPathFactory, coding_model: "SavedModel") -> Path:
    """The same cascade as `nsc` loads it, called tiny."""
    from export.codec_folder import export_codec

    folder = tmp_path_factory.mktemp("models") / "tiny"
    export_codec(coding_model, folder)
    return folder


@pytest.fixture
def real_speech(speech_folder: Path) -> NDArray[np.float32]:
    """One clip of 3.0 s, full scale 1."""
    samples, rate = soundfile.read(speech_folder / "allison" / "en-tt-weasels.flac", dtype="float32")
    assert rate == 16_000
    return samples


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> "Workplace":
    """A place with a tiny cascade of two codecs, trained by mode 4, and the run of mode 5 that finetuned it."""
    from tests.helpers.tiny import Workplace  # TensorFlow takes seconds to import

    place = Workplace(tmp_path_factory.mktemp("trained"))
    assert place.run(training_mode=4) == 0
    assert place.run(training_mode=5) == 0
    return place


@pytest.fixture(scope="session")
def research_corpus() -> Path:
    folder = ROOT.parent / "shared" / "speech"
    if not (folder / "manifest.csv").is_file():
        pytest.skip("the research corpus is not on this machine")
    return folder


@pytest.fixture(scope="session")
def write_sphere() -> WriteSphere:
    """Writes 16 kHz mono NIST SPHERE as TIMIT has it: a header of 1024 bytes, then little-endian samples."""

    def write(path: Path, samples: NDArray[np.int16], coding: str = "") -> None:
        fields = ["NIST_1A", "   1024", "channel_count -i 1", f"sample_count -i {len(samples)}"]
        fields += [
            "sample_rate -i 16000",
            "sample_n_bytes -i 2",
            "sample_byte_format -s2 01",
            "sample_sig_bits -i 16",
        ]
        fields += [f"sample_coding -s{len(coding)} {coding}"] if coding else []
        header = "\n".join([*fields, "end_head\n"]).encode()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(header.ljust(1024) + samples.astype("<i2").tobytes())

    return write
