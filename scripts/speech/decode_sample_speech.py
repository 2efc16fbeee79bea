"""Decodes unpacked G.722 prompts into FLAC files with a manifest, skipping what is not speech."""

import argparse
import csv
import shutil
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import stft
from tqdm import tqdm

from constants import SAMPLE_RATE

SHORTEST_SECONDS = 0.5
QUIETEST_DB = -50.0  # dB re full scale
# Share of the energy in the three strongest bins of each spectrum: in these packages the purest
# prompt of at least half a second has 0.958, a beep or pair of tones at least 0.972.
TONE_SHARE = 0.965
NOT_SPEECH = {  # folders and names
    *("silence", "beep", "beeperr", "ascending-2tone", "descending-2tone"),
    *("confbridge-join", "confbridge-leave"),
}


@dataclass(frozen=True)
class Voice:
    """One folder of prompts: who speaks, in which language, and the split of this speaker."""

    folder: str
    speaker: str
    language: str
    split: str


# Allison speaks English and Spanish, so both are in one split: no split shares a speaker.
VOICES = (
    Voice("en_US_f_Allison", "allison", "en", "train"),
    Voice("es_MX_f_Allison", "allison", "es", "train"),
    Voice("fr_CA_f_June", "june", "fr", "train"),
    Voice("it_IT_m_Carlo", "carlo", "it", "val"),
    Voice("ru_RU_f_IvrvoiceRU", "ivrvoice", "ru", "test"),
)


def decode_g722(path: Path) -> NDArray[np.int16]:
    """Decode a raw G.722 file of 64 kbit/s into samples [n] at 16 kHz."""
    with av.open(str(path), format="g722") as container:
        frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    return np.concatenate([np.zeros(0, np.int16), *frames]).astype(np.int16)


def tone_share(signal: NDArray[np.float64]) -> float:
    """Share of the energy that lies in the three strongest bins of each 32 ms spectrum."""
    _, _, spectra = stft(signal, window="hann", nperseg=512)
    power = np.sort(np.abs(spectra) ** 2, axis=0)
    return float(power[-3:].sum() / power.sum())


def is_speech(samples: NDArray[np.int16]) -> bool:
    """Distinguish speech from short clips, silence and tones."""
    signal = samples / 32_768.0
    if len(signal) < SHORTEST_SECONDS * SAMPLE_RATE or np.mean(signal**2) < 10 ** (QUIETEST_DB / 10):
        return False
    return tone_share(signal) < TONE_SHARE


def write_voice(voice: Voice, prompts: Path, output: Path) -> list[list[str]]:
    """Decode the prompts of one voice into `output`/<speaker>; returns the lines of the manifest."""
    folder = prompts / voice.folder
    (output / voice.speaker).mkdir(parents=True, exist_ok=True)
    rows = []
    for path in tqdm(
        sorted(folder.rglob("*.g722")), desc=f"{voice.language} {voice.speaker}", unit="file", disable=None
    ):
        parts = path.relative_to(folder).with_suffix("").parts
        if not NOT_SPEECH.isdisjoint(parts):
            continue
        samples = decode_g722(path)
        if is_speech(samples):
            name = f"{voice.speaker}/{'-'.join((voice.language, *parts))}.flac"
            soundfile.write(output / name, samples, SAMPLE_RATE)
            seconds = f"{len(samples) / SAMPLE_RATE:.3f}"
            rows.append([name, voice.speaker, voice.split, voice.language, seconds])
    return rows


def main() -> None:
    """Decode all voices; the folder appears under its name only when it is complete."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prompts", type=Path, help="folder with a folder of .g722 files per voice")
    parser.add_argument("output", type=Path, help="folder to make")
    arguments = parser.parse_args()
    beside = arguments.output.with_name(f".{arguments.output.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    rows = [row for voice in VOICES for row in write_voice(voice, arguments.prompts, beside)]
    with (beside / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([["path", "speaker", "split", "language", "seconds"], *rows])
    shutil.rmtree(arguments.output, ignore_errors=True)
    beside.rename(arguments.output)


if __name__ == "__main__":
    main()
