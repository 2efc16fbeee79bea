"""The page to listen to: what its folder holds, and that a browser plays, switches and sorts it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import report
from comparison.figures.spectrograms import energy_picture, spectrogram
from comparison.numbers.points import Point
from comparison.page.choice import choose_columns
from comparison.peers.baselines import write_flac
from comparison.results import Codec, Result, Store
from tests.helpers.browser import PATIENCE, chromium
from tests.helpers.places import CORPUS
from utilities import load_speech, to_int16

pytest.importorskip("matplotlib", reason="matplotlib is an optional extra")
pytest.importorskip("jinja2", reason="jinja2 is an optional extra")

OWN = ("file:", "data:")
CLIPS = sorted(CORPUS.rglob("*.flac"))[:3]
NOISE = {("ours", 1): 0.03, ("ours", 2): 0.01, ("loud", 0): 0.1}  # of full scale
SCORES = {"ours": (2.0, 3.0, 1.0), "loud": (1.5, 1.2, 1.1)}  # PESQ of each clip


pytestmark = pytest.mark.slow  # the page takes seconds to write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on three clips, two layers of a model and a peer, whose label is not harmless."""
    output = tmp_path_factory.mktemp("report") / "with space"
    store = Store(output)
    store.describe(Codec("ours", "ours", "ours", "model", origin="run/first"))
    store.describe(Codec("loud", "<b>loud</b> & noisy", "loud", "peer", True, commands=("ffmpeg -i pipe:0",)))
    for (name, layer), level in NOISE.items():
        store.append([_noisy(output, name, layer, level, place) for place in range(len(CLIPS))])
    (output / "sounds").mkdir()
    (output / "sounds" / "7.js").write_text("of an earlier page")
    assert report.main(["page", "--output", str(output), "--codecs", "ours*", "loud", "--title", "Test <page>"]) == 0
    return output


def _noisy(output: Path, name: str, layer: int, level: float, place: int) -> Result:
    signal = load_speech(CLIPS[place])
    noise = level * np.random.default_rng(place).standard_normal(len(signal))
    decoded = output / "coded" / f"{name}-{layer}-{place}.flac"
    write_flac(decoded, to_int16(signal + noise))
    return Result(
        codec=name,
        layer=layer,
        loss=0.0,
        corpus=str(CORPUS),
        file=str(CLIPS[place].relative_to(CORPUS)),
        speaker=CLIPS[place].parent.name,
        seconds=len(signal) / 16_000,
        bits=len(signal) * (layer + 1),
        decoded=str(decoded),
        measures={"pesq_wb": SCORES[name][place] + layer, "snr": -20 * np.log10(level)},
        sex="FMM"[place],
        delay_ms=498 * (name == "ours"),
    )


def test_the_folder_needs_nothing_from_outside(folder: Path) -> None:
    page = (folder / "index.html").read_text()
    links = re.findall(r'(?:src|href)="([^"#]*)"', page)
    assert links and all(link == "data:," or (folder / link).is_file() for link in links)
    assert not re.search(r"https?://(?!www\.w3\.org)", page)
    assert sorted(path.name for path in (folder / "sounds").iterdir()) == ["0.js", "1.js", "2.js"]
    assert len(list((folder / "pictures").iterdir())) == 3 * (1 + 3 * len(NOISE))


def test_labels_and_titles_are_text_and_not_markup(folder: Path) -> None:
    page = (folder / "index.html").read_text()
    assert "&lt;b&gt;loud&lt;/b&gt; &amp; noisy" in page and "<b>loud" not in page
    assert "<title>Test &lt;page&gt;</title>" in page


def test_the_page_says_how_rates_are_counted_and_how_peers_were_run(folder: Path) -> None:
    page = (folder / "index.html").read_text()
    assert "without container" in page and "ffmpeg -i pipe:0" in page
    assert "(20.0" in page  # in brackets: its low end is removed


def test_a_spectrogram_shows_a_tone_at_its_height() -> None:
    tone = np.sin(2 * np.pi * 6000 * np.arange(16_000) / 16_000).astype(np.float32)
    shown = spectrogram(tone, 0.0).astype(int).sum(axis=2)[:, 20:80].mean(axis=1)
    assert shown.shape == (128,)
    assert np.argmax(shown) == pytest.approx(127 * (1 - 6000 / 8000), abs=2)
    assert np.all(spectrogram(0 * tone, 0.0) == spectrogram(0 * tone, 0.0)[0, 0])


def test_a_picture_of_energies_is_red_where_and_when_decoded_speech_is_louder() -> None:
    noise = np.random.default_rng(0).standard_normal(16_384).astype(np.float32)
    louder = noise.copy()
    louder[8192:] *= 4  # 12 dB
    shown = energy_picture(noise, louder).astype(int)
    assert shown.shape == (128, 256, 3)
    red = shown[..., 0] - shown[..., 2]
    assert np.median(red[:, 140:]) > 80 and abs(np.median(red[:, :120])) < 10
    softer = energy_picture(noise, (louder / 4).astype(np.float32)).astype(int)
    assert np.median((softer[..., 2] - softer[..., 0])[:, :120]) > 80


def test_the_page_begins_with_what_serves_for_talking_beside_codecs_of_like_rates() -> None:
    def point(name: str, kind: str, delay_ms: float) -> Point:
        return Point(Codec(name, name, name, kind), 0, 9, (Result(name, 0, 0, "c", "f", "s", delay_ms=delay_ms),), {})

    files, talk = point("m", "model", 660), point("m-talk", "model", 60)
    others = [point(name, "peer", 26.5) for name in ("opus-av-audio-vbr-9", "speex-3")]
    chosen = [column.label for column in choose_columns([files, talk, *others], [])]
    assert chosen == ["reference", "m-talk", "opus-av-audio-vbr-9"]
    assert [column.label for column in choose_columns([files, *others], [])][1] == "m"


@pytest.mark.parametrize(
    ("flags", "message"), [(["--codecs", "mp3"], "found 'mp3'; there are"), (["--files", "0"], "at least 1, found 0")]
)
def test_bad_flags_end_in_one_line(
    folder: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report.main(["page", "--output", str(folder), *flags]) == 2
    assert message in capsys.readouterr().err


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def page(browser: Any, folder: Path) -> Iterator[Any]:
    """The page as opened from disk; no error may stand in its console at the end."""
    context = browser.new_context(viewport={"width": 1300, "height": 900})
    context.set_default_timeout(PATIENCE)
    opened = context.new_page()
    errors: list[str] = []
    opened.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("request", lambda request: errors.extend([request.url] * (not request.url.startswith(OWN))))
    opened.goto((folder / "index.html").as_uri())
    yield opened
    context.close()
    assert errors == []


def play(page: Any, file: int, codec: int) -> None:
    page.locator(f"tr[data-file='{file}'] .cell").nth(codec).click()
    page.wait_for_function("player.playing && player.position() > 0.05")


def hears(page: Any, gains: list[int]) -> None:
    """Waits until the codecs are as loud as this, since a fade takes 5 ms and a busy machine longer."""
    page.wait_for_function("gains => player.gains.every(({gain}, at) => gain.value === gains[at])", arg=gains)


def test_a_cell_plays_its_codec(page: Any) -> None:
    play(page, 1, 2)
    hears(page, [0, 0, 1, 0])
    assert page.evaluate("player.buffers.map((buffer) => buffer.length)[0]") > 8000
    assert page.locator('.cell[aria-pressed="true"]').count() == 1
    assert "ours, layer 2" in page.locator("#now").inner_text()


def test_keys_switch_codecs_without_a_jump_in_time(page: Any) -> None:
    play(page, 0, 0)
    # Where a file plays follows from the clock and these alone; reading the clock twice is not exact.
    begun = "[player.startedAt, player.offset, player.sources === begun]"
    page.evaluate("window.begun = player.sources")
    started = page.evaluate(begun)
    page.keyboard.press("4")
    hears(page, [0, 0, 0, 1])
    page.keyboard.press("9")  # there are four
    hears(page, [0, 0, 0, 1])
    page.locator("tr[data-file='0'] .cell").nth(1).click()
    hears(page, [0, 1, 0, 0])
    assert page.evaluate(begun) == started
    assert started[2]


def test_what_plays_is_the_decoded_file(page: Any, folder: Path) -> None:
    play(page, 0, 3)
    played = page.evaluate("""async () => {
        const context = new OfflineAudioContext(1, 16000, 16000);
        const sounded = await context.decodeAudioData(
            Uint8Array.from(atob(sounds[0][3]), (letter) => letter.charCodeAt(0)).buffer);
        return Array.from(sounded.getChannelData(0).slice(0, 4000));
    }""")
    decoded: NDArray[np.float32] = load_speech(folder / "coded" / "loud-0-0.flac")
    assert np.allclose(played, decoded[:4000], atol=1e-4)


def test_space_stops_and_goes_on_where_it_was(page: Any) -> None:
    play(page, 0, 1)
    page.keyboard.press(" ")
    place = page.evaluate("[player.playing, player.position()]")
    assert place[0] is False and place[1] > 0
    page.wait_for_timeout(100)
    assert page.evaluate("player.position()") == place[1]
    page.keyboard.press(" ")
    page.wait_for_function(f"player.playing && player.position() > {place[1]}")


def test_another_file_starts_from_its_beginning_with_the_chosen_codec(page: Any) -> None:
    play(page, 0, 1)
    page.wait_for_timeout(200)
    play(page, 2, 3)
    assert page.evaluate("[player.file, player.codec]") == [2, 3]
    assert page.evaluate("player.offset") == 0


def test_files_sort_by_a_codec_s_score_and_codecs_by_any_column(page: Any) -> None:
    def order() -> list[str]:
        return page.locator("#files tbody tr").evaluate_all("rows => rows.map((row) => row.dataset.file)")

    heading = page.locator("#files thead button").nth(3)  # the second layer
    heading.click()
    assert order() == ["2", "0", "1"]
    heading.click()
    assert order() == ["1", "0", "2"]
    page.locator("#scores thead button").nth(1).click()
    rates = page.locator("#scores tbody tr").evaluate_all("rows => rows.map((row) => +row.cells[1].dataset.value)")
    assert rates == sorted(rates)
    assert page.locator("#scores th[aria-sort=ascending]").inner_text().startswith("kbps")


def test_the_figure_has_a_band_per_codec_and_leaves_out_what_the_legend_does(page: Any) -> None:
    bands = page.locator("#chart polygon")
    assert bands.count() == 2
    assert page.locator("#chart circle title").first.text_content().startswith(("ours: ", "<b>loud"))
    page.locator("#legend .family", has_text="ours").click()
    assert bands.count() == 1
    page.locator("#legend .family", has_text="ours").click()
    page.select_option("#chart-measure", "snr")
    assert "SNR dB" in page.locator("#chart").inner_text()
    page.select_option("#over", "delay")
    assert page.locator("#chart circle").count() == 2  # the peer's delay is not known
    assert "delay" in page.locator("#curves-title").inner_text()


def test_figure_and_table_show_the_chosen_speakers_and_rates(page: Any) -> None:
    def cell() -> str:
        return page.locator("#scores tbody tr[data-codec='0'] td").nth(3).inner_text()

    assert cell().startswith(f"{1 + np.mean(SCORES['ours']):.2f}")
    page.select_option("#sex", "F")
    assert cell() == f"{1 + SCORES['ours'][0]:.2f}"
    page.select_option("#sex", "M")
    assert cell().startswith(f"{1 + np.mean(SCORES['ours'][1:]):.2f}")
    page.fill("#most", "40")  # the layers take 32 and 48 kbps, the peer 16
    assert page.locator("#scores tbody tr:visible").count() == 2
    page.fill("#least", "30")
    assert page.locator("#scores tbody tr:visible").count() == 1
    page.fill("#most", "31")
    assert "nothing measured here" in page.locator("#chart").inner_text()


def test_the_page_shows_where_the_noise_is(page: Any) -> None:
    assert page.locator("#noise figure svg").count() == 2  # a layer each
    assert "women" in page.locator("#noise").inner_text()


def test_score_and_picture_of_all_cells_can_be_chosen(page: Any) -> None:
    cell = page.locator("tr[data-file='0'] .cell").nth(3)
    assert cell.locator(".score").inner_text() == "1.50"
    page.select_option("#measure", "snr")
    assert cell.locator(".score").inner_text() == "(20.0)"
    page.select_option("#picture", "residual")
    assert cell.locator(".residual").is_visible() and not cell.locator(".spectrogram").is_visible()
    cell.locator(".residual").scroll_into_view_if_needed()
    page.wait_for_function("[...document.querySelectorAll('.residual')].every((each) => each.naturalWidth > 0)")


def test_a_file_s_name_can_be_read_however_many_codecs_there_are(page: Any) -> None:
    page.set_viewport_size({"width": 720, "height": 600})
    assert page.locator("#files tbody th").first.bounding_box()["width"] > 140


def test_light_and_dark_follow_the_system_and_the_button(browser: Any, folder: Path) -> None:
    context = browser.new_context(color_scheme="dark")
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto((folder / "index.html").as_uri())
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.click("#theme")
    light = page.evaluate(ground)
    assert light == "rgb(255, 255, 255)" != dark
    page.click("#theme")
    assert page.evaluate(ground) == dark
    context.close()


def test_a_phone_shows_everything_within_its_width_and_plays(browser: Any, folder: Path) -> None:
    context = browser.new_context(viewport={"width": 375, "height": 700}, is_mobile=True, has_touch=True)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto((folder / "index.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    cell = page.locator("tr[data-file='0'] .cell").nth(1)
    cell.tap()
    page.wait_for_function("player.playing")
    box = cell.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 375
    assert min(page.locator("#play").bounding_box()[side] for side in ("width", "height")) >= 40
    context.close()
