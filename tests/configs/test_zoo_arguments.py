from __future__ import annotations

from pathlib import Path

import pytest

from configs.errors import ConfigError
from configs.keys import known_keys
from configs.loading import load_config, parse_arguments
from configs.schema import Config
from configs.zoo_arguments import ARGUMENTS, DEFAULTS, format_arguments, recipe_of, translate


def read(*arguments: str) -> Config:
    return parse_arguments("retrain", translate(arguments).arguments)


def value_of(config: Config, key: str) -> object:
    value: object = config
    for name in key.lower().split("."):
        value = getattr(value, name)
    return value


def test_the_published_example_reads_as_keys() -> None:
    config = read(
        *("--data", "/data/a: b", "--arch", "SPNASNet_100", "--workers", "16", "--epoch", "100", "--batch-size", "512"),
        *("--lr", "1.6", "--momentum", "0.8", "--weight_decay", "1e-3", "--amp", "--opt-level", "o1"),
        *("--loss-scale", "128"),
    )
    expected = {
        "DATA.PATH": "/data/a: b",
        "MODEL_SELECTION": "spnasnet_100",
        "DATA.WORKERS": 16,
        "TRAIN.EPOCHS": 100,
        "TRAIN.BATCH_SIZE": 512,
        "TRAIN.LR": 1.6,
        "TRAIN.MOMENTUM": 0.8,
        "TRAIN.WEIGHT_DECAY": 1e-3,
        "RUNTIME.PRECISION": "O1",
        "RUNTIME.DTYPE": "float16",
        "RUNTIME.LOSS_SCALE": 128.0,
    }
    assert {key: value_of(config, key) for key in expected} == expected


@pytest.mark.parametrize("arch", ["SPNASNet_100", "spnasnet_100", "SPNASNET_100", None])
def test_the_published_defaults_hold(arch: str | None) -> None:
    config = read("--data", "/data", *(("--arch", arch) if arch else ()))
    assert (config.model_selection, config.train.optimizer) == ("spnasnet_100", "sgd")
    assert (config.train.lr, config.train.momentum, config.train.weight_decay) == (0.01, 0.9, 1e-4)
    assert config.runtime.precision == "O0"
    assert config.runtime.loss_scale == "dynamic"


def test_amp_is_o2_in_float16() -> None:
    assert (read("--amp").runtime.precision, read("--amp").runtime.dtype) == ("O2", "float16")


def test_a_network_with_a_recipe_of_its_own_has_that_one() -> None:
    own = load_config(recipe_of("14"))
    config = read("--arch", "14")
    assert (config.train.schedule, config.train.decay_epochs) == (own.train.schedule, own.train.decay_epochs)
    assert config.data.image_size == own.data.image_size
    assert recipe_of("nasbench_macro/00000000").name == "retrain.yaml"


def test_keys_and_a_given_file_win(tmp_path: Path) -> None:
    assert read("--lr", "0.3", "TRAIN.LR=0.2").train.lr == 0.2
    file = tmp_path / "mine.yaml"
    file.write_text("MODEL_SELECTION: 43\nTRAIN: {LR: 0.7, OPTIMIZER: adamw}\n")
    config = read("--cfg", str(file), "--momentum", "0.5")
    assert (config.model_selection, config.train.lr, config.train.optimizer) == (43, 0.7, "adamw")
    assert config.train.momentum == 0.5


def test_a_command_line_without_them_stays_as_it_is() -> None:
    arguments = ["--cfg", "x.yaml", "--local-rank=1", "TRAIN.LR=0.1", "--help"]
    assert translate(arguments).arguments == arguments


def test_processes_are_asked_for_by_a_list_of_devices() -> None:
    asked = translate(["--multiprocessing-distributed", "--device-list", "0, 2,3", "--addr", "10.0.0.1"])
    assert (asked.devices, asked.address) == ((0, 2, 3), "10.0.0.1")
    assert translate(["--device-list", "3"]).devices == (3,)
    assert translate(["--data", "x"]).devices == ()


@pytest.mark.parametrize("devices", ["0,x", "0,0", "0,,1", "", "-1", "0,00"])
def test_what_is_no_list_of_devices_is_refused(devices: str) -> None:
    with pytest.raises(ConfigError, match="list of different devices"):
        translate([f"--device-list={devices}", "--multiprocessing-distributed"])


def test_one_without_the_other_is_refused() -> None:
    with pytest.raises(ConfigError, match="add --multiprocessing-distributed"):
        translate(["--device-list", "0,1"])
    with pytest.raises(ConfigError, match="needs --device-list"):
        translate(["--multiprocessing-distributed"])


@pytest.mark.parametrize("scale", ["abc", "0", "-1", "nan", "inf", "true", "none"])
def test_a_loss_scale_is_a_number_or_dynamic(scale: str) -> None:
    with pytest.raises(ConfigError, match=r"RUNTIME\.LOSS_SCALE.*float > 0 or dynamic"):
        read("--loss-scale", scale)
    assert read("--loss-scale", "dynamic").runtime.loss_scale == "dynamic"


def test_hyphens_and_underscores_are_the_same() -> None:
    for first, second in (("--batch-size", "--batch_size"), ("--weight_decay", "--weight-decay")):
        assert translate([first, "7"]) == translate([second, "7"])


def test_every_argument_is_explained_and_sets_known_keys() -> None:
    text = format_arguments()
    assert all(argument.name in text for argument in ARGUMENTS)
    assert {key for argument in ARGUMENTS for key in argument.keys} | set(DEFAULTS) <= set(known_keys())
