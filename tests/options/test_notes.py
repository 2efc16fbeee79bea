import dataclasses
from typing import Any

import pytest

import main
from kinds import NETWORKS, name_of_kind
from kinds.spectral.fitting.training_symbols import trained_offsets
from nsc.errors import UserError
from nsc.format.version_2 import OFFSETS
from nsc.kinds.spectral.level import offset_of
from options.config import Config, check_known, parse_flags
from options.notes import flags_without_effect
from options.option import flag_of
from training import modes


def phrases(*arguments: str) -> list[str]:
    return flags_without_effect(arguments, parse_flags(arguments)[0])


def test_the_window_size_of_old_command_lines_is_taken_and_said_to_do_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modes, "train", lambda config, named: None)
    assert main.main(["--window_size", "512", "--seed", "3"]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "without effect" in line]
    assert len(told) == 1
    assert "--window_size (no effect, as in the first implementation: frames are 512 samples)" in told[0]


def test_a_base_model_that_a_mode_does_not_read_is_told() -> None:
    assert phrases("--training_mode", "4", "--base_model_id", "1", "--from_where_step", "2") == [
        "--base_model_id, --from_where_step (modes 1, 3 and 4 start afresh)"
    ]
    assert phrases("--training_mode", "5", "--base_model_id", "1", "--from_where_step", "2") == []


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (("--is_pure_time_domain", "1", "--is_cq", "1"), "--is_cq"),
        (("--resnet_type", "folded", "--end_kernel", "9"), "--end_kernel"),
        (("--resnet_type", "gln", "--fold", "8"), "--fold"),
        (("--quantizer", "vector", "--num_bins_for_follower", "16"), "--num_bins_for_follower"),
        (("--vector_start", "grid"), "--vector_start"),
        (("--target_kbps", "9", "--target_entropy", "2"), "--target_entropy"),
        (("--tau_controller", "original", "--tau_step", "0.1"), "--tau_step"),
        (("--time_domain_scale", "33"), "--time_domain_scale"),
        (("--training_mode", "1", "--epoch_greedy_followers", "5"), "--epoch_greedy_followers"),
        (("--layer_loss", "0"), "--layer_loss"),
        (("--original_modes", "1"), "--original_modes"),
        (
            ("--training_mode", "3", "--original_modes", "1", "--epoch_greedy_followers", "5"),
            "--epoch_greedy_followers",
        ),
        (("--max_files", "3", "--training_mode", "5"), "--max_files"),
        (("--training_mode", "0", "--epoch_tanh", "3"), "--epoch_tanh"),
        (("--training_mode", "0", "--target_kbps", "9", "--rates", "9"), "--target_kbps"),
        (("--training_mode", "4", "--num_resnets", "1", "--epoch_greedy_followers", "5"), "--epoch_greedy_followers"),
        (
            ("--resnet_type", "gln", "--bottleneck_kernel_and_dilation", "15 9 100 20 1 2"),
            "--bottleneck_kernel_and_dilation",
        ),
        (
            ("--resnet_type", "folded", "--bottleneck_kernel_and_dilation", "9 9 64 20 1 2"),
            "--bottleneck_kernel_and_dilation",
        ),
    ],
)
def test_a_flag_that_the_others_leave_without_effect_is_told_once(arguments: tuple[str, ...], flag: str) -> None:
    told = phrases(*arguments)
    assert len(told) == 1
    assert told[0].startswith(f"{flag} (")


def test_nothing_is_said_of_what_an_experiment_names() -> None:
    assert phrases("--config", "cq_9k") == []


def test_nothing_is_said_of_what_evaluation_reads() -> None:
    read = {"base_model_id": "1", "from_where_step": "2", "data_dir": "speech", "output_dir": "out", "max_files": "2"}
    flags = [word for name, value in read.items() for word in (f"--{name}", value)]
    assert phrases("--training_mode", "0", *flags) == []


KIND_OF_NETWORK = [network for networks in NETWORKS.values() for network in networks[:1]]


@pytest.mark.parametrize("network", KIND_OF_NETWORK)
@pytest.mark.parametrize("field", dataclasses.fields(Config), ids=flag_of)
def test_a_flag_of_another_kind_of_network_is_an_unknown_flag(network: str, field: Any) -> None:
    kinds = set(map(name_of_kind, field.metadata["networks"] or KIND_OF_NETWORK))
    named = {flag_of(field): field.default}
    config = Config(block=network, consecutive_frames=8, coefficients=(16.0, 0.0, 0.0, 5.0))
    if name_of_kind(network) in kinds:
        check_known(named, config)
    else:
        with pytest.raises(UserError, match=f"^argument --{flag_of(field)}: unknown with --resnet_type {network}; "):
            check_known(named, config)


def test_weights_of_losses_that_a_kind_does_not_have_are_refused() -> None:
    with pytest.raises(UserError, match="argument --coeff_term: expected 0 as second and third number"):
        parse_flags(["--config", "cq_any", "--coeff_term", "16 1 0 10"])
    assert parse_flags(["--config", "cq_any", "--coeff_term", "16 0 0 5"])[0].coefficients == (16, 0, 0, 5)


def test_the_range_of_rates_is_that_of_the_offsets_in_training() -> None:
    one, narrow, usual, wide = (
        trained_offsets(Config(block="spectral", consecutive_frames=8, rate_range=kbps))
        for kbps in ((), (9.0, 16.0), (6.0, 32.0), (1.0, 256.0))
    )
    assert one == (0.0, 0.0)
    assert usual == pytest.approx((-1.1, 1.5))
    assert usual[0] < narrow[0] < narrow[1] < usual[1]
    assert wide == (offset_of(0), offset_of(OFFSETS - 1))
