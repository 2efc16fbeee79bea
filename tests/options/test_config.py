import dataclasses
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from nsc.errors import UserError
from options import config, notes
from options.config import Config, from_dict, parse_flags, read_experiment
from options.option import flag_of
from tests.helpers.readme import README_COMMAND

CONFIGS = sorted(config.QUICKSTART.parent.glob("*.toml"))

# Names of one's own runs: nobody else's suit as defaults.
NAMES_OF_RUNS = ("base_model_id", "from_where_step", "suffix", "save_unique_mark")


def parsed(*arguments: str) -> Config:
    return parse_flags(arguments)[0]


def complaint(*arguments: str) -> str:
    with pytest.raises(UserError) as error:
        parse_flags(arguments)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_the_command_of_the_first_readme_parses_as_written() -> None:
    read = parsed(*shlex.split(README_COMMAND))

    assert read.learning_rate == 0.0002
    assert read.follower_learning_rates == (0.00002, 0.000002)
    assert read.epochs == 200
    assert read.follower_epochs == (50, 50)
    assert read.batch_size == 128
    assert read.num_modules == 2
    assert read.training_mode == 4
    assert read.base_model_id == "1993783"
    assert read.from_where_step == 2
    assert (read.suffix, read.name_mark) == ("_greedy_all_", "follower_all")
    assert read.shape == (9, 9, 100, 20, 1, 2)
    assert read.strides == (2,)
    assert read.coefficients == (60.0, 10.0, 10.0, 0.0)
    assert read.res_scalar == 1.0
    assert read.pretrain_epochs == 2
    assert read.target_entropy == 2.2
    assert read.bins == (32, 32)
    assert read.train_lsf_codebook is True


@pytest.mark.parametrize("config", ["cq_any", "cq_scalable"])
def test_a_batch_that_cannot_be_is_told_the_smallest_that_can(config: str) -> None:
    run = parsed("--config", config).consecutive_frames
    told = complaint("--config", config, "--batch_size", str(run // 2))
    assert (
        told
        == f"argument --batch_size: expected a multiple of --consecutive_frames {run}, at least {run}, found {run // 2}"
    )


def test_defaults_are_those_of_the_first_readme() -> None:
    words = shlex.split(README_COMMAND)
    flags = [word.removeprefix("--") for word in words[::2]]
    default, readme = Config().to_dict(), parsed(*words).to_dict()

    assert len(flags) == 19
    assert {flag: default[flag] for flag in flags if flag not in NAMES_OF_RUNS} == {
        flag: readme[flag] for flag in flags if flag not in NAMES_OF_RUNS
    }


def test_every_option_survives_the_way_through_plain_values() -> None:
    changed = parsed(
        "--the_strides", "4 2", "--coeff_term", "1 2 3 -0.5", "--new", "--suffix", "x", "--gain", "utterance"
    )

    assert from_dict(changed.to_dict(), origin="test") == changed
    assert from_dict(Config().to_dict(), origin="test") == Config()


def test_a_flag_wins_over_the_experiment_file() -> None:
    both = parsed("--config", "configs/quickstart.toml", "--batch_size", "64")

    assert both.batch_size == 64
    assert both.block == read_experiment(config.QUICKSTART)["resnet_type"]


def test_an_experiment_may_be_named_without_its_folder() -> None:
    assert parsed("--config", "cq_9k") == parsed("--config", str(config.QUICKSTART.parent / "cq_9k.toml"))


def test_no_flag_at_all_means_the_quick_start() -> None:
    assert parsed() == parsed("--config", str(config.QUICKSTART))


def test_named_options_are_those_of_flags_and_experiment_file() -> None:
    named = parse_flags(["--config", "quickstart", "--seed", "3"])[1]

    assert set(named) == {*read_experiment(config.QUICKSTART), "seed"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_experiment_file_parses(path: Path) -> None:
    assert parsed("--config", str(path)) != Config()


def test_the_experiments_that_the_papers_claims_need_exist() -> None:
    named = {"quickstart", "cq_any", "cq_6k", "cq_9k", "cq_16k", "cq_24k", "readme", "time_domain", "fixed_lpc", "cq"}
    assert named <= {path.stem for path in CONFIGS}


@pytest.mark.parametrize(
    ("names", "differing"),
    [
        (("cq_6k", "cq_9k", "cq_16k", "cq_24k"), {"target_kbps"}),
        (("folded_9k", "folded_16k"), {"target_kbps"}),
        (("cq", "fixed_lpc", "time_domain"), {"is_cq", "is_pure_time_domain"}),
    ],
    ids=["rates", "rates of folded networks", "ablation"],
)
def test_experiments_of_a_series_differ_in_what_they_are_about(names: tuple[str, ...], differing: set[str]) -> None:
    values = [parsed("--config", name).to_dict() for name in names]

    assert {flag for flag in values[0] if len({str(each[flag]) for each in values}) > 1} == differing


def test_an_unknown_flag_names_the_nearest_known_one() -> None:
    assert (
        complaint("--lerning_rate_tanh", "1") == "unknown flag --lerning_rate_tanh; did you mean --learning_rate_tanh?"
    )
    assert complaint("--learning_rate", "1").startswith("unknown flag --learning_rate; did you mean")


def test_an_unknown_key_of_an_experiment_file_names_the_nearest_known_one(tmp_path: Path) -> None:
    experiment = tmp_path / "mine.toml"
    experiment.write_text("batchsize = 3\n")

    assert complaint("--config", str(experiment)) == f"{experiment}: unknown key 'batchsize'; did you mean batch_size?"


def test_a_missing_experiment_file_names_those_that_exist() -> None:
    assert "quickstart" in complaint("--config", "configs/nothing.toml")


def test_an_experiment_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    experiment = tmp_path / "mine.toml"
    experiment.write_text("batch_size: 3\n")

    assert str(experiment) in complaint("--config", str(experiment))


@pytest.mark.parametrize(
    ("flag", "value", "part"),
    [
        ("bottleneck_kernel_and_dilation", "9 9 100", "at least five whole numbers"),
        ("bottleneck_kernel_and_dilation", "9 9 100 20 1.5 2", "whole numbers"),
        ("bottleneck_kernel_and_dilation", "9 9 99 20 1 2", "the stride, divides"),
        ("the_strides", "3", "2 or 4"),
        ("the_strides", "", "2 or 4"),
        ("num_bins_for_follower", "32 1", "2 to 256"),
        ("coeff_term", "60 10 10", "four numbers"),
        ("coeff_term", "60 10 nan 0", "four numbers"),
        ("coeff_term", "60 ten 10 0", "numbers such as"),
        ("learning_rate_tanh", "-1", "above 0"),
        ("learning_rate_tanh", "nan", "above 0"),
        ("learning_rate_tanh", "fast", "a number"),
        ("learning_rate_greedy_followers", "1e-3 0", "above 0"),
        ("epoch_tanh", "2.5", "a whole number"),
        ("epoch_greedy_followers", "5 -3", "above 0"),
        ("training_mode", "6", "one of 0, 1, 2, 3, 4, 5"),
        ("resnet_type", "gated", "one of gln, bottleneck, folded"),
        ("is_cq", "yes", "0 or 1"),
        ("fold", "24", "a divisor of 512"),
        ("alpha_start", "300", "below 0"),
        ("seed", "-1", "at least 0"),
        ("folded_width", "0", "above 0"),
        ("target_entropy_per_module", "1 2 3", "each of 2 (--num_resnets) modules"),
        ("quantizer", "vector cubic", "one of scalar, vector"),
        ("quantizer", "", "one of scalar, vector"),
        ("tau_epoch_steps", "0.1 0.1", "three numbers"),
        ("ema_decay", "1", "below 1"),
    ],
)
def test_a_malformed_value_says_which_flag_takes_what(flag: str, value: str, part: str) -> None:
    message = complaint(f"--{flag}", value)

    assert flag in message
    assert part in message


def test_a_default_offset_is_one_that_files_of_a_model_for_any_rate_carry() -> None:
    assert "a number from -1.25 to 1.75" in complaint("--config", "cq_any", "--default_offset", "2")
    assert "0 without --rate_range" in complaint("--config", "cq_any", "--rate_range", "", "--default_offset", "0.5")


@pytest.mark.parametrize(("key", "value"), [("epoch_tanh", 2.5), ("epoch_tanh", True), ("data_dir", 3), ("seed", [1])])
def test_values_of_the_wrong_kind_in_a_file_are_refused(key: str, value: Any) -> None:
    with pytest.raises(UserError, match=key):
        from_dict({key: value}, origin="mine.toml")


def test_whole_numbers_may_be_written_with_an_exponent_in_a_file() -> None:
    assert from_dict({"steps_per_epoch": 1e3}, origin="mine.toml").steps_per_epoch == 1000


def test_help_shows_every_flag_with_its_default_under_a_heading(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")  # no line breaks within words
    with pytest.raises(SystemExit) as stop:
        parse_flags(["--help"])
    text = re.sub(r"\s+", " ", capsys.readouterr().out)

    assert stop.value.code == 0
    fields = dataclasses.fields(Config)
    assert fields[0].metadata["heading"]
    for field in fields:
        assert f"--{flag_of(field)} " in text
        assert field.metadata["help"].split(";")[0] in text
        if field.metadata["heading"]:
            assert f" {field.metadata['heading']}: --{flag_of(field)} " in text
    assert text.count("(default: ") == len(fields)
    assert "(default: '9 9 100 20 1 2')" in text
    assert "--window_size N no effect, as in the first implementation" in text


def test_a_quantiser_for_each_module_or_one_for_all() -> None:
    assert parsed("--quantizer", "vector scalar", "--num_resnets", "3").of_modules("quantizer") == (
        "vector",
        "scalar",
        "scalar",
    )
    assert parsed("--quantizer", "vector").of_modules("quantizer") == ("vector", "vector")
    assert parsed("--quantizer", "vector scalar").to_dict()["quantizer"] == "vector scalar"


def test_one_kind_of_quantiser_is_written_as_models_always_had_it() -> None:
    assert Config().to_dict()["quantizer"] == "scalar"
    assert from_dict({"quantizer": "scalar"}, origin="an old model") == Config()
    assert Config(quantizer="vector").quantizer == ("vector",)  # type: ignore[arg-type]


# What a configuration of the first implementation need not name: which run, of which speech, with which random numbers.
NO_SWITCHES = {"base_model_id", "from_where_step", "data_dir", "seed"}


@pytest.mark.parametrize("name", ["original_2020", "original_2021"])
def test_the_original_s_configurations_name_every_flag_that_has_an_effect(name: str) -> None:
    named = read_experiment(config.QUICKSTART.parent / f"{name}.toml")
    resolved = parsed("--config", name)
    idle = notes.idle_flags(resolved)
    assert set(resolved.identity()) - idle - set(named) == NO_SWITCHES - idle
    readme = [word.removeprefix("--") for word in shlex.split(README_COMMAND)[::2]]
    assert set(readme) - set(named) == {"base_model_id", "from_where_step"}


def test_the_original_s_two_revisions_differ_in_what_changed_between_them() -> None:
    values = [parsed("--config", name).to_dict() for name in ("original_2020", "original_2021")]
    differing = {flag for flag in values[0] if values[0][flag] != values[1][flag]}
    assert differing == {
        "quantizer",
        "alpha_start",
        "vector_alpha_start",
        "lsf_alpha_start",
        "lsf_terms",
        "original_modes",
        "tau_epoch_steps",
        "time_domain_scale",
    }


def test_short_lists_go_on_with_their_last_value() -> None:
    three = Config(num_modules=3, strides=(4, 2), bins=(16,), follower_epochs=(5, 3), follower_learning_rates=(0.1,))

    assert three.of_modules("strides") == (4, 2, 2)
    assert three.of_modules("bins") == (16, 16, 16)
    assert [three.follower_setting(three.follower_epochs, module) for module in (1, 2, None)] == [5, 5, 3]
    assert [three.follower_setting(three.follower_learning_rates, module) for module in (1, None)] == [0.1, 0.1]


def test_paths_and_displays_do_not_make_another_run() -> None:
    assert Config(check_dir="a", threads=1, tensorboard=False, new=True).identity() == Config().identity()
    assert Config(seed=1).identity() != Config().identity()
    assert Config(suffix="a").identity() != Config().identity()


def test_a_saved_network_wins_and_training_options_stay() -> None:
    saved = Config(num_modules=3, fold=32, block="folded", epochs=9, train_lsf_codebook=False)
    merged = Config(epochs=7, num_modules=2).with_network_of(saved, keep=("num_modules",))

    assert (merged.fold, merged.block, merged.epochs, merged.num_modules) == (32, "folded", 7, 2)
    assert merged.train_lsf_codebook
