"""Documents from the results that are kept: the same in README, docs and figures, and checked from the table alone."""

from __future__ import annotations

import csv
import io
import lzma
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from PIL import Image

import report
from comparison import documents
from comparison.documents import Places
from comparison.kept import TABLE, complete, digest, kept_of, read_kept, write_kept
from comparison.numbers.summary import summary_of
from comparison.numbers.tables import interval_text
from comparison.results import Codec, Result, Store
from nsc.errors import UserError
from tests.helpers.places import ROOT

ALL_BUT_ONE = ("m-16-groups-1", "m-9-groups-1", "opus-av-audio-vbr-16", "opus-av-audio-vbr-6", "other")


@pytest.mark.slow
def test_readme_and_document_are_those_of_the_results_kept() -> None:
    places = Places()
    summary = summary_of(read_kept(places.results))
    document = documents.document(summary, places.others())
    contents = {places.document: document, places.readme: documents.short_document(summary)}
    for path, content in contents.items():
        assert documents.with_content(path, content) == path.read_text(), "run python report.py tables"


def test_the_figures_are_those_of_the_results_kept() -> None:
    places = Places()
    for path in (places.figure, places.jury):
        with Image.open(path) as picture:
            assert picture.info[documents.FIGURE_KEY] == digest(places.results), "run python report.py tables"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A model at two delays and rates, and peers, on two files of each of three speakers."""
    made = Store(tmp_path / "report")
    random = np.random.default_rng(0)
    for name, kind, delay, kbps in (
        ("m-9", "model", 660.0, 9),
        ("m-9-groups-1", "model", 60.0, 9.2),
        ("m-16-groups-1", "model", 60.0, 16),
        ("opus-av-audio-vbr-6", "peer", 26.5, 6),
        ("opus-av-audio-vbr-16", "peer", 26.5, 17),
        ("other", "peer", 20.0, 6),
    ):
        opus = "Opus (av) audio VBR" if "opus" in name else name
        family = {"peer": opus, "model": "m, groups of 1" if delay < 100 else "m"}[kind]
        made.describe(Codec(name, name, family, kind, commands=("ffmpeg",) * (kind == "peer"), versions={"p": "1"}))
        bands = {"narrow": 1.0} if name.endswith("vbr-6") else {}
        made.append(
            [
                Result(
                    name,
                    0,
                    0.0,
                    "/corpora/speech",
                    f"{speaker}/{file}.wav",
                    speaker,
                    2.0,
                    round(2000 * kbps),
                    measures={"pesq_wb": 2 + kbps / 10 + random.normal(0, 0.1), "octave_125": -0.7, "lsd": math.nan},
                    failures={"lsd": "too short"},
                    delay_ms=delay,
                    bands=bands,
                    commit="abc",
                )
                for speaker in "abc"
                for file in "xy"
            ]
        )
    return made


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Documents of their own, with marks."""
    names = ("results", "results.md", "README.md", "rate.png", "jury.png")
    made = Places(*(tmp_path / name for name in names))
    for path in (made.readme, made.document):
        path.write_text(f"before\n{documents.START}old\n{documents.END}\nafter\n")
    return made


def test_what_is_kept_says_the_same_as_the_folder_of_results(store: Store, places: Places) -> None:
    kept = kept_of(store, "research corpus")
    write_kept(kept, places.results)
    again = read_kept(places.results)
    assert (again.corpus, again.codecs, again.judges) == (kept.corpus, kept.codecs, kept.judges)
    assert documents.document(summary_of(again)) == documents.document(summary_of(kept))
    assert again.results[0].bands == {} and again.results[0].commit == "abc"
    assert math.isnan(again.results[0].measures["lsd"]) and again.results[0].failures == {"lsd": "too short"}
    before = (places.results / TABLE).read_bytes()
    write_kept(again, places.results)
    assert (places.results / TABLE).read_bytes() == before


def test_an_interval_follows_from_the_table_alone(store: Store, places: Places) -> None:
    write_kept(kept_of(store), places.results)
    text = lzma.decompress((places.results / TABLE).read_bytes()).decode()
    rows = [row for row in csv.DictReader(io.StringIO(text)) if row["label"] == "m-9"]
    means = [np.mean([float(row["pesq_wb"]) for row in rows if row["speaker"] == speaker]) for speaker in "abc"]
    half_width = scipy.stats.t.ppf(0.975, 2) * scipy.stats.sem(means)
    [row] = [row for row in summary_of(read_kept(places.results)).points if row.label == "m-9"]
    assert row.intervals["pesq_wb"][:2] == pytest.approx((np.mean(means), half_width), abs=1e-5)


def test_the_lines_of_pandas_in_the_docs_give_the_value_and_interval_of_the_tables(
    store: Store, places: Places, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pandas", reason="pandas is an optional extra")
    kept = kept_of(store)
    write_kept(kept, places.results)
    page = (ROOT / "docs" / "comparison.md").read_text()
    [lines] = [part for part in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "read_csv" in part]
    assert '"cq 9"' in lines
    monkeypatch.chdir(places.results.parent)
    exec(lines.replace('"cq 9"', '"m-9"'), {})
    [row] = [row for row in summary_of(kept).points if row.label == "m-9"]
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2:] == ["9.00 kbps", f"PESQ-WB {interval_text(row.intervals['pesq_wb'], 2)}, 3 speakers"]


@pytest.mark.slow
def test_the_command_writes_two_tables_and_two_figures(
    store: Store, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is an optional extra")
    monkeypatch.setattr(documents, "Places", lambda: places)
    assert report.main(["tables", "--output", str(store.output), "--corpus", "research corpus"]) == 0
    readme = places.readme.read_text()
    assert readme.startswith("before\n") and readme.endswith("\nafter\n")
    talking, files = readme.split("**Files, in long groups**")
    assert "At most 60 ms of delay**: research corpus, 6 files of 3 test speakers" in talking
    assert "**m-9-groups-1**" in talking and "**m-9**" not in talking and "other" not in talking
    assert "**m-9**" in files and "groups-1" not in files
    assert "narrow" in talking and "-0.7" in talking and "ours minus Opus (av) audio VBR" in talking
    document = places.document.read_text()
    assert "other" in document
    assert "(9.2 to 16.0 kbps)" in document  # of ours, where the two curves share a quality
    for path in (places.figure, places.jury):
        with Image.open(path) as picture:
            assert picture.info[documents.FIGURE_KEY] == digest(places.results)
    assert report.main(["tables"]) == 0
    assert places.readme.read_text() == readme and places.document.read_text() == document


def test_means_are_over_files_that_every_codec_was_tried_on_and_what_is_missing_is_named(store: Store) -> None:
    store.leave_out({"evs-9.6": "needs EVS_DIR", "m-9": "was not there yet"})
    store.append([replace(store.of_codec("m-9")[0], file="d/z.wav", speaker="d")])
    kept = complete(kept_of(store, "research corpus"))
    assert {result.file for result in kept.results} == {f"{speaker}/{file}.wav" for speaker in "abc" for file in "xy"}
    assert kept.left_out == {"evs-9.6": "needs EVS_DIR", "1 of 7 files": "not reached by " + ", ".join(ALL_BUT_ONE)}
    text = documents.document(summary_of(kept))
    assert "- evs-9.6: needs EVS_DIR" in text and "- 36 files without lsd, such as m-16-groups-1, a/x.wav" in text
    store.describe(Codec("new", "new", "new", "model"))
    with pytest.raises(UserError, match="of new fewest"):
        complete(kept_of(store))


@pytest.mark.slow
def test_other_sounds_have_a_row_for_each_kind_and_language(
    store: Store, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is an optional extra")
    parts = {"a": "speech, de", "b": "speech, fr", "c": "music"}
    for codec in store.codecs():
        store.append([replace(each, part=parts[each.speaker]) for each in store.of_codec(codec.name)])
    monkeypatch.setattr(documents, "Places", lambda: places)
    assert report.main(["tables", "--output", str(store.output)]) == 0
    assert report.main(["tables", "--output", str(store.output), "--corpus", "other sounds", "--beside", "other"]) == 0
    _, _, section = places.document.read_text().partition("## Other sounds")
    rows = [[cell.strip() for cell in line.split("|")[1:7]] for line in section.splitlines() if line.startswith("|")]
    head, *rows = rows
    assert head == ["sounds", "codec", "files", "kbps", "delay ms", "PESQ-WB"]
    of_m = [(part, files) for part, label, files, *_ in rows if label == "m-9"]
    [(*_, kbps, delay, pesq)] = [row for row in rows if row[:2] == ["music", "m-9"]]
    assert (kbps, delay) == ("9.00", "660") and 2.5 < float(pesq) < 3.5
    assert of_m == [("music", "2"), ("speech", "4"), ("speech, de", "2"), ("speech, fr", "2")]


def test_another_corpus_has_a_row_for_each_codec_and_differences_at_equal_rate(store: Store, places: Places) -> None:
    write_kept(kept_of(store), places.results)
    write_kept(kept_of(store, "clean speech"), places.results / "clean")
    text = documents.document(summary_of(read_kept(places.results)), places.others())
    _, _, section = text.partition("## Clean speech")
    rows = [[cell.strip() for cell in line.split("|")[1:5]] for line in section.splitlines() if line.startswith("|")]
    assert rows[0] == ["codec", "files", "kbps", "delay ms"] and ["m-9", "6", "9.00", "660"] in rows
    assert "At equal rate, ours minus Opus (av) audio VBR" in section and ["m-16-groups-1", "16.00"] in [
        row[:2] for row in rows
    ]


def test_damaged_results_and_a_readme_without_marks_are_refused_in_one_line(
    store: Store, places: Places, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(documents, "Places", lambda: places)
    assert report.main(["tables"]) == 2
    assert "found none that can be read" in capsys.readouterr().err
    write_kept(kept_of(store), places.results)
    places.readme.write_text("no marks")
    assert report.main(["tables"]) == 2
    assert "expected the marks" in capsys.readouterr().err
    (places.results / TABLE).write_bytes(b"nothing of use")
    with pytest.raises(UserError, match="found none that can be read"):
        read_kept(places.results)
