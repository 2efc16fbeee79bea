"""The demo: what its server answers, whom it refuses, and that a browser plays, switches and loses packets."""

from __future__ import annotations

import base64
import http.client
import io
import json
import math
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
import soundfile

import nsc
from nsc import cli
from nsc import format as bitstream
from nsc.demo import server as demo
from nsc.demo import trial
from nsc.demo.server import DemoServer
from nsc.format.channel import Channel
from tests.helpers.browser import PATIENCE, chromium
from tests.helpers.places import CORPUS

pytestmark = pytest.mark.slow

CLIP = CORPUS / "allison" / "en-tt-weasels.flac"


@pytest.fixture(scope="module")
def server() -> Iterator[DemoServer]:
    with DemoServer(0) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def ask(
    server: DemoServer, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(demo.HOST, server.server_port)
    connection.request("GET" if body is None else "POST", path, body, headers or {})
    response = connection.getresponse()
    return response.status, response.read()


def code(server: DemoServer, body: bytes = CLIP.read_bytes(), **query: Any) -> tuple[int, dict[str, Any]]:
    status, answer = ask(server, f"/code?{urlencode({'model': 'cq'} | query)}", body)
    return status, json.loads(answer)


def samples_of(text: str) -> np.ndarray:
    return soundfile.read(io.BytesIO(base64.b64decode(text)), dtype="float32")[0]


def test_the_page_and_all_it_needs_come_from_this_machine(server: DemoServer) -> None:
    page = ask(server, "/")[1].decode()
    for part in ("style.css", "page.js"):
        assert part in page and ask(server, f"/{part}")[0] == 200
    assert "http" not in page
    listed = json.loads(ask(server, "/models")[1])
    assert [each["name"] for each in listed] == [each.name for each in nsc.models() if each.encodes]


def test_a_recording_comes_back_coded_with_where_its_bits_went(server: DemoServer) -> None:
    status, answer = code(server, kbps=12, spans=4)
    assert status == 200
    file, original = base64.b64decode(answer["file"]), samples_of(answer["original"])
    assert len(file) == answer["bytes"] == pytest.approx(12_000 / 8 * answer["seconds"], rel=0.03)
    assert samples_of(answer["decoded"]) == pytest.approx(nsc.decode(file).signal, abs=1e-4)
    assert len(original) == len(nsc.decode(file).signal)
    assert answer["delay_ms"] == 170
    bits = sum(map(sum, answer["bits"].values()))
    assert 0.85 < bits / (8 * answer["bytes"]) < 1  # the rest is framing
    assert len(answer["bits"]["codec 1"]) * answer["unit_seconds"] == pytest.approx(answer["seconds"], abs=0.05)


def test_lost_packets_and_those_that_follow_them_are_listed(server: DemoServer) -> None:
    answer = code(server, kbps=12, spans=1, refresh=1, loss=0.2, burst=3)[1]
    lost = answer["lost"]
    assert answer["packets"] == math.ceil((answer["seconds"] + 0.01) / 0.04)
    assert lost == [number for number, gone in enumerate(Channel(0.2, 3).losses(answer["packets"])) if gone] != []
    assert answer["concealed"] == []
    _, packets = nsc.packets_of(base64.b64decode(answer["file"]))
    assert answer["bytes"] == sum(map(len, packets))
    following = code(server, kbps=12, spans=1, refresh=5, loss=0.2, burst=3)[1]
    assert following["lost"] == lost
    assert following["concealed"] == [
        number
        for number in range(len(packets))
        if number not in lost and set(range(number - number % 5, number)) & set(lost)
    ]


def test_a_lost_packet_is_heard_from_the_copy_in_the_next_one(server: DemoServer) -> None:
    answer = code(server, kbps=12, spans=1, refresh=1, redundancy=4, loss=0.2)[1]
    lost = answer["lost"]
    assert (
        answer["restored"]
        == [number for number in lost if number + 1 not in lost and number + 1 < answer["packets"]]
        != []
    )
    assert answer["concealed"] == []
    assert sum(answer["bits"]["copy"]) / 1000 / answer["seconds"] == pytest.approx(4, rel=0.2)
    assert answer["bytes"] == pytest.approx(12_000 / 8 * answer["seconds"], rel=0.1)


def test_models_of_one_rate_are_coded_with_too(server: DemoServer) -> None:
    status, answer = code(server, model="cq-9k", spans=2)
    assert status == 200
    assert set(answer["bits"]) == {"lpc", "codec 1"}
    assert (answer["unit_seconds"], answer["group_seconds"]) == (0.03, 0.96)


def test_a_scalable_file_is_cut_to_the_codecs_that_are_kept(server: DemoServer) -> None:
    kept, whole = (code(server, model="cq-scalable", kbps=24, layers=layers)[1] for layers in (1, 3))
    assert set(whole["bits"]) - set(kept["bits"]) == {"codec 2", "codec 3"}
    assert base64.b64decode(kept["file"]) == bitstream.truncate(base64.b64decode(whole["file"]), 1)
    assert samples_of(kept["decoded"]) == pytest.approx(nsc.decode(base64.b64decode(kept["file"])).signal, abs=1e-4)


def test_long_recordings_are_cut_with_a_note(server: DemoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "LONGEST_SECONDS", 1)
    answer = code(server)[1]
    assert answer["seconds"] == 1.0
    assert answer["notes"] == ["the first 1 s of it"]


@pytest.mark.parametrize(
    ("query", "body", "line"),
    [
        ({}, b"no sound at all", "expected"),
        ({"model": "qc"}, CLIP.read_bytes(), "did you mean cq"),
        ({"kbps": "much"}, CLIP.read_bytes(), "kbps: expected a number, found 'much'"),
        ({"kbps": "nan"}, CLIP.read_bytes(), "kbps: expected a number from 0 to 1000, found nan"),
        ({"kbps": "1e308"}, CLIP.read_bytes(), "kbps: expected a number from 0 to 1000"),
        ({"layers": "0"}, CLIP.read_bytes(), "layers: expected a whole number from 1 to 63, found 0"),
        ({"spans": "9" * 5000}, CLIP.read_bytes(), "spans: expected a whole number, found '999"),
        ({"model": "q" * 20_000}, CLIP.read_bytes(), "expected the name, the hash or the folder of a model"),
        ({"model": "\0"}, CLIP.read_bytes(), "expected the name, the hash or the folder of a model"),
        ({"model": "cq-9k", "kbps": 12}, CLIP.read_bytes(), "rate"),
        ({"spans": 99}, CLIP.read_bytes(), "expected 1 to 16 frames"),
        ({"layers": 2}, CLIP.read_bytes(), "expected 1"),
        ({"loss": 2}, CLIP.read_bytes(), "expected a loss"),
        ({"loss": 0.1, "burst": 0}, CLIP.read_bytes(), "bursts of at least 1"),
        ({"kbps": 6, "redundancy": 6}, CLIP.read_bytes(), "redundancy: expected less than kbps"),
        ({"refresh": 0}, CLIP.read_bytes(), "refresh: expected a whole number from 1"),
        ({"model": "cq-9k", "refresh": 5}, CLIP.read_bytes(), "lapped spectrum for packets"),
    ],
)
def test_a_mistake_is_answered_with_one_line(server: DemoServer, query: dict[str, Any], body: bytes, line: str) -> None:
    status, answer = code(server, body, **query)
    assert status == 400
    assert line in answer["error"] and "\n" not in answer["error"]


def raw(server: DemoServer, request: str) -> bytes:
    """The beginning of what the server answers to a request as it is."""
    with socket.create_connection((demo.HOST, server.server_port), timeout=30) as connection:
        connection.sendall(request.format(host=f"{demo.HOST}:{server.server_port}").encode())
        return connection.makefile("rb").readline()


REQUESTS = {
    "a path of 300 letters": (f"GET /{'x' * 300} HTTP/1.1\r\nHost: {{host}}\r\n\r\n", 404),
    "a path out of the page": ("GET /../server.py HTTP/1.1\r\nHost: {host}\r\n\r\n", 404),
    "a path with a zero": ("GET /%00 HTTP/1.1\r\nHost: {host}\r\n\r\n", 404),
    "an address with a bracket": ("GET http://[/x HTTP/1.1\r\nHost: {host}\r\n\r\n", 400),
    "the same with a recording": ("POST http://[/x HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\n\r\nx", 400),
    "a length of 5000 digits": (f"POST / HTTP/1.1\r\nHost: {{host}}\r\nContent-Length: {'9' * 5000}\r\n\r\n", 413),
    "a length in other digits": ("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: \u00b2\r\n\r\n", 413),
    "the head alone": ("HEAD / HTTP/1.1\r\nHost: {host}\r\n\r\n", 200),
    "the head of nothing": ("HEAD /none HTTP/1.1\r\nHost: {host}\r\n\r\n", 404),
    "another method": ("DELETE / HTTP/1.1\r\nHost: {host}\r\n\r\n", 501),
    "no host": ("GET / HTTP/1.1\r\n\r\n", 403),
}


@pytest.mark.parametrize("kind", REQUESTS)
def test_whatever_is_asked_for_is_answered_with_a_status(
    server: DemoServer, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    request, status = REQUESTS[kind]
    assert f" {status} ".encode() in raw(server, request)
    assert capfd.readouterr().err == ""


def test_a_mistake_in_the_code_is_a_status_too(server: DemoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.trials, "run", lambda *arguments: 1 // 0)
    status, answer = code(server)
    assert (status, answer["error"]) == (500, "something went wrong (ZeroDivisionError)")


def test_what_is_too_large_or_has_no_length_is_refused_unread(server: DemoServer) -> None:
    for length in (str(demo.MOST_BYTES + 1), "-1", "much"):
        connection = http.client.HTTPConnection(demo.HOST, server.server_port)
        connection.putrequest("POST", "/code")
        connection.putheader("Content-Length", length)
        connection.endheaders()
        assert connection.getresponse().status == 413


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}])
def test_other_sites_are_refused(server: DemoServer, headers: dict[str, str]) -> None:
    for body in (None, CLIP.read_bytes()):
        assert ask(server, "/code?model=cq", body, headers)[0] == 403


@pytest.mark.parametrize("path", ["/../server.py", "/%2e%2e/server.py", "/page", "/nothing", "//etc/passwd"])
def test_nothing_but_the_page_is_served(server: DemoServer, path: str) -> None:
    assert ask(server, path)[0] == 404


def test_a_port_that_is_taken_is_one_line(server: DemoServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "--no_browser", "--port", str(server.server_port)]) == 2
    assert capsys.readouterr().err.strip().endswith("taken; choose another with --port")


@pytest.fixture
def page(server: DemoServer) -> Iterator[Any]:
    with chromium() as browser:
        opened = browser.new_page()
        opened.set_default_timeout(PATIENCE)
        asked: list[str] = []
        opened.on("request", lambda request: asked.append(request.url))
        faults: list[str] = []
        opened.on("pageerror", lambda fault: faults.append(str(fault)))
        opened.goto(server.address)
        yield opened
        assert faults == []
        assert all(url.startswith((server.address, "blob:", "data:")) for url in asked)


def test_a_browser_codes_plays_switches_and_downloads(page: Any, tmp_path: Path) -> None:
    page.set_input_files("#file", str(CLIP))
    page.locator("#result").wait_for(state="visible")
    assert "kbps" in page.locator("#facts").inner_text()
    assert page.locator("#decoded").get_attribute("aria-pressed") == "true"
    page.locator("h1").click()
    page.keyboard.press("x")
    assert page.locator("#original").get_attribute("aria-pressed") == "true"
    page.locator("#play").click()
    assert page.locator("#play").inner_text() == "Stop"
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == "en-tt-weasels.nsc"
    download.value.save_as(tmp_path / "speech.nsc")
    assert nsc.info((tmp_path / "speech.nsc").read_bytes()).seconds == pytest.approx(2.95, abs=0.01)


def test_sliders_change_rate_and_loss_and_a_mistake_is_shown(page: Any, tmp_path: Path) -> None:
    page.set_input_files("#file", str(CLIP))
    page.locator("#result").wait_for(state="visible")
    page.locator("#spans").fill("2")
    assert page.locator("#spans-shown").inner_text() == "packets of 80 ms"
    page.locator("#facts", has_text="delay 90 ms").wait_for()
    page.locator("#burst").fill("3")
    page.locator("#loss").fill("20")
    page.locator("#facts", has_text=re.compile(r"\d+ of 38 packets lost")).wait_for()
    assert "lost" in page.locator("#packets-legend").inner_text()
    darkest = "c => Math.max(...c.getContext('2d').getImageData(0, 0, c.width, 1).data.filter((_, i) => i % 4 == 0))"
    assert page.locator("#packets").evaluate(darkest) > 0
    page.select_option("#refresh", "5")
    page.locator("#packets-legend", has_text="follow a lost one").wait_for()
    assert not page.locator("#layers").is_visible()
    page.locator("#kbps").fill("24")
    page.locator("#facts", has_text=re.compile(r"^2[345]\.")).wait_for()
    page.locator("#redundancy").fill("4")
    page.locator("#packets-legend", has_text="heard from the copy").wait_for()
    assert "copy" in page.locator("#legend").inner_text()
    (tmp_path / "notes.txt").write_text("no sound")
    page.set_input_files("#file", str(tmp_path / "notes.txt"))
    page.locator("#error").wait_for(state="visible")
    assert "expected" in page.locator("#error").inner_text()
