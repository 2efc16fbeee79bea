import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from corpus import shards
from corpus.batches import steps_in_epoch
from corpus.find import find_speech, find_test_speech
from corpus.interface import Corpus
from corpus.packed import PackedCorpus
from corpus.shard_manifest import SHARDS, read_shards
from corpus.shards import Packing, ShardedCorpus, open_corpus, pack_shards
from nsc.errors import UserError
from runs.heard import heard_among
from runs.runs import find_run
from scripts import pack_corpus
from tests.corpus.drawn_batches import drawn
from tests.helpers.tiny import CORPUS, Workplace

SHARD_HOURS = 0.0005  # of the 21 s of training speech in the tests' folder
BATCH = 16


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training speech of the tests in a shard a file, more than are open at a time."""
    folder = tmp_path_factory.mktemp("packed") / "corpus"
    pack_shards(Packing(str(CORPUS), shard_hours=SHARD_HOURS), folder)
    return folder


@pytest.fixture
def copy(packed: Path, tmp_path: Path) -> Path:
    """A packed corpus to damage."""
    return Path(shutil.copytree(packed, tmp_path / "copy"))


@pytest.fixture(autouse=True)
def few_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "OPEN_SHARDS", 3)


def batches(corpus: Corpus, **changes: Any) -> NDArray[np.float32]:
    return drawn(corpus, {"batch_size": BATCH, "num_steps": steps_in_epoch(corpus, BATCH)} | changes)


def rows(contexts: NDArray[np.float32]) -> list[bytes]:
    return sorted(row.tobytes() for row in contexts.reshape(-1, 1024))


def shard_files(folder: Path) -> list[Path]:
    return [folder / shard["name"] for shard in read_shards(folder)["shards"]]


# Order


@pytest.mark.parametrize("consecutive", [1, 4])
def test_a_pass_gives_each_frame_of_the_plain_corpus_once(packed: Path, tmp_path: Path, consecutive: int) -> None:
    plain = PackedCorpus.pack(find_speech(CORPUS), tmp_path)
    starts = plain.training_runs(consecutive)
    expected = plain.contexts(
        (starts[:, None] + np.arange(consecutive)).reshape(-1), pre_emphasis=True, high_pass=False
    )
    corpus = ShardedCorpus(packed, "group")
    assert len(shard_files(packed)) > 2 * shards.OPEN_SHARDS
    assert corpus.num_training_frames() == plain.num_training_frames()

    given = batches(corpus, batch_size=len(expected), num_steps=1, consecutive=consecutive)

    assert rows(given) == rows(expected)


def test_runs_of_frames_stay_together(packed: Path) -> None:
    given = batches(ShardedCorpus(packed, "group"), consecutive=4, gain_augmentation_db=3.0).reshape(-1, 4, 1024)
    np.testing.assert_allclose(given[:, :3, 480:], given[:, 1:, :-480], rtol=1e-5, atol=1e-6)


def test_the_order_changes_with_seed_and_epoch_only(packed: Path) -> None:
    whole = batches(ShardedCorpus(packed, "group"))
    assert np.array_equal(batches(ShardedCorpus(packed, "group")), whole)
    assert not np.array_equal(batches(ShardedCorpus(packed, "group"), epoch=3), whole)
    assert not np.array_equal(batches(ShardedCorpus(packed, "group"), seed=4), whole)


def test_a_resumed_epoch_equals_an_unbroken_one_at_every_step(packed: Path) -> None:
    corpus = ShardedCorpus(packed, "group")
    whole = batches(corpus, gain_augmentation_db=3.0)
    for step in (1, len(whole) // 2, len(whole) - 1):
        assert np.array_equal(batches(corpus, gain_augmentation_db=3.0, first_step=step), whole[step:])


def test_an_epoch_longer_than_a_pass_begins_the_pass_again(packed: Path) -> None:
    corpus = ShardedCorpus(packed, "group")
    order = corpus.order((0, 0), 1)
    places = np.arange(order.num_frames - 5, order.num_frames + 5)
    plain: dict[str, bool] = {"pre_emphasis": True, "high_pass": False}
    assert np.array_equal(order.contexts(places, **plain)[5:], order.contexts(np.arange(5), **plain))


def test_the_shares_of_all_readers_are_the_batches_of_one(packed: Path) -> None:
    corpus = ShardedCorpus(packed, "group")
    options: dict[str, Any] = {"batch_size": 12, "num_steps": 40, "consecutive": 2, "gain_augmentation_db": 3.0}
    shares = [batches(corpus, share=(reader, 3), **options) for reader in range(3)]
    assert shares[0].shape == (40, 4, 1024)
    assert np.array_equal(np.concatenate(shares, axis=1), batches(corpus, **options))


def test_a_batch_mixes_the_shards_of_a_window(packed: Path) -> None:
    order = ShardedCorpus(packed, "group").order((0, 0), 1)
    order.contexts(np.arange(BATCH), pre_emphasis=True, high_pass=False)
    (window,) = order._open.values()
    holders = np.searchsorted(window._ends, window._frames[: 4 * BATCH], side="right")
    assert set(holders) == {0, 1, 2}


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are listed in Linux's /proc")
def test_no_more_shards_are_open_than_a_window_has(packed: Path) -> None:
    order = ShardedCorpus(packed, "group").order((0, 0), 1)
    opened = []
    for start in range(0, order.num_frames, BATCH):
        order.contexts(np.arange(start, start + BATCH), pre_emphasis=True, high_pass=False)
        links = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
        opened.append(sum(link.endswith("samples.int16") and str(packed) in link for link in links))
    assert 0 < max(opened) <= shards.OPEN_SHARDS


def test_a_seek_in_a_huge_corpus_opens_one_window(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = json.loads((packed / SHARDS).read_text())
    times = int(np.ceil(10.0 / manifest["hours"]))
    listed = [shard | {"name": str((packed / shard["name"]).resolve())} for shard in manifest["shards"]] * times
    whole = json.dumps(manifest | {"shards": listed, "hours": times * manifest["hours"]})
    (tmp_path / SHARDS).write_text(whole)
    corpus = ShardedCorpus(tmp_path, "group")
    assert corpus.num_training_frames() > 9.5 * 3600 * 1000 / 30
    opened: list[Path] = []
    read_ahead = PackedCorpus.read_ahead

    def noting(shard: PackedCorpus) -> None:
        opened.append(shard.folder)
        read_ahead(shard)

    monkeypatch.setattr(PackedCorpus, "read_ahead", noting)
    batches(corpus, first_step=50_000, num_steps=50_001)
    assert len(opened) == shards.OPEN_SHARDS


# Packing


def test_shards_are_of_about_the_length_asked_for(packed: Path, tmp_path: Path) -> None:
    assert [len(PackedCorpus(folder).files("train")) for folder in shard_files(packed)] == [1] * 8
    assert len(pack_shards(Packing(str(CORPUS), shard_hours=0.003), tmp_path / "two")["shards"]) == 2


def test_the_manifest_counts_speech_and_names_what_is_held_out(packed: Path) -> None:
    manifest = read_shards(packed)
    files = find_speech(CORPUS)
    assert manifest["speakers"] == {"train": 2, "val": 1, "test": 1}
    assert {(path, split) for path, _, split in manifest["held_out"]} == {
        (str(file.path), file.split) for file in files if file.split != "train"
    }
    assert manifest["hours"] * 3600 == pytest.approx(
        sum(PackedCorpus(folder).seconds("train") for folder in shard_files(packed))
    )
    assert find_test_speech(packed) == [file for file in files if file.split == "test"]


def test_packing_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packing, folder = Packing(str(CORPUS), shard_hours=SHARD_HOURS), tmp_path / "corpus"
    packed: list[str] = []
    pack = PackedCorpus.pack

    def stop_at_third(*arguments: Any) -> PackedCorpus:
        if len(packed) == 2:
            raise KeyboardInterrupt
        packed.append("one")
        return pack(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(PackedCorpus, "pack", stop_at_third)
        pack_shards(packing, folder)
    (folder / ".packed-killed.1.part").mkdir()
    with pytest.raises(
        UserError, match=r"found one half written; run python -m scripts\.pack_corpus again to finish it"
    ):
        find_speech(folder)
    done = {path: path.stat().st_mtime_ns for path in folder.glob("packed-*/*")}
    assert len(done) == 2 * len(packed) == 4

    pack_shards(packing, folder)

    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert len(find_speech(folder)) == 8 + 4 and not list(folder.glob(".packed-*"))


def test_several_processes_pack_the_same_corpus(packed: Path, tmp_path: Path) -> None:
    pack_shards(Packing(str(CORPUS), shard_hours=SHARD_HOURS), tmp_path / "corpus", processes=2)
    assert read_shards(tmp_path / "corpus") == read_shards(packed)


def test_unusable_recordings_are_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    speech = Path(shutil.copytree(CORPUS, tmp_path / "speech"))
    broken = [next(speech.glob(f"{speaker}/*.flac")) for speaker in ("allison", "carlo")]
    for path in broken:
        path.write_bytes(b"fLaC and no more")
    assert pack_corpus.main(["--data_dir", str(speech), "--output", str(tmp_path / "packed")]) == 0
    told = capsys.readouterr()
    assert all(f"skipped: {path}" in told.err for path in broken)
    assert "in 1 shards; speakers: train 2, val 1, test 1" in told.out
    assert str(broken[1]) not in [str(file.path) for file in find_speech(tmp_path / "packed")]


# Refusals


def rewrite(folder: Path, without: str = "", **changes: Any) -> None:
    manifest = json.loads((folder / SHARDS).read_text()) | changes
    manifest.pop(without, None)
    (folder / SHARDS).write_text(json.dumps(manifest))


def cut_short(folder: Path) -> None:
    samples = shard_files(folder)[4] / "samples.int16"
    samples.write_bytes(samples.read_bytes()[:-2])


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a shard cut short": (cut_short, r"samples\.int16: expected \d+ bytes, found \d+ bytes; delete .*packed-"),
    "a shard gone": (lambda folder: shutil.rmtree(shard_files(folder)[2]), r"expected \d+ bytes, found none"),
    "a manifest cut short": (lambda folder: (folder / "shards.json").write_text('{"format"'), "found a damaged file"),
    "no manifest at all": (lambda folder: (folder / "shards.json").write_text("[]"), "found a damaged file"),
    "a manifest without shards": (
        lambda folder: rewrite(folder, without="shards"),
        "expected an entry shards, found none",
    ),
    "another version": (lambda folder: rewrite(folder, format=1), "expected version 2, found 1"),
    "half written": (lambda folder: rewrite(folder, finished=False), "found one half written"),
    "another gain": (lambda folder: rewrite(folder, gain="utterance"), "packed with --gain group, found utterance"),
}


@pytest.mark.parametrize(("damage", "words"), DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_told_in_one_line_before_training(
    copy: Path, damage: Callable[[Path], object], words: str, tmp_path: Path
) -> None:
    damage(copy)
    with pytest.raises(UserError, match=words) as refused:
        open_corpus(find_speech(copy), copy, tmp_path, "group")
    assert "\n" not in str(refused.value)


def test_a_damaged_index_is_told(copy: Path) -> None:
    index = shard_files(copy)[0] / "index.npz"
    index.write_bytes(bytes(len(index.read_bytes())))
    with pytest.raises(UserError, match="expected packed speech, found a damaged file"):
        ShardedCorpus(copy, "group").files("train")


def test_damage_found_in_mid_training_is_told(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in copy.glob("*/index.npz"):
        index.write_bytes(bytes(len(index.read_bytes())))
    place = Workplace(tmp_path)
    assert place.run(training_mode=1, num_modules=1, data_dir=str(copy)) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("main.py: ")]
    assert len(told) == 1 and "found a damaged file; delete this folder" in told[0]


def test_a_folder_with_something_else_is_not_written_to(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    for output, words in ((tmp_path / "mine", "found files"), (copy, "with shard_hours 2.0, found 0.0005")):
        assert pack_corpus.main(["--data_dir", str(CORPUS), "--output", str(output)]) == 2
        assert words in capsys.readouterr().err


# Training


@pytest.fixture(scope="module")
def place(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A run of one codec on packed speech."""
    place = Workplace(tmp_path_factory.mktemp("trained"))
    assert place.run(training_mode=1, num_modules=1, data_dir=str(packed), context_minutes=0.1) == 0
    return place


def test_training_on_shards_runs_and_is_tested_on_the_speech_held_out(
    place: Workplace, packed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder,) = place.folders()
    run = find_run("", place.check, suits=lambda _: True, need="a run")
    assert [{name: event[name] for name in ("train", "val", "test")} for event in place.events(run, "run")] == [
        {"train": 2, "val": 1, "test": 1}
    ]
    assert place.run(training_mode=0, num_modules=1) == 0
    scored = place.output / folder.name / "first" / "scores.csv"
    assert "ivrvoice" in scored.read_text() and "carlo" not in scored.read_text()


def test_recordings_in_shards_are_known_as_heard(place: Workplace, packed: Path) -> None:
    run = find_run("", place.check, suits=lambda _: True, need="a run")
    files = find_speech(CORPUS)
    assert heard_among(files, run, CORPUS) == [file for file in files if file.split != "test"]


def test_the_same_command_finds_its_run_on_shards(place: Workplace, packed: Path) -> None:
    assert place.run(training_mode=1, num_modules=1, data_dir=str(packed), context_minutes=0.1) == 0
    assert len(place.folders()) == 1
