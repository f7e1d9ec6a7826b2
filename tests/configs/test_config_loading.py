import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import ConfigError
from configs.keys import known_keys, nearest
from configs.loading import RECIPES, dump_config, load_config, parse_arguments
from configs.schema import Config
from supernet.catalog import PUBLISHED


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


def failure(path: Path | None, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return str(caught.value)


def test_the_command_line_wins_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, "SEED: 3\nTRAIN:\n  LR: 2e-1\n  EPOCHS: 7\nSEARCH:\n")
    config = load_config(path, ["TRAIN.EPOCHS=9", "TRAIN.EPOCHS=11"])
    assert (config.seed, config.train.lr, config.train.epochs) == (3, 0.2, 11)
    assert config.search == Config().search


@pytest.mark.parametrize(
    ("override", "read", "expected"),
    [
        ("TRAIN.LR=1e-4", lambda c: c.train.lr, 1e-4),
        ("TRAIN.LR=.5", lambda c: c.train.lr, 0.5),
        ("INPUT_ARCH=[[0],[3,3],[0]]", lambda c: c.input_arch, [[0], [3, 3], [0]]),
        ("INPUT_ARCH=runs/a/pick.json#2", lambda c: c.input_arch, "runs/a/pick.json#2"),
        ("MODEL_SELECTION=287", lambda c: c.model_selection, 287),
        ("MODEL_SELECTION=nasbench_macro/01201201", lambda c: c.model_selection, "nasbench_macro/01201201"),
        ("RESUME_PATH=", lambda c: c.resume_path, ""),
        ("SAVE_PATH=2026-01-31", lambda c: c.save_path, "2026-01-31"),
        ("SAVE_PATH=no", lambda c: c.save_path, "no"),
        ("DATA.PATH=a=b", lambda c: c.data.path, "a=b"),
        ("DATA.AUGMENT.SCALE=null", lambda c: c.data.augment.scale, None),
        ("SEARCH.BOARD={SIZE: 4, GAP: 1}", lambda c: (c.search.board.size, c.search.board.gap), (4, 1.0)),
    ],
)
def test_override_values_are_yaml(override, read, expected) -> None:
    value = read(load_config(None, [override]))
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            "SEARCH:\n  BOARD:\n    SISE: 3\n",
            ["SEARCH.BOARD.SISE: unknown key", ":3)", "mean SEARCH.BOARD.SIZE?"],
        ),
        ("BOARD:\n  SIZE: 3\n", ["BOARD.SIZE: unknown key", ":2)", "mean SEARCH.BOARD.SIZE?"]),
        ("seed: 3\n", ["seed: unknown key", "mean SEED?"]),
        ("RUNTIME:\n  DEVICE: gpu\n", ["RUNTIME.DEVICE: 'gpu'", ":2)", "auto | cpu | cuda | npu"]),
        ("TRAIN: {LR: -1}\n", ["TRAIN.LR: -1", ":1)", "float > 0"]),
        ("TRAIN: {EPOCHS: many}\n", ["TRAIN.EPOCHS: 'many'", "int >= 1"]),
        ("INPUT_ARCH: [[0], [a]]\n", ["INPUT_ARCH: [[0], ['a']]", "[[int, …], …] or "]),
        ("DATA:\n  AUGMENT:\n    SCALE: [0.1]\n", ["DATA.AUGMENT.SCALE: [0.1]", ":3)", "float > 0 and <= 1] or null"]),
        ("SEARCH: 3\n", ["SEARCH: 3", ":1)", "not a section", "STRATEGY", "BOARD"]),
        ("SEED: 1\nSEED: 2\n", ["SEED: given twice", ":1", ":2"]),
        ("SEED: [1\n", ["not valid YAML", "recipe.yaml:2"]),
        ("SEED: !!python/object/apply:os.getcwd []\n", ["not valid YAML", "recipe.yaml:1", "python"]),
        ("- SEED\n", ["must hold upper-case keys"]),
        ("FLOPS_MINIMUM: 700\n", ["FLOPS_MINIMUM 700.0 is above FLOPS_MAXIMUM 600.0; exchange them"]),
    ],
)
def test_a_wrong_file_is_explained_with_its_line(tmp_path: Path, text: str, parts: list[str]) -> None:
    message = failure(write(tmp_path, text))
    for part in parts:
        assert part in message
    assert "Value error" not in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("TRAIN.EPOCHS", "'TRAIN.EPOCHS' (command line) is not an override; write KEY.SUB=VALUE"),
        ("=3", "is not an override"),
        ("TRAIN.LR=[1", "not valid YAML"),
        ("SERCH.BOARD.SIZE=3", "did you mean SEARCH.BOARD.SIZE?"),
        ("TRAIN.EPOCHS.X=3", "did you mean TRAIN.EPOCHS?"),
        ("TRAIN.LR=0", "TRAIN.LR: 0 (command line) is not allowed; allowed: float > 0"),
    ],
)
def test_a_wrong_override_is_explained(override: str, part: str) -> None:
    assert part in failure(None, override)


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, "SEED: -1\nTRAIN: {LR: x, EPOKS: 3}\n")
    lines = failure(path, "RUNTIME.DEVICE=tpu", "oops").splitlines()
    assert lines[0] == "5 problems in the configuration:"
    assert len(lines) == 6


def test_a_missing_file_names_the_recipes_there_are() -> None:
    recipes = [p for p in Path(__file__).parents[2].joinpath("configs").rglob("*.yaml") if "spaces" not in p.parts]
    message = failure(Path("nowhere.yaml"))
    assert message.startswith("there is no configuration file nowhere.yaml")
    assert all(recipe.name in message for recipe in recipes)


def cells() -> st.SearchStrategy[Any]:
    """A matrix and operations, as a mapping and as a pair."""
    matrix = st.lists(st.lists(st.integers(0, 1), min_size=1), min_size=1)
    ops = st.lists(st.sampled_from(["input", "maxpool3x3", "output"]), min_size=1)
    return st.fixed_dictionaries({"matrix": matrix, "ops": ops}) | st.tuples(matrix, ops)


@settings(max_examples=50, deadline=None)
@given(
    st.builds(
        Config,
        SEED=st.integers(0, 2**40),
        SAVE_PATH=st.text(st.characters(blacklist_categories=("Cs", "Cc"))),
        FLOPS_MAXIMUM=st.floats(0, 1e9),
        INPUT_ARCH=st.none() | st.text("ab:#[]{}0'\"- ") | st.lists(st.lists(st.integers(0, 6))) | cells(),
        MODEL_SELECTION=st.integers(-1, 700) | st.text("0123456789e.-/", min_size=1),
    )
)
def test_dumped_yaml_reads_back_to_an_equal_configuration(tmp_path_factory, config: Config) -> None:
    path = write(tmp_path_factory.getbasetemp(), dump_config(config))
    assert load_config(path) == config


@pytest.mark.parametrize(
    "text", ["1e5", "no", "2026-01-31", "0120", "1:30", "null", "~", "true", ".5", "<<", "-", "1_000"]
)
def test_text_that_looks_like_another_scalar_stays_text(tmp_path: Path, text: str) -> None:
    config = Config(SAVE_PATH=text)
    assert load_config(write(tmp_path, dump_config(config))) == config
    assert yaml.safe_load(dump_config(config))["SAVE_PATH"] == text


def test_the_nearest_key_is_a_sibling_before_a_namesake() -> None:
    assert nearest("PICKER.IMAGE") == "PICKER.IMAGES"
    assert nearest("SEARCH.MATCHING.SIZE") == "SEARCH.MATCHING.SLICE"
    assert nearest("MATCHING.INTERVAL") == "SEARCH.MATCHING.INTERVAL"
    assert nearest("QQQ") is None


def test_help_lists_every_key_with_default_and_meaning_in_100_columns(capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_arguments("train", ["--help"])
    text = capsys.readouterr().out
    assert caught.value.code == 0
    assert max(map(len, text.splitlines())) <= 100
    flat = " ".join(text.split())
    for key in known_keys().values():
        assert f"{key.path} ({key.allowed}; default " in flat
        assert " ".join(key.meaning.split()) in flat


def test_print_config_prints_the_merged_yaml(tmp_path: Path, capsys) -> None:
    path = write(tmp_path, "SEED: 3\n")
    with pytest.raises(SystemExit) as caught:
        parse_arguments("train", ["TRAIN.LR=1e-3", "--cfg", str(path), "--print-config", "TRAIN.EPOCHS=2"])
    merged = yaml.safe_load(capsys.readouterr().out)
    assert caught.value.code == 0
    assert (merged["SEED"], merged["TRAIN"]["LR"], merged["TRAIN"]["EPOCHS"]) == (3, 0.001, 2)


@pytest.mark.parametrize("option", ["--local-rank=3", "--local_rank=3"])
def test_local_rank_is_accepted_and_the_environment_wins(tmp_path: Path, monkeypatch, option: str) -> None:
    path = str(write(tmp_path, "SEED: 3\n"))
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert parse_arguments("train", [option, "--cfg", path]).seed == 3
    assert os.environ["LOCAL_RANK"] == "1"
    monkeypatch.delenv("LOCAL_RANK")
    parse_arguments("train", [option, "--cfg", path])
    assert os.environ["LOCAL_RANK"] == "3"


def test_an_unknown_option_says_how_keys_are_set() -> None:
    with pytest.raises(ConfigError, match=r"--epochs.*KEY\.SUB=VALUE"):
        parse_arguments("train", ["--epochs", "3"])


def test_a_file_changes_the_values_of_its_base(tmp_path: Path) -> None:
    """Leaf by leaf, over several files, each relative to its own folder; the command line still wins."""
    (tmp_path / "below").mkdir()
    (tmp_path / "ground.yaml").write_text("SEED: 1\nTRAIN: {LR: 0.5, EPOCHS: 7}\n")
    (tmp_path / "below/middle.yaml").write_text("BASE: ../ground.yaml\nSEED: 2\nTRAIN: {EPOCHS: 8}\n")
    path = write(tmp_path, "BASE: below/middle.yaml\nTRAIN:\n  EPOCHS: 9\n")
    config = load_config(path, ["TRAIN.BATCH_SIZE=3"])
    assert (config.seed, config.train.lr, config.train.epochs, config.train.batch_size) == (2, 0.5, 9, 3)
    assert "BASE" not in dump_config(config)
    (tmp_path / "ground.yaml").write_text("TRAIN: {LR: fast}\n")
    assert "ground.yaml:1) is not allowed" in failure(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SEED: 1\nBASE: nowhere.yaml\n", r"BASE: 'nowhere.yaml' \(.*recipe.yaml:2\) is not there; name a file"),
        ("BASE:\n", r"BASE: None \(.*recipe.yaml:1\) is not there"),
        ("BASE: recipe.yaml\n", "BASE comes back to where it began: .*recipe.yaml -> .*recipe.yaml; remove one"),
        ("BASE: other.yaml\n", "BASE comes back to where it began: .*recipe.yaml -> .*other.yaml -> .*recipe.yaml;"),
        ("BASE: {FILE: other.yaml}\n", "BASE.FILE: unknown key"),
    ],
)
def test_a_wrong_base_is_explained(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "other.yaml").write_text("BASE: recipe.yaml\n")
    assert re.match(message, failure(write(tmp_path, text)))


CELL = {"matrix": [[0, 1], [0, 0]], "ops": ["input", "output"]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("INPUT_ARCH: {matrix: [[0, 1], [0, 0]], ops: [input, output]}\n", CELL),
        ("INPUT_ARCH:\n  matrix:\n    - [0, 1]\n    - [0, 0]\n  ops: [input, output]\n", CELL),
        ("INPUT_ARCH: [[[0, 1], [0, 0]], [input, output]]\n", tuple(CELL.values())),
    ],
)
def test_input_arch_may_be_a_cell(tmp_path: Path, text: str, expected: object) -> None:
    """In a file, on the command line, and as it is dumped; a value of its own, that replaces another one."""
    key, _, value = text.strip().partition(":")
    path = write(tmp_path, text)
    assert load_config(path).input_arch == expected
    assert load_config(write(tmp_path, dump_config(load_config(path)))).input_arch == expected
    assert load_config(path, ["INPUT_ARCH=[[0]]"]).input_arch == [[0]]
    if "\n" not in value:
        assert load_config(write(tmp_path, "INPUT_ARCH: 3\n"), [f"{key}={value}"]).input_arch == expected


def test_other_mappings_are_sections_still(tmp_path: Path) -> None:
    assert "INPUT_ARCH: {'matrix': 3} " in failure(write(tmp_path, "INPUT_ARCH: {matrix: 3}\n"))
    assert "SEED: {'A': 1} (command line) is not allowed; allowed: int >= 0" in failure(None, "SEED={A: 1}")
    assert "INPUT_ARCH.matrix: unknown key" in failure(None, "INPUT_ARCH.matrix=[[0]]")


def test_nasbench101s_recipe_is_the_published_one() -> None:
    config = load_config(RECIPES / "retrain/nasbench101.yaml")
    train, around, augment = config.train, config.nasbench101, config.data.augment
    assert (around.stem_filter_size, around.num_stacks, around.num_modules_per_stack) == (128, 3, 3)
    assert (train.batch_size, train.epochs, train.seconds, train.lr) == (256, 108, 4 * 60 * 60, 0.1)
    assert (train.schedule, train.min_lr, train.warmup_epochs, train.across_epochs) == ("cosine_by_step", 0, 0, True)
    assert (train.optimizer, train.momentum, train.rmsprop_decay, train.eps) == ("rmsproptf", 0.9, 0.9, 1.0)
    assert (train.weight_decay, train.decay_norms, train.label_smoothing) == (1e-4, True, 0.0)
    assert (train.intermediate_evaluations, config.runtime.precision) == ((0.5,), "O0")
    assert (train.ema_decay, train.dropout, train.drop_path, train.clip_gradient) == (0.0,) * 4
    assert (augment.crop_padding, augment.flip, augment.scale, augment.policy) == (4, 0.5, None, "")
    assert [255 * value for value in config.data.mean] == pytest.approx([125.31, 122.95, 113.87], abs=1e-4)
    assert [255 * value for value in config.data.std] == pytest.approx([62.99, 62.09, 66.70], abs=1e-4)


@pytest.mark.parametrize("epochs", [12, 200])
def test_nasbench201s_recipes_are_the_published_ones(epochs: int) -> None:
    config = load_config(RECIPES / f"retrain/nasbench201_{epochs}.yaml")
    train, around, augment = config.train, config.nasbench201, config.data.augment
    assert (around.stem_channels, around.num_cells, config.data.search_fraction) == (16, 5, 0.5)
    assert (train.epochs, train.batch_size, train.lr, train.optimizer, train.momentum) == (epochs, 256, 0.1, "sgd", 0.9)
    assert (train.schedule, train.min_lr, train.warmup_epochs) == ("cosine", 0, 0)
    assert (train.weight_decay, train.decay_norms, train.label_smoothing) == (5e-4, True, 0.0)
    assert (train.trial, train.across_epochs, config.runtime.precision) == (True, True, "O0")
    assert (train.ema_decay, train.dropout, train.drop_path, train.clip_gradient) == (0.0,) * 4
    assert (augment.crop_padding, augment.flip, augment.scale, augment.policy) == (4, 0.5, None, "")
    assert config.data.split_seed is not None, "trials of all seeds share one split"


@pytest.mark.parametrize("selection", [14, 43, 114, 287, 481, 604])
def test_each_published_network_has_its_recipe(selection: int) -> None:
    """Cream's retraining as published; the two smallest networks have a step schedule."""
    config, base = load_config(RECIPES / f"retrain/{selection}.yaml"), load_config(RECIPES / "retrain.yaml")
    published = PUBLISHED[str(selection)]
    assert config.model_selection == selection
    assert (config.data.image_size or 224) == published.resolution
    assert config.train.schedule == ("step" if selection in (14, 43) else "cosine")
    assert (config.train.decay_rate, config.train.decay_epochs) == (0.973, 2.4)
    same = {"schedule": base.train.schedule}
    assert config.train.model_copy(update=same) == base.train
    assert config.data.model_copy(update={"image_size": None}) == base.data
    assert (config.train.optimizer, config.train.lr, config.train.eps) == ("rmsproptf", 0.064, 1e-3)
    assert (config.train.momentum, config.train.weight_decay, config.train.epochs) == (0.9, 1e-5, 500)
    assert (config.train.warmup_epochs, config.train.warmup_lr, config.train.batch_size) == (3, 1e-6, 128)
    assert (config.train.dropout, config.train.ema_decay, config.train.label_smoothing) == (0.2, 0.9999, 0.1)
    augment = config.data.augment
    assert (augment.policy, augment.erasing, augment.erasing_mode) == ("rand-m9-mstd0.5", 0.2, "pixel")
    assert (config.data.crop_fraction, config.data.interpolation) == (0.875, "bicubic")


def test_no_two_recipes_write_into_one_folder() -> None:
    folders = [load_config(path).save_path for path in RECIPES.glob("retrain/*.yaml")]
    assert len({*folders, load_config(RECIPES / "retrain.yaml").save_path}) == len(folders) + 1 > 7


@pytest.mark.parametrize(
    "override",
    [
        "TRAIN.ACCUMULATION=2",
        "RUNTIME.COMPILE=true",
        "TRAIN.SECONDS=9",
        "TRAIN.INTERMEDIATE_EVALUATIONS=[0.5]",
        "TRAIN.TRIAL=true",
    ],
)
def test_a_search_refuses_what_only_retraining_has(override: str) -> None:
    with pytest.raises(ConfigError, match=f"{override.split('=')[0]}.* (is|are) for retrain.py"):
        parse_arguments("train", [override])
    assert parse_arguments("retrain", [override]) != parse_arguments("retrain", [])


def test_single_path_nas_as_published() -> None:
    """Search: 8 epochs, RMSProp 0.064 x 0.97 every 2.4, the cost term after 5. Its network: 100 epochs on O2."""
    search = load_config(RECIPES / "train_spnas.yaml")
    assert (search.supernet.space, search.supernet.encoding, search.search.strategy) == (
        "spnas",
        "superkernel",
        "threshold",
    )
    train, threshold = search.train, search.search.threshold
    assert (train.epochs, train.optimizer, train.lr, train.schedule) == (8, "rmsproptf", 0.064, "step")
    assert (train.decay_rate, train.decay_epochs, train.weight_decay, train.label_smoothing) == (0.97, 2.4, 1e-5, 0.1)
    assert (threshold.warmup_epochs, threshold.keep) == (5, 0.6)
    retrain = load_config(RECIPES / "retrain/spnasnet_100.yaml")
    assert (retrain.model_selection, retrain.train.epochs, retrain.runtime.precision) == ("spnasnet_100", 100, "O2")
    assert (retrain.train.optimizer, retrain.train.momentum, retrain.train.weight_decay) == ("sgd", 0.9, 1e-4)
