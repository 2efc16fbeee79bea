"""Recordings at the pace of a clock, microphone and loudspeaker, keys, and what the command refuses."""

from __future__ import annotations

import base64
import multiprocessing
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nsc import cli
from nsc.call import devices, rtp
from nsc.call.devices import Loudspeaker, Microphone, PacedFile
from nsc.call.protection import protection_of
from nsc.errors import UserError
from tests.helpers.places import CORPUS, ROOT

CLIP = str(CORPUS / "allison" / "en-tt-weasels.flac")


def test_a_recording_is_sent_as_fast_as_it_was_spoken() -> None:
    spoken = np.arange(17_000, dtype=np.float32)
    moments = iter([5.0, 5.04, 5.25, 6.0, 7.0, 8.0])
    file = PacedFile([spoken[:1_000], spoken[1_000:]], lambda: next(moments))
    blocks = [block for _ in range(5) if (block := file.read()) is not None]
    assert file.read() is None
    assert list(map(len, blocks)) == [0, 640, 3_360, 12_000, 1_000]
    assert np.array_equal(np.concatenate(blocks), spoken)


class Fake:
    """Takes the place of sounddevice: its streams are given their blocks by hand."""

    PortAudioError = OSError

    def __init__(self) -> None:
        self.started: list[Any] = []
        self.InputStream = self.OutputStream = self.open

    def open(self, **options: Any) -> Any:
        self.started.append(SimpleNamespace(start=lambda: None, close=self.started.clear, **options))
        return self.started[-1]


def test_a_microphone_gives_what_it_has_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    with devices.opened(Microphone) as microphone:
        [stream] = fake.started
        for value in (0.5, np.nan, -np.inf):
            stream.callback(np.full((320, 1), value, np.float32), 320, None, None)
        assert np.array_equal(microphone.read(), np.repeat([0.5, 0, -1], 320))
        assert len(microphone.read()) == 0
        for _ in range(10 * devices.MOST_WAITING):
            stream.callback(np.zeros((320, 1), np.float32), 320, None, None)
        assert len(microphone.read()) == devices.MOST_WAITING * 320
    assert fake.started == []


def test_a_loudspeaker_plays_without_gaps_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    with devices.opened(Loudspeaker) as loudspeaker:
        [stream] = fake.started
        played = [np.ones((320, 1), np.float32) for _ in range(5)]
        assert loudspeaker.wants
        loudspeaker.play(np.arange(480, dtype=np.float32))
        loudspeaker.play(np.arange(480, 1120, dtype=np.float32))
        assert not loudspeaker.wants
        for block in played:
            stream.callback(block, 320, None, None)
        assert np.array_equal(np.concatenate(played)[:, 0], [*range(1120), *[0] * 480])


def test_without_a_device_the_line_names_the_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with (
        pytest.raises(UserError, match=r"expected sounddevice, found none; pip install .* --input"),
        devices.opened(Microphone),
    ):
        pass
    fake = Fake()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    monkeypatch.setattr(fake, "OutputStream", lambda **options: int("no number"))
    with (
        pytest.raises(UserError, match=r"found invalid literal .*; give --input and --output"),
        devices.opened(Loudspeaker),
    ):
        pass


def key_file(folder: Path, key: bytes) -> str:
    (folder / "key").write_bytes(key)
    return str(folder / "key")


@pytest.mark.skipif(not find_spec("pylibsrtp"), reason="pylibsrtp is an optional extra")
def test_what_a_key_seals_no_other_opens_and_nothing_opens_twice(tmp_path: Path) -> None:
    # in a process of its own: libsrtp and TensorFlow each bring a libcrypto, and the second one crashes
    process = multiprocessing.get_context("spawn").Process(target=seal_and_open, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == 0


def seal_and_open(tmp_path: Path) -> None:
    keys = [base64.b64encode(bytes([value]) * 30) for value in (1, 1, 2)]
    ours, theirs, others = (protection_of(key_file(tmp_path, key)) for key in keys)
    for data, control in ((rtp.pack(rtp.Packet(1, 2, 3, b"speech")), False), (rtp.pack_control(rtp.Bye(3)), True)):
        sealed = ours.seal(data, control=control)
        assert sealed is not None and b"speech" not in sealed and len(sealed) > len(data)
        assert others.opened(sealed, control=control) is None
        assert theirs.opened(sealed[:-1] + bytes([sealed[-1] ^ 1]), control=control) is None
        assert theirs.opened(sealed, control=control) == data
        assert theirs.opened(sealed, control=control) is None
    for data in (b"", b"\x80", bytes(2_000), b"\x80\xc8" * 600):
        assert theirs.opened(data, control=True) is None and theirs.opened(data, control=False) is None
    assert ours.seal(rtp.pack(rtp.Packet(2, 2, 3, bytes(1_500))), control=False) is None


@pytest.mark.parametrize("key", [b"", b"short", base64.b64encode(bytes(16)), b"\xff" * 40])
def test_what_is_no_key_is_refused(tmp_path: Path, key: bytes) -> None:
    with pytest.raises(UserError, match="expected a key of 30 bytes in base64, found another; make one"):
        protection_of(key_file(tmp_path, key))


def test_a_key_needs_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pylibsrtp", None)
    with pytest.raises(UserError, match="expected pylibsrtp for a call with a key"):
        protection_of(key_file(tmp_path, base64.b64encode(bytes(30))))


@pytest.fixture
def taken() -> Any:
    """A port that is in use, though nobody answers there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        yield opened.getsockname()[1]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("", "expected HOST:PORT or --listen PORT, found neither"),
        ("localhost:5004 --listen 5004", "found both"),
        ("localhost", "expected HOST:PORT, found 'localhost'"),
        ("::1:5004", "expected HOST:PORT, found '::1:5004'"),
        ("localhost:70000", "expected a whole number from 1 to 65535"),
        ("--listen TAKEN", "cannot be used (Address already in use); choose another port"),
        ("--listen 0 --bind 192.0.2.1", "cannot be used (Cannot assign requested address)"),
        (f"{'x' * 70}:5004", "expected a host that this machine knows"),
        ("127.0.0.1:TAKEN --wait 0.1", "expected an answer, found nothing for 0.1 s; is nsc call --listen running"),
        ("localhost:5004 --key none.key", "expected a file none.key with a key, found none"),
        ("localhost:5004 --model qc", "did you mean cq"),
        ("localhost:5004 --model cq-9k", "lapped spectrum for packets"),
        ("localhost:5004 --input none.wav", "none.wav"),
        ("localhost:5004 --output heard.mp3", "expected a name that ends in .wav or .flac or .ogg"),
        ("localhost:5004 --cbr", "expected kbps with a bounded rate"),
        ("localhost:5004 --kbps 9 --redundancy 9", "redundancy: expected less than kbps, 9 in all, found 9"),
        ("localhost:5004 --frames_per_packet 5", "expected a whole number from 1 to 4"),
    ],
)
def test_a_mistake_is_one_line(
    words: str,
    line: str,
    taken: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    files = {"--input": CLIP, "--output": "heard.wav"}
    given = words.replace("TAKEN", str(taken)).split()
    added = [word for flag, name in files.items() if flag not in given for word in (flag, name)]
    assert cli.main(["call", *given, *added]) == 2
    error = capsys.readouterr().err
    assert line in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_port_where_nobody_listens_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        port = opened.getsockname()[1]
    output = tmp_path / "heard.wav"
    assert cli.main(["call", f"127.0.0.1:{port}", "--input", CLIP, "--output", str(output)]) == 2
    assert "expected an answer, found nobody listening there" in capsys.readouterr().err
    assert not output.exists()


def test_neither_the_package_nor_its_command_waits_for_sockets() -> None:
    script = "import sys, nsc, nsc.cli; print(*{'socket', 'select', 'numpy'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == ""
