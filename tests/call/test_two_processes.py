"""Two processes that talk through a network that loses packets."""

from __future__ import annotations

import re
import signal
import struct
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

import nsc
from nsc.audio import to_int16
from nsc.coding.interface import Signal
from tests.call.relay import DELAYED, LOST, REPEATED, Direction, Relay
from tests.helpers.places import ROOT

pytestmark = pytest.mark.slow

PATIENCE = 600  # seconds that a busy machine may take
WAV_HEADER = 44  # bytes of a file in which nothing is heard yet
GONE = [*sorted(LOST), 14]  # what comes after DELAYED packet 14 has been given up


class Side:
    """A process of `nsc call`."""

    def __init__(self, folder: Path, name: str, spoken: Signal, *words: str) -> None:
        self.spoken, self._heard = spoken, folder / f"{name}_heard.wav"
        soundfile.write(folder / f"{name}.wav", spoken, 16_000, subtype="PCM_16")
        command = [sys.executable, "-m", "nsc", "call", *words, "--input", f"{name}.wav", "--output", self._heard.name]
        self.process = subprocess.Popen(
            command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True
        )

    def port(self) -> int:
        """Where it listens, once it does."""
        assert self.process.stderr
        return int(re.findall(r"port (\d+)", self.process.stderr.readline())[0])

    def end(self) -> tuple[int, str]:
        """The status that it ends with, and what it has said."""
        _, said = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said

    def heard(self) -> np.ndarray:
        """What it has written."""
        samples, rate = soundfile.read(self._heard, dtype="int16")
        assert rate == 16_000
        return samples


@pytest.fixture
def spoken(real_speech: Signal) -> list[Signal]:
    """1.2 s, and a little less."""
    return [real_speech[8_000:27_200], real_speech[10_000:27_000][::-1]]


def expected(spoken: Signal, lost: list[int]) -> tuple[list[bytes], np.ndarray]:
    """The packets of speech, and what is heard when some of them are lost."""
    encoder = nsc.PacketEncoder("cq", kbps=9, refresh=1)
    packets = encoder.write(spoken) + encoder.finish()
    decoder = nsc.PacketDecoder("cq", encoder.header)
    blocks = [decoder.lost() if place in lost else decoder.write(each) for place, each in enumerate(packets)]
    assert decoder.damage.lost == lost
    return packets, to_int16(np.concatenate(blocks)[: len(spoken)])


def check_on_the_wire(direction: Direction, packets: list[bytes]) -> None:
    """Numbers, timestamps and markers, read by nothing but RFC 3550, and the payloads."""
    fields = [struct.unpack(">BBHII", each[:12]) for each in direction.packets]
    assert {first for first, *_ in fields} == {0x80}
    assert [kind for _, kind, *_ in fields] == [0x80 | 98] + [98] * (len(packets) - 1)
    assert np.all(np.diff([number for _, _, number, *_ in fields]) == 1)
    assert np.all(np.diff([timestamp for *_, timestamp, _ in fields]) % (1 << 32) == 640)
    assert len({source for *_, source in fields}) == 1
    assert [each[12:] for each in direction.packets] == packets


def test_speech_goes_both_ways_and_damage_is_what_the_network_lost(tmp_path: Path, spoken: list[Signal]) -> None:
    rate = ("--kbps", "9")
    listener = Side(tmp_path, "listener", spoken[0], "--listen", "0", *rate)
    with Relay(listener.port()).running() as relay:
        caller = Side(tmp_path, "caller", spoken[1], f"127.0.0.1:{relay.port}", *rate)
        ends = [caller.end(), listener.end()]
    for (status, said), side, other, direction in zip(
        ends, (caller, listener), (listener, caller), reversed(relay.directions), strict=True
    ):
        packets, signal = expected(other.spoken, GONE)
        assert status == 0, said
        assert f"{len(GONE)} packets lost and concealed ({' '.join(map(str, GONE))})" in said
        assert (
            f"{len(packets) - len(GONE)} received, {len(GONE)} lost, 1 of them late, {len(REPEATED)} repeated" in said
        )
        check_on_the_wire(direction, packets)
        assert np.array_equal(side.heard(), signal)
    assert len(DELAYED) == 2


@pytest.mark.skipif(not find_spec("pylibsrtp"), reason="pylibsrtp is an optional extra")
def test_a_call_with_a_key_shows_nobody_what_is_said(tmp_path: Path, spoken: list[Signal]) -> None:
    (tmp_path / "key").write_text("A" * 40 + "\n")
    words = ("--kbps", "9", "--key", "key")
    listener = Side(tmp_path, "listener", spoken[0], "--listen", "0", *words)
    with Relay(listener.port()).running() as relay:
        caller = Side(tmp_path, "caller", spoken[1], f"127.0.0.1:{relay.port}", *words)
        ends = [caller.end(), listener.end()]
    assert [status for status, _ in ends] == [0, 0], ends
    sent = relay.directions[0].packets
    packets, signal = expected(caller.spoken, GONE)
    assert np.array_equal(listener.heard(), signal)
    assert [len(each) for each in sent] == [12 + len(each) + 10 for each in packets]
    assert not any(packet in each for packet, each in zip(packets, sent, strict=True))


def test_who_hangs_up_ends_both_sides_and_both_have_their_files(tmp_path: Path, real_speech: Signal) -> None:
    listener = Side(tmp_path, "listener", np.tile(real_speech, 100), "--listen", "0")
    caller = Side(tmp_path, "caller", np.tile(real_speech, 100), f"localhost:{listener.port()}")
    while not any(each.stat().st_size > WAV_HEADER for each in tmp_path.glob(".caller_heard.wav.*.part")):
        assert caller.process.poll() is None, caller.end()
        time.sleep(0.01)
    caller.process.send_signal(signal.SIGTERM)
    for side in (caller, listener):
        status, said = side.end()
        assert status == 0 and "lost, " in said, said
        assert len(side.heard()) > 0
