"""Odd recordings, as public bug reports name them: read to their end with a note, or refused in one line."""

import io
import os
import shutil
import struct
import tracemalloc
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from nsc import recording
from nsc.errors import UserError
from nsc.recording import open_recording
from utilities import load_speech

Signal = NDArray[np.float32]

VOICE = (0.2 * np.sin(np.arange(16_000) * 0.1) * np.sin(np.arange(16_000) * 1e-3)).astype(np.float32)
PCM = (VOICE * 32_767).astype("<i2").tobytes()


def riff(*chunks: bytes, size: int | None = None, rate: int = 16_000) -> bytes:
    body = b"WAVE" + chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, rate, 2 * rate, 2, 16)) + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def chunk(tag: bytes, body: bytes, size: int | None = None) -> bytes:
    return tag + struct.pack("<I", len(body) if size is None else size) + body


def encoded(signal: Signal, format_name: str, subtype: str | None = None, rate: int = 16_000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, signal, rate, subtype, format=format_name)
    return buffer.getvalue()


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flac_of_length(length: int) -> bytes:
    """A FLAC file whose header says that it has so many samples; 0 as streaming encoders write it."""
    data = bytearray(encoded(VOICE, "FLAC"))
    data[21] &= 0xF0
    data[22:26] = struct.pack(">I", length)
    return bytes(data)


def read(data: bytes) -> Signal:
    return np.concatenate(list(open_recording(data, "x").blocks()))


# name: bytes, samples found, words of the note
TO_THE_END: dict[str, tuple[bytes, int, str]] = {
    "FLAC from a stream": (flac_of_length(0), 16_000, ""),
    "FLAC that promises too much": (flac_of_length(64_000), 16_000, "promises 64000 samples, 16000 are there"),
    "WAV from ffmpeg's stream": (riff(chunk(b"data", PCM, 0xFFFFFFFF), size=0xFFFFFFFF), 16_000, ""),
    "WAV from sox's stream": (riff(chunk(b"data", PCM, 0x7FFFF000), size=0x7FFFF024), 16_000, ""),
    "WAV of a killed recorder": (riff(chunk(b"data", PCM, 0), size=0), 16_000, "promises no samples, 32000 bytes"),
    "WAV of a killed recorder, framed": (riff(chunk(b"data", PCM, 0)), 16_000, "promises no samples, 32000 bytes"),
    "a cut WAV": (riff(chunk(b"data", PCM))[:20_044], 10_000, "promises 32000 bytes of samples, 20000 are there"),
    "a cut WAV, odd": (riff(chunk(b"data", PCM))[:20_045], 10_000, "20001 are there: it is cut off"),
    "a WAV with more behind it": (riff(chunk(b"data", PCM), chunk(b"LIST", b"INFOICMT\4\0\0\0abc\0")), 16_000, ""),
    "a cut MP3": (half(encoded(np.tile(VOICE, 3), "MP3")), 0, "it is cut off"),
}


@pytest.mark.parametrize("kind", TO_THE_END)
def test_a_recording_is_read_to_its_end_and_a_lying_header_noted(kind: str) -> None:
    data, expected, note = TO_THE_END[kind]
    found = open_recording(data, "x")
    signal = np.concatenate(list(found.blocks()))
    assert found.num_frames == len(signal) > 0
    if expected:
        assert len(signal) == expected
        assert signal == pytest.approx(VOICE[:expected], abs=1e-4)
    assert note in "; ".join(found.notes)
    assert bool(note) == bool(found.notes)


def test_a_file_with_an_empty_data_chunk_and_others_behind_it_holds_no_speech() -> None:
    with pytest.raises(UserError, match="found no samples"):
        open_recording(riff(chunk(b"data", b""), chunk(b"LIST", b"INFOICMT\4\0\0\0abc\0")), "x")


@pytest.mark.parametrize("rate", [1, 3999, 384_001, 999_983, 2**31 - 1])
def test_rates_that_no_speech_has_are_refused_before_anything_is_computed(rate: int) -> None:
    with pytest.raises(UserError, match=f"x: expected a rate from 4 to 384 kHz, found {rate} Hz"):
        open_recording(riff(chunk(b"data", PCM), rate=rate), "x")


@pytest.mark.parametrize("rate", [4000, 11_025, 44_101, 384_000])
def test_any_rate_of_speech_is_taken(rate: int, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(riff(chunk(b"data", PCM), rate=rate))
    assert len(load_speech(tmp_path / "a.wav")) == round(16_000 * 16_000 / rate)


def test_channels_that_cancel_each_other_are_noted_and_the_louder_one_is_used() -> None:
    found = open_recording(encoded(np.stack([0.5 * VOICE, -VOICE, 0.5 * VOICE], 1), "WAV"), "x")
    assert found.notes == ["the channels cancel each other: channel 2, the loudest, is used alone"]
    assert np.concatenate(list(found.blocks())) == pytest.approx(-VOICE, abs=1e-4)


def test_channels_that_cancel_in_a_part_alone_leave_no_silence() -> None:
    tone = np.tile(VOICE, 8)
    half = np.repeat([1.0, -1.0], len(tone) // 2)
    found = open_recording(encoded(np.stack([tone, half * tone], 1), "WAV"), "x")
    assert found.notes == ["the channels cancel each other: channel 1, the loudest, is used alone"]
    assert np.concatenate(list(found.blocks())) == pytest.approx(tone, abs=1e-4)


def test_hum_that_cancels_in_a_pause_changes_nothing() -> None:
    speech = np.concatenate([np.tile(VOICE, 4), np.zeros(2 * 16_000)])
    hum = 0.002 * np.sin(2 * np.pi * 50 / 16_000 * np.arange(len(speech)))
    found = open_recording(encoded(np.stack([speech + hum, speech - hum], 1), "WAV"), "x")
    assert not found.notes
    assert np.concatenate(list(found.blocks())) == pytest.approx(speech, abs=1e-4)


def test_channels_that_do_not_cancel_are_averaged() -> None:
    silent = np.zeros_like(VOICE)
    found = open_recording(encoded(np.stack([VOICE, silent], 1), "WAV"), "x")
    assert not found.notes
    assert np.concatenate(list(found.blocks())) == pytest.approx(VOICE / 2, abs=1e-4)


@pytest.mark.parametrize("subtype", ["GSM610", "G721_32", "IMA_ADPCM", "MS_ADPCM", "ULAW", "PCM_24", "DOUBLE"])
def test_every_subtype_of_libsndfile_is_read(subtype: str) -> None:
    assert len(read(encoded(VOICE, "WAV", subtype))) == pytest.approx(16_000, abs=300)


def test_a_name_of_any_bytes_is_read(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/latin1_\xe9\xff.wav"))
    path.write_bytes(riff(chunk(b"data", PCM)))
    assert len(load_speech(path)) == 16_000


UNREADABLE: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "found what cannot be read"),
    "a web page": (b"<!DOCTYPE html><html>404</html>", "found what cannot be read"),
    "a pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid", "fetch the file by git lfs pull"),
    "zeros": (bytes(32_044), "found what cannot be read"),
    "no channels": (riff(chunk(b"data", PCM))[:22] + b"\0\0" + riff(chunk(b"data", PCM))[24:], "cannot be read"),
    "shorten": (b"NIST_1A\n   1024\nsample_coding -s26 pcm,embedded-shorten-v2.00\nend_head\n", "sph2pipe"),
    "a broken FLAC": (half(encoded(VOICE, "FLAC")), "expected 16000 samples, found 0"),
    "NaN": (encoded(np.array([0.1, np.nan], np.float32), "WAV", "FLOAT"), "contains NaN or infinite samples"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_is_no_recording_is_refused_in_one_line(kind: str) -> None:
    data, words = UNREADABLE[kind]
    with pytest.raises(UserError) as error:
        read(data)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_and_a_missing_file_are_told_apart(tmp_path: Path) -> None:
    for path, words in ((tmp_path, "found a folder"), (tmp_path / "none.wav", "found none; check the path")):
        with pytest.raises(UserError, match=words):
            load_speech(path)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
def test_what_libsndfile_cannot_read_goes_through_ffmpeg(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(riff(chunk(b"data", PCM)))
    os.system(f"ffmpeg -nostdin -v error -i '{tmp_path}/a.wav' -c:a aac '{tmp_path}/-o.m4a'")
    assert len(load_speech(tmp_path / "-o.m4a")) == pytest.approx(16_000, abs=2100)
    (tmp_path / "b.m4a").write_bytes(b"no film")
    with pytest.raises(UserError, match="found what ffmpeg cannot read"):
        load_speech(tmp_path / "b.m4a")


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
def test_a_long_compressed_recording_is_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "BLOCK_SECONDS", 2)  # 0.8 MB of stereo
    source = "anoisesrc=duration=30:sample_rate=48000:amplitude=0.1"  # 12 MB of stereo
    os.system(f"ffmpeg -nostdin -v error -f lavfi -i {source} -ac 2 -c:a aac '{tmp_path}/a.m4a'")
    tracemalloc.start()
    try:
        found = open_recording(tmp_path / "a.m4a", "a.m4a")
        lengths = [len(block) for block in found.blocks()]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (found.rate, found.channels, sum(lengths)) == (48_000, 2, found.num_frames)
    assert found.num_frames == pytest.approx(30 * 48_000, abs=4800)
    assert max(lengths) <= recording.BLOCK_SECONDS * 48_000
    assert peak < 4e6


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
def test_a_compressed_recording_can_be_left_in_its_middle(tmp_path: Path) -> None:
    os.system(f"ffmpeg -nostdin -v error -f lavfi -i anoisesrc=d=25:r=16000 -c:a aac '{tmp_path}/a.m4a'")
    found = open_recording(tmp_path / "a.m4a", "a.m4a")
    with closing(cast("Generator[Signal]", found.blocks())) as blocks:
        next(blocks)
    assert sum(map(len, found.blocks())) == found.num_frames


def test_a_wav_of_a_killed_recorder_is_mended_where_it_lies(tmp_path: Path) -> None:
    data = riff(chunk(b"data", PCM, 0), size=0)
    (tmp_path / "a.wav").write_bytes(data)
    found = open_recording(tmp_path / "a.wav", "a.wav")
    assert not isinstance(found._source, bytes)
    assert np.array_equal(np.concatenate(list(found.blocks())), read(data))


def test_without_ffmpeg_the_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "b.m4a").write_bytes(b"no film")
    monkeypatch.setattr(recording.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=r"found \.m4a; install ffmpeg, or convert it"):
        load_speech(tmp_path / "b.m4a")


def test_mutated_headers_end_in_samples_or_one_line() -> None:
    rng = np.random.default_rng(12)
    whole = [riff(chunk(b"data", PCM[:2000])), encoded(VOICE[:2000], "FLAC"), encoded(VOICE[:2000], "AU")]
    kinds: list[Callable[[bytes], bytes]] = [
        lambda data: bytes(data[: int(rng.integers(len(data)))]),
        lambda data: data[:4] + rng.bytes(8) + data[12:],
        lambda data: (
            bytes(byte ^ (1 << int(rng.integers(8))) * int(rng.integers(20) == 0) for byte in data[:60]) + data[60:]
        ),
    ]
    ends = {"samples": 0, "refused": 0}
    for trial in range(600):
        data = kinds[int(rng.integers(len(kinds)))](whole[trial % len(whole)])
        try:
            assert np.isfinite(read(data)).all(), trial
            ends["samples"] += 1
        except UserError as error:
            assert "\n" not in str(error), trial
            ends["refused"] += 1
    assert min(ends.values()) > 50
