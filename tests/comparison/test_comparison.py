"""The comparison of codecs: what it measures, how it continues, and what it survives."""

from __future__ import annotations

import csv
import json
import math
import pickle
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

import nsc
import report
from comparison import coders
from comparison.cluster import Place
from comparison.coders import ModelCoder, PeerCoder, Version, in_packets, model_coder, with_groups_of
from comparison.compare import Terms, compare
from comparison.peers import baselines, ffmpeg
from comparison.results import Recording, Result, Store, faults
from measures import measures
from nsc import format as bitstream
from runs.saved_model import SavedModel, save_model
from tests.helpers.clumsy import STOPS, Clumsy, after
from tests.helpers.places import ROOT
from tests.helpers.tiny import CORPUS, Workplace
from utilities import INT16_SCALE, load_speech, to_int16

CLIPS = [Recording(path, path.parent.name) for path in sorted(CORPUS.rglob("*.flac"))]


@pytest.fixture(scope="module")
def check_dir(tmp_path_factory: pytest.TempPathFactory, coding_model: SavedModel) -> Path:
    folder = tmp_path_factory.mktemp("check")
    save_model(folder / "tiny", "first", coding_model.cascade, coding_model.tables, 2)
    return folder


@pytest.fixture(scope="module")
def model_folder(check_dir: Path) -> Path:
    return check_dir / "tiny" / "stages" / "first"


def run(coder: coders.Coder, recordings: Sequence[Recording], folder: Path, **changes: Any) -> list[Result]:
    place = changes.pop("place", Place(1))
    terms = Terms(CORPUS, folder / "cache", ["snr"])._replace(**changes)
    return compare([coder], recordings, Store(folder), terms, place)


def test_our_rate_is_all_bytes_of_the_written_file_at_every_layer(
    coding_model: SavedModel, model_folder: Path, check_dir: Path, tmp_path: Path, speech_clips: list[NDArray[np.int16]]
) -> None:
    results = run(model_coder(f"{model_folder}", check_dir), CLIPS[:1], tmp_path)
    whole = nsc.encode(np.divide(speech_clips[0], INT16_SCALE, dtype=np.float32), coding_model.coding)

    assert [result.layer for result in results] == [1, 2]
    for result in results:
        data = bitstream.truncate(whole, result.layer)
        assert result.bits == 8 * len(data)
        assert result.kbps == pytest.approx(8 * len(data) / (len(speech_clips[0]) / 16_000) / 1000)
        assert np.array_equal(
            soundfile.read(result.decoded, dtype="int16")[0], to_int16(nsc.decode(data, coding_model.coding)[0])
        )
        noise = soundfile.read(result.decoded)[0] - speech_clips[0] / INT16_SCALE
        snr = 10 * np.log10(np.sum((speech_clips[0] / INT16_SCALE) ** 2) / np.sum(noise**2))
        assert result.measures["snr"] == pytest.approx(snr)


def test_a_model_takes_the_rate_that_another_codec_takes_for_each_file(tmp_path: Path) -> None:
    coder = replace(model_coder("cq@g722", tmp_path), kbps="codec2-3.2")
    assert coder.codec.label == "cq at g722" and " " not in coder.codec.name
    asked: list[float | None] = []

    def encoded(*_: Any, kbps: float | None = None, **__: Any) -> bytes:
        asked.append(kbps)
        return b""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coders.nsc, "encode", encoded)
        patch.setattr(coders, "load_alone", lambda _: None)
        patch.setattr(coders.baselines, "code_cached", lambda *_: (SimpleNamespace(bits=12_000), None))
        coder._whole_file(tmp_path / "a.nsc", np.zeros(16_000, np.int16), tmp_path)
    assert asked == [12.0]


def test_a_call_costs_the_bytes_of_the_packets_that_an_encoder_gives_block_by_block(tmp_path: Path) -> None:
    signal = to_int16(load_speech(CLIPS[0].path)[:48_000])
    coder = in_packets(5, model_coder("cq@16", tmp_path))
    assert coder.codec.label == "cq 16 in packets" and coder.codec.family == "cq in packets"
    [version] = coder.code(signal, tmp_path)
    encoder = nsc.PacketEncoder("cq", kbps=16)
    heard = np.divide(signal, INT16_SCALE, dtype=np.float32)
    packets = [*encoder.write(heard), *encoder.finish()]
    assert version.bits == 8 * sum(map(len, packets)) and version.delay_ms == 50
    decoder = nsc.PacketDecoder("cq", encoder.header)
    played = to_int16(np.concatenate([decoder.write(packet) for packet in packets])[: len(signal)])
    assert len(played) > len(signal) - 640  # but for the last packet, which no other completes
    assert np.array_equal(soundfile.read(version.decoded, dtype="int16")[0][: len(played)], played)


def test_even_steps_let_the_rate_follow_the_speech_without_looking_ahead(tmp_path: Path) -> None:
    signal = to_int16(load_speech(CLIPS[0].path)[:48_000])
    coder = in_packets(5, model_coder("cq@q5", tmp_path))
    assert coder.codec.label == "cq quality 5 in packets" and coder.codec.family == "cq, even steps in packets"
    [version] = coder.code(signal, tmp_path)
    encoder = nsc.PacketEncoder("cq", quality=5)
    heard = np.divide(signal, INT16_SCALE, dtype=np.float32)
    assert version.bits == 8 * sum(map(len, [*encoder.write(heard), *encoder.finish()]))


def test_lost_groups_cost_quality_and_no_bits(model_folder: Path, check_dir: Path, tmp_path: Path) -> None:
    coder = model_coder(str(model_folder), check_dir, losses=(0.0, 0.4))
    results = {(each.layer, each.loss): each for each in run(coder, CLIPS[:1], tmp_path)}
    assert set(results) == {(1, 0.0), (1, 0.4), (2, 0.0), (2, 0.4)}
    assert results[2, 0.4].bits == results[2, 0.0].bits
    assert results[2, 0.4].measures["snr"] != results[2, 0.0].measures["snr"]


def test_a_file_whose_last_packet_is_lost_is_scored_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signal = to_int16(load_speech(CLIPS[0].path)[:20_000])
    monkeypatch.setattr(
        coders,
        "lose_groups",
        lambda data, *_: data[: -len(bitstream.pack_group(bitstream.read_contents(data).groups[-1]))],
    )
    *_, version = in_packets(1, model_coder("cq@q5", tmp_path, losses=(0.0, 0.1))).code(signal, tmp_path)
    assert version.loss == 0.1 and soundfile.info(version.decoded).frames == len(signal)


def test_a_label_joins_models_and_an_unnamed_model_is_called_after_its_run(model_folder: Path, check_dir: Path) -> None:
    plain, labelled = (model_coder(f"{label}{model_folder}", check_dir).codec for label in ("", "ours="))
    assert plain.name == labelled.name and len(plain.name) == 8
    assert (labelled.family, plain.origin) == ("ours", "tiny/first")
    assert plain.name in plain.label
    shipped = model_coder("cq-9k", check_dir).codec
    assert shipped.label == f"cq-9k {shipped.name}" and shipped.family == "cq-9k"


def test_longer_groups_cost_delay_and_save_bytes(model_folder: Path, check_dir: Path, tmp_path: Path) -> None:
    short = model_coder(f"ours={model_folder}", check_dir)
    long = with_groups_of(4, short)
    (one, *_), (four, *_) = (run(each, CLIPS[:1], tmp_path) for each in (short, long))
    assert four.codec == f"{one.codec}-groups-4" and long.codec.family == "ours, groups of 4"
    assert four.delay_ms > one.delay_ms + 1000 and four.bits < one.bits
    assert four.measures == one.measures


def test_a_run_continues_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coder = PeerCoder("pcm16")
    run(coder, CLIPS[:2], tmp_path)
    coded: list[int] = []
    original = PeerCoder.code

    def counted(self: PeerCoder, samples: NDArray[np.int16], cache_dir: Path) -> list[Version]:
        coded.append(len(samples))
        return original(self, samples, cache_dir)

    monkeypatch.setattr(PeerCoder, "code", counted)
    assert len(run(coder, CLIPS[:4], tmp_path)) == 4
    assert len(coded) == 2
    run(coder, CLIPS[:4], tmp_path, measures=["snr", "si_sdr"])
    assert len(coded) == 6  # a further measure is computed for all
    assert all(set(each.measures) == {"snr", "si_sdr"} for each in Store(tmp_path).of_codec("pcm16"))
    assert len(run(coder, CLIPS[:4], tmp_path, measures=["si_sdr"])) == 4
    assert len(coded) == 6


STUCK = """
import sys, time
from pathlib import Path
from comparison.coders import PeerCoder
from tests.comparison import test_comparison as tests

original, coded = PeerCoder.code, []

def code(self, samples, cache_dir):
    coded.append(samples)
    if len(coded) == 4:
        print("stuck", flush=True)
        time.sleep(1000)
    return original(self, samples, cache_dir)

PeerCoder.code = code
tests.run_all(Path(sys.argv[1]))
"""


def run_all(folder: Path) -> list[Result]:
    """Two codecs on three files."""
    terms = Terms(CORPUS, folder / "cache", ["snr"])
    return compare([PeerCoder("pcm16"), PeerCoder("codec2-3.2")], CLIPS[:3], Store(folder), terms, Place(1))


def test_a_run_that_is_killed_keeps_what_it_scored_file_by_file_and_the_same_command_continues(tmp_path: Path) -> None:
    pytest.importorskip("pycodec2", reason="pycodec2 is an optional extra")
    command = [sys.executable, "-c", STUCK, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "stuck\n"
        process.kill()
    paths = [tmp_path / "results" / f"{name}.jsonl" for name in ("pcm16", "codec2-3.2")]
    before = [path.read_text() for path in paths]
    of_pcm, of_other = ([json.loads(line)["file"] for line in text.splitlines()] for text in before)
    assert len(of_pcm) == 2 and of_other == of_pcm[:1]  # all codecs of a file before the next file
    assert len(run_all(tmp_path)) == 6
    for path, text in zip(paths, before, strict=True):
        assert path.read_text().startswith(text) and len(path.read_text().splitlines()) == 3


def test_a_measure_that_was_not_installed_is_named_and_computed_once_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    absent = measures.ALL_MEASURES["lsd"]._replace(missing=lambda: "a package: pip install it")
    monkeypatch.setitem(measures.ALL_MEASURES, "lsd", absent)
    with caplog.at_level("INFO"):
        (first,) = run(PeerCoder("pcm16"), CLIPS[:1], tmp_path, measures=["snr", "lsd"])
    assert "without lsd, which needs a package: pip install it" in caplog.text
    assert first.measures == {"snr": math.inf} and first.failures == {}
    monkeypatch.undo()
    (again,) = run(PeerCoder("pcm16"), CLIPS[:1], tmp_path, measures=["snr", "lsd"])
    assert again.measures == {"snr": math.inf, "lsd": 0} and again.failures == {}


def test_a_line_torn_by_a_crash_costs_only_its_own_file(tmp_path: Path) -> None:
    run(PeerCoder("pcm16"), CLIPS[:2], tmp_path)
    path = tmp_path / "results" / "pcm16.jsonl"
    path.write_text(path.read_text()[:-40])
    assert len(Store(tmp_path).of_codec("pcm16")) == 1
    assert len(run(PeerCoder("pcm16"), CLIPS[:3], tmp_path)) == 3
    assert len(path.read_text().splitlines()) == 4


def test_worker_processes_give_the_same_results_as_one(tmp_path: Path) -> None:
    alone = run(PeerCoder("pcm16"), CLIPS, tmp_path / "one", measures=["snr", "lsd"])
    pooled = run(PeerCoder("pcm16"), CLIPS, tmp_path / "two", measures=["snr", "lsd"], place=Place(2))
    key = [(each.file, each.bits, each.measures) for each in alone]
    assert sorted(key, key=str) == sorted([(each.file, each.bits, each.measures) for each in pooled], key=str)
    assert all(each.measures == {"snr": math.inf, "lsd": 0} for each in pooled)


def test_a_codec_that_fails_on_a_file_is_counted_and_named_and_tried_again(tmp_path: Path) -> None:
    results = run(Clumsy("raises"), CLIPS[:3], tmp_path)
    assert [each.error for each in results] == ["clumsy: ffmpeg failed with status 3"] * 3
    assert faults(results) == [f"3 files not coded by clumsy, such as {results[0].file}: {results[0].error}"]
    assert [each.error for each in run(Clumsy(), CLIPS[:3], tmp_path)] == [""] * 3


def test_a_process_that_a_library_ends_takes_only_its_file_with_it(tmp_path: Path) -> None:
    results = run(Clumsy(fatal_length=soundfile.info(CLIPS[2].path).frames), CLIPS, tmp_path, place=Place(2))
    assert {each.file for each in results if each.error} == {str(CLIPS[2].path.relative_to(CORPUS))}
    assert len(results) == len(CLIPS)


def test_decoded_speech_of_another_length_has_a_reason_instead_of_scores(tmp_path: Path) -> None:
    (result,) = run(Clumsy("shortens"), CLIPS[:1], tmp_path)
    assert math.isnan(result.measures["snr"])
    assert "equally long" in result.failures["snr"]
    line = json.loads((tmp_path / "results" / "clumsy.jsonl").read_text())
    assert line["measures"] == {"snr": None}


def test_silence_and_broken_files_do_not_end_a_run(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000), 16_000)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    recordings = [Recording(tmp_path / name, "nobody") for name in ("silence.wav", "broken.wav")]
    measures = ["pesq_wb", "stoi", "lsd", "visqol"]
    results = run(PeerCoder("pcm16"), recordings, tmp_path / "out", corpus=tmp_path, measures=measures)
    broken, silent = sorted(results, key=lambda result: result.file)
    assert silent.failures == dict.fromkeys(measures, "the reference is silent")
    assert "broken.wav" in broken.error


def test_the_table_has_a_line_for_every_result(model_folder: Path, check_dir: Path, tmp_path: Path) -> None:
    run(model_coder(f"ours={model_folder}", check_dir), CLIPS[:1], tmp_path)
    run(PeerCoder("pcm16"), CLIPS[:1], tmp_path)
    with Store(tmp_path).write_csv().open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["family"], row["layer"]) for row in rows] == [("ours", "1"), ("ours", "2"), ("16-bit PCM", "0")]
    assert float(rows[2]["kbps"]) == 256
    assert all(float(row["snr"]) for row in rows)
    assert [each.kind for each in Store(tmp_path).codecs()] == ["model", "peer"]


def measure(tmp_path: Path, *extra: str, data_dir: Path = CORPUS) -> int:
    places = ["--output", str(tmp_path / "report"), "--cache_dir", str(tmp_path / "cache"), "--data_dir", str(data_dir)]
    return report.main(["measure", *places, "--measures", "snr", "--processes", "1", *extra])


def test_a_model_is_not_tested_on_its_own_training_speech(
    trained: Workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_folder = trained.folders()[1]
    own = CORPUS / "allison"
    flags = ["--models", str(run_folder / "stages" / "finetune"), "--peers", "--files_per_speaker", "1"]
    assert measure(tmp_path, *flags, data_dir=own) == 2
    error = capsys.readouterr().err
    assert "was trained on 1 of the 1 test files" in error and "--allow_overlap" in error
    assert not (tmp_path / "report").exists()
    assert measure(tmp_path, *flags, "--allow_overlap", data_dir=own) == 0
    assert len(Store(tmp_path / "report").all()) == 2


@pytest.mark.parametrize(("name", "status"), STOPS)
@pytest.mark.parametrize("error", [None, SystemError])
def test_a_signal_while_measuring_keeps_what_is_scored_and_the_same_command_continues(
    name: str,
    status: int,
    error: type[Exception] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = ["--peers", "pcm16"]
    with monkeypatch.context() as patch:
        patch.setattr(baselines, "write_flac", after(2, baselines.write_flac, name, error))
        assert measure(tmp_path, *flags) == status
    assert capsys.readouterr().err == "report.py: stopped; the same command continues\n"
    [kept] = Store(tmp_path / "report").all()
    assert measure(tmp_path, *flags) == 0
    results = Store(tmp_path / "report").all()
    assert kept in results and len(results) > 1 and not any(each.error for each in results)
    assert not list(tmp_path.rglob("*.part"))


def test_a_model_whose_training_files_are_unknown_is_refused(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert measure(tmp_path, "--models", str(model_folder), "--peers") == 2
    assert "found none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--peers", "mp3"], "expected a codec, found 'mp3'"),
        (["--peers"], "no codec to measure"),
        (["--peers", "g722", "--measures", "mos"], "invalid choice: 'mos'"),
        (["--peers", "--models", "=x"], "expected LABEL=MODEL"),
    ],
)
def test_bad_flags_end_in_one_line(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert measure(tmp_path, *flags) == 2
    lines = capsys.readouterr().err.splitlines()
    assert message in lines[-1] and lines[-1].startswith("report.py: ")
    assert not (tmp_path / "report").exists()


def test_a_folder_without_speech_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert measure(tmp_path, "--peers", "pcm16", data_dir=tmp_path) == 2
    assert "expected wav, flac or ogg files, found none" in capsys.readouterr().err


def test_peers_that_are_not_installed_are_named_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert measure(tmp_path, "--peers", "g722", "pcm16", "speex-3", "--files_per_speaker", "1") == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "without" in line]
    assert lines == [f"without speex-3, g722: needs ffmpeg, found none: {ffmpeg.INSTALL}"]
    assert {each.codec for each in Store(tmp_path / "report").all()} == {"pcm16"}


def test_peers_and_measures_do_not_wait_for_tensorflow() -> None:
    program = "import sys, comparison.compare; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


def test_models_travel_to_other_processes(model_folder: Path, check_dir: Path) -> None:
    coder = model_coder(str(model_folder), check_dir)
    assert isinstance(coder, ModelCoder)
    assert pickle.loads(pickle.dumps(coder)) == coder
