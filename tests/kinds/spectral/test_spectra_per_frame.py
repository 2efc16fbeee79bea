"""Models whose frames have another number of spectra and whose LSFs have fewer levels: format version 3."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import nsc
from export.codec_folder import export_codec
from kinds.spectral.front_end import analysis_window
from nsc.coding.whole import decode, encode
from nsc.errors import UserError
from nsc.format import DamagedError, WrongModelError, info, truncate, version_2, version_3
from nsc.kinds.spectral.model import SpectralModel, file_groups
from runs.saved_model import SavedModel, load_model
from tests.helpers.places import CORPUS
from tests.helpers.spectral_cascade import saved_spectral_model, tiny

Signal = NDArray[np.float32]

SHORT = {"hop": 160, "spectra_per_frame": 4, "fold": 8, "lsf_levels": 64, "rdo_lambda": 0.1}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("check")


@pytest.fixture(scope="module")
def saved(place: Path) -> SavedModel:
    return saved_spectral_model(place, sorted(CORPUS.rglob("*.flac")), **SHORT)


@pytest.fixture(scope="module")
def model(saved: SavedModel) -> SpectralModel:
    return saved.coding


def snr(reference: Signal, decoded: Signal) -> float:
    return float(10 * np.log10(np.sum(reference**2) / np.sum((reference - decoded) ** 2)))


@pytest.mark.parametrize("frames", [1, 16])
def test_a_file_of_four_short_spectra_a_frame_comes_back(
    frames: int, model: SpectralModel, real_speech: Signal
) -> None:
    data = encode(real_speech, model, spans=frames)
    header = info(data).header
    assert (header.version, header.group_samples, header.delay_samples) == (3, 640 * frames, 640 * frames + 160)
    decoded = decode(data, model)
    assert len(decoded.signal) == len(real_speech) and not decoded.damage
    assert snr(real_speech, decoded.signal) > 12
    assert truncate(data, 1)[3] == 3 and len(decode(data, model, 1).signal) == len(real_speech)


def test_every_lsf_symbol_is_one_of_the_levels_that_the_model_has(model: SpectralModel, real_speech: Signal) -> None:
    assert len(model.coder.lsf.angles) == len(model.coder.cosines) == 64
    symbols = [symbols.lsf for symbols, *_ in file_groups(encode(real_speech, model), model.coder)]
    assert 32 < np.concatenate(symbols).max() < 64


def test_the_model_is_loaded_and_exported_with_its_numbers(
    saved: SavedModel, place: Path, model: SpectralModel, real_speech: Signal
) -> None:
    loaded = load_model(place / "stages" / "first").coding
    assert loaded.settings == model.settings and loaded.coder.spectra_per_frame == 4
    export_codec(saved, place / "exported")
    exported = nsc.load(str(place / "exported"))
    assert exported.settings == model.settings  # type: ignore[attr-defined]
    ours, theirs = (encode(real_speech, each) for each in (model, exported))
    assert len(theirs) == pytest.approx(len(ours), rel=2e-3)
    np.testing.assert_allclose(decode(ours, exported).signal, decode(ours, model).signal, atol=1e-4)


def test_what_a_saved_bit_is_worth_makes_files_smaller(saved: SavedModel, real_speech: Signal) -> None:
    model = saved.coding
    sizes = []
    for worth in (0.0, 0.1, 0.3):
        object.__setattr__(model.settings, "rdo_lambda", worth)
        sizes.append(len(encode(real_speech, model)))
    object.__setattr__(model.settings, "rdo_lambda", SHORT["rdo_lambda"])
    assert sizes[0] > 1.02 * sizes[1] and sizes[1] > 1.02 * sizes[2]


def test_a_header_says_how_many_spectra_share_a_frame() -> None:
    for spectra in version_3.SPECTRA_PER_FRAME:
        for layers in (1, 16):
            for ahead in (False, True):
                header = version_3.Header("01234567", 1234, layers, 16, 160, ahead, spectra)
                assert version_3.read("01234567", 1234, header.version_bytes()) == header
    with pytest.raises(DamagedError, match="reserved bit"):
        version_3.read("01234567", 1234, (0x10, 0))


def test_a_file_of_another_number_of_spectra_is_of_another_model(model: SpectralModel) -> None:
    header = version_2.Header(model.digest, 1234, 2, 16, 160)
    with pytest.raises(WrongModelError):
        model.synthesis(header, 2)


@pytest.mark.parametrize("spectra", [1, 2, 4])
def test_linear_prediction_sees_what_the_spectra_of_a_frame_cover(spectra: int) -> None:
    window = analysis_window(160, spectra)
    assert len(window) == (spectra + 1) * 160
    np.testing.assert_allclose(window[:160] + window[-160:], 1, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spectra_per_frame": 3}, "spectra_per_frame"),
        ({"lsf_levels": 100}, "lsf_levels"),
        ({"rdo_lambda": 11}, "rdo_lambda"),
    ],
)
def test_numbers_that_no_model_has_are_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tiny(**changes)
