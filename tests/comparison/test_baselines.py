"""Other codecs: what their bits and delays must be, and what happens where they are missing or fail."""

import stat
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from comparison.peers import baselines, evs, lc3, lyra
from comparison.peers import ffmpeg as ffmpeg_peers
from comparison.peers.baselines import PEERS, PeerError, code, code_cached, find_peers
from comparison.peers.evs import packet_bits
from comparison.peers.ffmpeg import amr_wb_bits, ogg_packet_bits
from comparison.peers.opus_packets import band_of, band_shares
from comparison.peers.peer import Peer, find_delay
from measures.measures import pesq_wb, snr, stoi
from nsc.errors import UserError
from nsc.format.channel import Channel

pytestmark = pytest.mark.slow

Samples = NDArray[np.int16]


@pytest.fixture(scope="module")
def samples(speech_clips: list[Samples]) -> Samples:
    return speech_clips[0]


def installed(name: str) -> Peer:
    reason = baselines.missing(PEERS[name])
    if reason:
        pytest.skip(reason)
    return PEERS[name]


def frames_of(samples: Samples) -> int:
    return -(-len(samples) // 320)


def test_every_family_of_the_literature_has_its_rates() -> None:
    assert len(find_peers(["amr-wb-*"])) == 9
    assert len(find_peers(["opus-audio-*", "opus-voip-*"])) == 2 * 2 * 7
    assert {"speex-5", "g722", "pcm16", "opus-voip-vbr-9", "lc3-16", "lyra-3.2", "opus-av-audio-vbr-6"} <= set(PEERS)


def test_opus_packets_say_in_which_band_they_are_coded(samples: Samples) -> None:
    for kbps, band in ((6, "narrow"), (24, "wide")):
        assert max(code(installed(f"opus-av-audio-vbr-{kbps}"), samples).bands) == band
    # RFC 6716, table 2: SILK, hybrid and CELT from narrow to full band
    heads = {1 << 3: "narrow", 4 << 3: "medium", 9 << 3: "wide", 12 << 3: "super-wide", 15 << 3: "full"}
    heads |= {16 << 3: "narrow", 20 << 3: "wide", 24 << 3: "super-wide", 31 << 3 | 7: "full"}
    assert {head: band_of(bytes([head])) for head in heads} == heads
    assert band_shares([b"\x08", b"\x48", b"\x48", b"\x49", b""]) == {"narrow": 0.25, "wide": 0.75}


def test_opus_that_is_forced_codes_wide_band_where_it_would_choose_less(samples: Samples) -> None:
    chosen, forced = (code(installed(f"opus-av-{wide}audio-vbr-6"), samples) for wide in ("", "wide-"))
    assert chosen.bands == {"narrow": 1.0} and forced.bands == {"wide": 1.0}
    assert abs(forced.delay) <= 1
    assert forced.bits == pytest.approx(chosen.bits, rel=0.2)
    same, free = (code(installed(f"opus-av-{wide}audio-cbr-12"), samples) for wide in ("wide-", ""))
    assert same.bits == free.bits
    assert snr(free.decoded / 32768, same.decoded / 32768) > 15  # resampled from 48 kHz, and not


def test_opus_through_ffmpeg_tells_its_band_too(samples: Samples) -> None:
    assert sum(code(installed("opus-audio-vbr-16"), samples).bands.values()) == pytest.approx(1)


def test_codec_2_costs_64_bits_in_20_ms_and_is_understood(samples: Samples) -> None:
    coded = code(installed("codec2-3.2"), samples)
    assert coded.bits == 64 * frames_of(samples)
    assert len(coded.decoded) == len(samples)
    assert stoi(samples.astype(float), coded.decoded.astype(float)) > 0.6


EVS_CODER = """#!{python}
import struct, sys
kbps, rate, source, target = sys.argv[1:]
assert (kbps, rate) == ("9600", "16")
speech = open(source, "rb").read()
frame = struct.pack("<HH", 0x6B21, 192) + bytes(384)
open(target, "wb").write(frame * -(-len(speech) // 640))
open(target + ".speech", "wb").write(speech)
"""
EVS_DECODER = """#!{python}
import sys
rate, source, target = sys.argv[1:]
open(target, "wb").write(open(source + ".speech", "rb").read())
"""


def test_evs_runs_from_where_it_is_named_and_costs_the_bits_of_its_frames(
    samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = PEERS["evs-9.6"]
    monkeypatch.delenv(evs.FOLDER_VARIABLE, raising=False)
    assert "set EVS_DIR to its folder" in peer.missing()
    monkeypatch.setenv(evs.FOLDER_VARIABLE, str(tmp_path))
    assert "EVS_cod and EVS_dec in EVS_DIR" in peer.missing()
    for name, script in (("EVS_cod", EVS_CODER), ("EVS_dec", EVS_DECODER)):
        (tmp_path / name).write_text(script.format(python=sys.executable))
        (tmp_path / name).chmod(0o755)
    coded = code(peer, samples)
    assert coded.bits == 192 * frames_of(samples)
    assert np.array_equal(coded.decoded, samples)


def test_a_file_that_is_not_of_evs_is_refused() -> None:
    assert packet_bits(struct.pack("<HHHH", 0x6B21, 2, 0x7F, 0x81) + struct.pack("<HH", 0x6B21, 0)) == 2
    with pytest.raises(PeerError, match=r"expected a frame of G.192, found 0x4952"):
        packet_bits(b"RIFF")


def test_an_unknown_codec_is_named_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"found 'mp3'.*g722"):
        find_peers(["g722", "mp3"])


def test_uncompressed_speech_comes_back_as_it_was_at_256_kbps(samples: Samples) -> None:
    coded = code(PEERS["pcm16"], samples)
    assert np.array_equal(coded.decoded, samples)
    assert coded.bits == 16 * len(samples)


@pytest.mark.parametrize("kbps", [8.85, 23.85])
def test_amr_wb_costs_the_bits_of_its_mode_in_every_frame(samples: Samples, kbps: float) -> None:
    coded = code(installed(f"amr-wb-{kbps:g}"), samples)
    per_frame = round(kbps * 20)
    assert coded.bits % per_frame == 0
    assert 0 <= coded.bits / per_frame - frames_of(samples) <= 2


def test_opus_at_a_constant_rate_costs_that_rate_without_its_container(samples: Samples) -> None:
    coded = code(installed("opus-audio-cbr-16"), samples)
    assert coded.bits % 320 == 0  # 40 bytes in 20 ms
    assert 0 <= coded.bits / 320 - frames_of(samples) <= 2


def test_a_current_opus_costs_its_rate_too(samples: Samples) -> None:
    coded = code(installed("opus-av-audio-cbr-16"), samples)
    assert coded.bits % 320 == 0
    assert 0 <= coded.bits / 320 - frames_of(samples) <= 2


def test_opus_called_directly_decodes_as_it_does_through_pyav(samples: Samples) -> None:
    peer = installed("opus-av-audio-vbr-16")
    through_pyav, directly = code(peer, samples), code(peer, samples, Channel(1e-12))
    assert directly.bits == through_pyav.bits
    assert abs(directly.delay) <= 1
    assert snr(through_pyav.decoded / 32768, directly.decoded / 32768) > 15  # resampled from 48 kHz, and not


def test_packets_of_40_ms_are_half_as_many_cost_less_and_are_lost_whole(samples: Samples) -> None:
    short, long = (installed(f"opus-av-{name}audio-vbr-16") for name in ("", "40ms-"))
    assert long.delay_ms == short.delay_ms + 20
    coded = code(long, samples, Channel(1e-12))
    assert coded.bits < code(short, samples).bits and abs(coded.delay) <= 1
    assert code(long, samples).bits == coded.bits
    assert snr(samples / 32768, coded.decoded / 32768) > snr(samples / 32768, code(short, samples).decoded / 32768) - 1


def test_lost_packets_are_concealed_and_cost_quality_by_their_number(samples: Samples) -> None:
    peer = installed("opus-av-audio-vbr-16")
    scores = [
        pesq_wb(samples / 32768, code(peer, samples, Channel(loss)).decoded / 32768) for loss in (1e-12, 0.1, 0.3)
    ]
    assert scores[0] > scores[1] + 0.3 > scores[2] + 0.3


def test_a_codec_that_conceals_nothing_says_so(samples: Samples) -> None:
    with pytest.raises(PeerError, match="conceals no losses"):
        code(installed("lc3-16"), samples, Channel(0.1))


def test_lc3_costs_its_rate_in_frames_of_10_ms(samples: Samples) -> None:
    coded = code(installed("lc3-16"), samples)
    assert coded.bits % 160 == 0
    assert 0 <= coded.bits / 160 - -(-len(samples) // 160) <= 2


def test_lc3_frames_are_counted_by_their_lengths_without_the_header() -> None:
    frames = b"".join(struct.pack("<H", size) + bytes(size) for size in (20, 40))
    assert lc3.packet_bits(struct.pack("<HH", lc3.MAGIC, 18) + bytes(14) + frames) == 8 * 60
    with pytest.raises(PeerError, match="expected an LC3 file"):
        lc3.packet_bits(b"RIFF")


@pytest.mark.parametrize("kbps", ["3.2", "9.2"])
def test_lyra_costs_4_bits_per_quantiser_in_every_frame_and_sounds_like_the_original(
    samples: Samples, kbps: str
) -> None:
    coded = code(installed(f"lyra-{kbps}"), samples)
    assert coded.bits == frames_of(samples) * 4 * lyra.QUANTIZERS[kbps]
    assert len(coded.decoded) == len(samples)
    assert stoi(samples.astype(float), coded.decoded.astype(float)) > 0.8


def test_lyra_without_its_files_says_where_they_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(lyra.FOLDER_VARIABLE, raising=False)
    assert "--lyra_dir or LYRA_DIR; they are in https://github.com/google/lyra" in PEERS["lyra-6"].missing()
    monkeypatch.setenv(lyra.FOLDER_VARIABLE, str(tmp_path))
    assert f"{tmp_path} without soundstream_encoder.tflite" in PEERS["lyra-6"].missing()


def test_every_codec_of_a_conversation_has_its_delay_on_record() -> None:
    assert [name for name, peer in PEERS.items() if not peer.delay_ms] == ["pcm16"]


def test_g722_costs_64_kbps(samples: Samples) -> None:
    assert code(installed("g722"), samples).bits == pytest.approx(4 * len(samples), abs=100)


@pytest.mark.parametrize(
    ("name", "delay"), [("opus-audio-cbr-24", 0), ("amr-wb-23.85", 95), ("speex-8", 223), ("g722", 22), ("lc3-32", 0)]
)
def test_decoded_speech_is_as_long_as_the_original_and_aligned_with_it(
    speech_clips: list[Samples], name: str, delay: int
) -> None:
    for clip in speech_clips[:2]:
        coded = code(installed(name), clip)
        assert coded.decoded.dtype == np.int16
        assert len(coded.decoded) == len(clip)
        assert abs(coded.delay - delay) <= 1
        assert abs(find_delay(clip.astype(float), coded.decoded.astype(float), -240, 240)) <= 1
        assert pesq_wb(clip.astype(float), coded.decoded.astype(float)) > 3


def test_a_known_delay_is_found_whatever_the_noise(samples: Samples) -> None:
    signal = samples.astype(float)
    noise = np.random.default_rng(0).standard_normal(len(signal)) * signal.std() / 2
    for shift in (-7, 0, 1, 95, 223):
        assert find_delay(signal, np.roll(signal, shift) + noise, -10, 240) == shift
    assert find_delay(0 * signal, 0 * signal, -4, 4) == 0
    assert find_delay(0 * signal, 0 * signal, 91, 99) == 95


@pytest.mark.parametrize("name", ["opus-voip-vbr-9", "amr-wb-6.6", "speex-3"])
def test_silence_and_the_shortest_speech_pass(name: str) -> None:
    for length in (1, 160, 8000):
        coded = code(installed(name), np.zeros(length, np.int16))
        assert coded.bits > 0
        assert len(coded.decoded) == length
        assert np.max(np.abs(coded.decoded)) <= 64


def test_ogg_packets_are_counted_over_segments_without_their_headers() -> None:
    def page(lengths: list[int]) -> bytes:
        return b"OggS" + bytes(22) + bytes([len(lengths)]) + bytes(lengths) + bytes(sum(lengths))

    assert ogg_packet_bits(page([19]) + page([255, 3]) + page([40, 255, 1]) + page([7])) == 8 * (40 + 256 + 7)
    assert ogg_packet_bits(page([19]) + page([255, 3])) == 0
    assert ogg_packet_bits(b"") == 0


def test_amr_wb_frames_without_speech_count_nothing() -> None:
    assert amr_wb_bits(b"#!AMR-WB\n" + bytes([2 << 3]) + bytes(32) + bytes([15 << 3])) == 253


def test_command_lines_and_versions_are_on_record() -> None:
    commands = PEERS["opus-voip-vbr-12"].commands()
    assert all(word in commands[0] for word in ("libopus", "-b:a 12k", "-vbr on", "-application voip", "20"))
    assert "-compression_level 10" in commands[0]
    assert installed("g722").versions()["ffmpeg"].startswith("ffmpeg version")


def test_a_decoded_file_is_made_once_for_the_same_content(
    samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, path = code_cached(PEERS["pcm16"], samples, tmp_path)
    monkeypatch.setattr(baselines, "code", lambda *_: pytest.fail("was there already"))
    again, same = code_cached(PEERS["pcm16"], samples, tmp_path)
    assert same == path
    assert np.array_equal(again.decoded, first.decoded) and again[1:] == first[1:]


def test_a_damaged_file_of_the_cache_is_made_again(samples: Samples, tmp_path: Path) -> None:
    _, path = code_cached(PEERS["pcm16"], samples, tmp_path)
    path.write_bytes(path.read_bytes()[:50])
    again, _ = code_cached(PEERS["pcm16"], samples, tmp_path)
    assert np.array_equal(again.decoded, samples)


def test_other_content_has_a_cache_of_its_own(samples: Samples, tmp_path: Path) -> None:
    paths = {code_cached(PEERS["pcm16"], part, tmp_path)[1] for part in (samples, samples[1:], samples)}
    assert len(paths) == 2


@pytest.fixture
def ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for a program that stands in for ffmpeg."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    ffmpeg_peers.coders.cache_clear()
    return tmp_path / "ffmpeg"


def stand_in(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_a_codec_that_is_not_built_in_is_named_with_the_command_that_installs_it(
    ffmpeg: Path, samples: Samples
) -> None:
    stand_in(ffmpeg, "echo ' A....D libopus'")
    assert baselines.missing(PEERS["opus-voip-vbr-9"]) == ""
    with pytest.raises(PeerError, match=r"encoder libspeex and decoder libspeex, found none: apt-get install ffmpeg"):
        code(PEERS["speex-3"], samples)
    ffmpeg_peers.coders.cache_clear()


def test_without_any_program_only_uncompressed_speech_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(lyra.FOLDER_VARIABLE, raising=False)
    monkeypatch.delenv(evs.FOLDER_VARIABLE, raising=False)
    packages = ("opus-av-", "codec2-")
    usable, lacking = baselines.usable([peer for name, peer in PEERS.items() if not name.startswith(packages)])
    assert [peer.name for peer in usable] == ["pcm16"]
    assert {"g722", "amr-wb-6.6"} <= set(lacking[f"ffmpeg, found none: {ffmpeg_peers.INSTALL}"])
    assert "apt-get install liblc3-tools" in PEERS["lc3-16"].missing()


def test_a_codec_that_crashes_says_so_in_one_line(ffmpeg: Path, samples: Samples) -> None:
    stand_in(ffmpeg, 'case "$*" in *coders) echo " A....D g722";; *) echo first >&2; echo no memory >&2; exit 3;; esac')
    with pytest.raises(PeerError, match=r"^g722: ffmpeg failed with status 3 \(no memory\)$"):
        code(PEERS["g722"], samples)
    ffmpeg_peers.coders.cache_clear()
