"""A blind listening test: taken in a real browser, its answers stored as a file and analysed."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special
import scipy.stats
import soundfile

import report
from comparison.page.answers import discriminations, read_ratings
from comparison.peers.baselines import write_flac
from comparison.results import Codec, Result, Store
from tests.helpers.browser import PATIENCE, chromium
from tests.helpers.places import CORPUS
from utilities import load_speech, to_int16

pytest.importorskip("jinja2", reason="jinja2 is an optional extra")

CLIPS = sorted(CORPUS.rglob("*.flac"))[:3]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three clips through two codecs that add noise."""
    made = Store(tmp_path_factory.mktemp("report"))
    for name, level in (("near", 0.001), ("far", 0.1)):
        made.describe(Codec(name, name, name, "model"))
        for place, clip in enumerate(CLIPS):
            signal = load_speech(clip)
            decoded = made.output / f"{name}-{place}.flac"
            noise = level * np.random.default_rng(place).standard_normal(len(signal))
            write_flac(decoded, to_int16(signal + noise))
            file = str(clip.relative_to(CORPUS))
            made.append([Result(name, 1, 0.0, str(CORPUS), file, str(place), 1.0, 1, decoded=str(decoded))])
    return made


def write(store: Store, method: str, folder: Path) -> dict[str, Any]:
    flags = ["--output", str(store.output), "--to", str(folder), "--method", method, "--trials", "3"]
    assert report.main(["blind", *flags, "--codecs", "near", "far"]) == 0
    found = re.search(r"const test = (.*?);\n", (folder / "index.html").read_text())
    assert found
    test: dict[str, Any] = json.loads(found[1])
    return test


def test_every_trial_has_the_hidden_reference_and_anchors_at_one_level(store: Store, tmp_path: Path) -> None:
    test = write(store, "mushra", tmp_path)
    assert [set(trial["stimuli"]) for trial in test["trials"]] == [
        {"reference", "anchor35", "anchor70", "near", "far"}
    ] * 3
    _, _, text = (tmp_path / "sounds" / "1.js").read_text().partition(" = ")
    coded = json.loads(text.rstrip(";\n"))
    sounds = {name: soundfile.read(io.BytesIO(base64.b64decode(each)))[0] for name, each in coded.items()}
    levels = [np.sqrt(np.mean(sound**2)) for sound in sounds.values()]
    assert levels == pytest.approx([levels[0]] * 5, rel=5e-3)
    power = np.abs(np.fft.rfft(sounds["anchor35"])) ** 2
    assert power[round(0.5 * len(power)) :].sum() < 1e-4 * power.sum()  # above 4 kHz
    assert not re.search(r"https?://", (tmp_path / "index.html").read_text())


def answers_of(method: str, listener: str, answers: list[dict[str, Any]], path: Path) -> Path:
    path.write_text(json.dumps({"test": "x", "method": method, "listener": listener, "answers": answers}))
    return path


def test_practice_does_not_count_and_listeners_are_screened_as_in_webmushra(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is an optional extra")
    files = []
    for listener, reference, score in (("anna", 100, 70), ("bert", 95, 50), ("carl", 20, 90)):
        rows = [("t0", "near", 3, True), ("t1", "reference", reference, False), ("t1", "near", score, False)]
        answers = [dict(zip(("trial", "stimulus", "score", "training"), row, strict=True)) for row in rows]
        files.append(answers_of("mushra", listener, answers, tmp_path / f"{listener}.json"))
    assert len(read_ratings(files)) == 6
    assert report.main(["ratings", *map(str, files), "--output", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "2 listeners, 1 trials" in printed and "excluded: carl" in printed
    assert f"60.0 ±{scipy.stats.t.ppf(0.975, 1) * 10:.1f}" in printed


def test_codecs_are_told_apart_as_often_as_listeners_were_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def answers(codec: str, right: int, wrong: int) -> list[dict[str, Any]]:
        given = ["A"] * right + ["B"] * wrong
        return [{"codec": codec, "x": "A", "answer": each, "training": False} for each in given]

    practice = {"codec": "near", "x": "A", "answer": "A", "training": True}
    every = [practice, *answers("near", 5, 5), *answers("far", 10, 0)]
    found = discriminations(every)
    assert found["near"][:2] == (5, 10) and found["near"].chance == pytest.approx(sum(map(combinations, range(5, 11))))
    assert found["far"].chance == pytest.approx(2**-10)
    z = scipy.stats.norm.ppf(0.975)  # Wilson: roots of (p - 1/2)^2 = z^2 p (1 - p) / n
    half_width = z * np.sqrt(0.25 / 10 + z**2 / 400) / (1 + z**2 / 10)
    assert found["near"].low == pytest.approx(0.5 - half_width)
    path = answers_of("abx", "anna", every, tmp_path / "abx.json")
    assert report.main(["ratings", str(path), "--output", str(tmp_path)]) == 0
    assert "10 of 10" in capsys.readouterr().out and "5 of 10" in (tmp_path / "abx.md").read_text()


def combinations(right: int) -> float:
    """Probability of so many of ten right by guessing."""
    return float(scipy.special.comb(10, right) / 2**10)


def test_a_file_that_holds_no_answers_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text('{"method": "mushra"}')
    assert report.main(["ratings", str(tmp_path / "a.json")]) == 2
    assert "expected answers of a listening test, found none" in capsys.readouterr().err


@pytest.fixture
def page() -> Iterator[Any]:
    with chromium() as browser:
        context = browser.new_context(accept_downloads=True)
        context.set_default_timeout(PATIENCE)
        opened = context.new_page()
        errors: list[str] = []
        opened.on("pageerror", lambda error: errors.append(str(error)))
        yield opened
        assert errors == []


def begin(page: Any, folder: Path) -> None:
    page.goto((folder / "index.html").as_uri())
    page.fill("#listener", "Anna B.")
    page.click("#begin")


def hear_all(page: Any) -> None:
    for button in page.locator("#sounds button").all():
        button.click()
        page.wait_for_function("button => button.dataset.heard", arg=button.element_handle())


def test_ratings_given_in_a_browser_are_those_in_the_file(page: Any, store: Store, tmp_path: Path) -> None:
    write(store, "mushra", tmp_path)
    begin(page, tmp_path)
    assert page.text_content("#place") == "Practice"
    with page.expect_download() as download:
        for _ in range(3):
            assert page.is_disabled("#next") and "near" not in page.text_content("main")
            hear_all(page)
            for place, slider in enumerate(page.locator("#sounds input").all()):
                slider.fill(str(10 * place))
            page.click("#next")
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    answers = json.loads(path.read_text())["answers"]
    assert path.name.startswith("mushra-Anna-B-") and len(answers) == 15
    assert [answer["training"] for answer in answers] == [True] * 5 + [False] * 10
    for trial in range(3):
        given = answers[5 * trial : 5 * trial + 5]
        assert [answer["score"] for answer in given] == [0, 10, 20, 30, 40]
        assert {answer["stimulus"] for answer in given} == {"reference", "anchor35", "anchor70", "near", "far"}
    assert len(read_ratings([path])) == 10


def test_a_listener_who_answers_what_x_is_gets_it_right(page: Any, store: Store, tmp_path: Path) -> None:
    test = write(store, "abx", tmp_path)
    begin(page, tmp_path)
    with page.expect_download() as download:
        for _ in test["trials"]:
            hear_all(page)
            page.check(f"input[value={page.evaluate('state.rows[0].x')}]")
            page.click("#next")
    path = tmp_path / "answers.json"
    download.value.save_as(path)
    found = discriminations(json.loads(path.read_text())["answers"])
    assert {name: each[:2] for name, each in found.items()} in (
        {"near": (2, 2), "far": (3, 3)},
        {"near": (3, 3), "far": (2, 2)},
    )
