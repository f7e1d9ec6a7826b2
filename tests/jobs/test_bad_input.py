"""What users get wrong, through the real scripts: one clear message, an exit status, and nothing half-written."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from warm_scripts import ROOT, WarmScripts, warm_scripts

QUICK = (
    "DATA.NAME=digits SUPERNET.SPACE=fashion TRAIN.EPOCHS=1 TRAIN.STEPS_PER_EPOCH=1 TRAIN.BATCH_SIZE=8 DATA.WORKERS=0"
)
SEARCH = f"train.py {QUICK} SEARCH.STRATEGY=uniform PICKER.EVALUATIONS=1 PICKER.IMAGES=8 PICKER.RECALIBRATION_IMAGES=8"
RETRAIN = f"retrain.py {QUICK} DATA.AUGMENT.POLICY="
TEST = "test.py DATA.NAME=digits"
CHOSEN = f"{RETRAIN} MODEL_SELECTION=-1 INPUT_ARCH"
FOLDER = f"{SEARCH} DATA.NAME=image_folder DATA.PATH={{inputs}}"
ZOO = f"retrain.py {QUICK} DATA.NAME=image_folder --data {{inputs}}/good"
CASE = "-m tools.cases full --devices=1 --device=cpu --data_path={inputs}/good"


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmScripts]:
    with warm_scripts(tmp_path_factory.mktemp("outputs")) as warm:
        yield warm


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, scripts: WarmScripts) -> Path:
    """Everything that the cases name: configurations, spaces, image folders, a search, a retraining, checkpoints."""
    folder = tmp_path_factory.mktemp("inputs")
    write_texts(folder)
    write_image_folders(folder)
    for command in (f"{SEARCH} SAVE_PATH={folder}/search", f"{RETRAIN} MODEL_SELECTION=14 SAVE_PATH={folder}/retrain"):
        ended = scripts.run(command)
        assert ended.status == 0, ended.stderr
    pick = (folder / "search/pick.json").read_text()
    (folder / "cut.json").write_text(pick[: len(pick) // 2])
    (folder / "foreign.json").write_text(pick.replace('"architecture": [', '"architecture": [[0], '))
    torch.save({"state_dict": Hostile(folder / "executed")}, folder / "hostile.pth.tar")
    torch.save({"weight": torch.zeros(2)}, folder / "other.pth.tar")
    weights = torch.load(folder / "retrain/checkpoints/best.pth.tar", weights_only=True)["state_dict"]
    torch.save({"state_dict": {**weights, "extra.bias": torch.zeros(2)}}, folder / "extra.pth.tar")
    del weights["conv_head.bias"]
    torch.save({"state_dict": weights}, folder / "lacking.pth.tar")
    return folder


class Hostile:
    """Unpickling it touches a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


def write_texts(folder: Path) -> None:
    space = (ROOT / "configs/spaces/fashion.yaml").read_text()
    texts = {
        "open.yaml": "TRAIN: {LR: 1",
        "list.yaml": "- TRAIN",
        "twice.yaml": "SEED: 1\nSEED: 2\n",
        "tab.yaml": "TRAIN:\n\tLR: 1\n",
        "lower.yaml": "train:\n  lr: 1\n",
        "scalar.yaml": "TRAIN: fast\n",
        "code.yaml": f"SEED: !!python/object/apply:os.system ['touch {folder}/executed']\n",
        "field.yaml": space.replace("resolution:", "resolutoin:"),
        "layers.yaml": f"{space[: space.index('stages:')]}stages: []\n{space[space.index('head:') :]}",
        "operation.yaml": space.replace("kernel: 3, expansion: 2", "block: mbcnov"),
        "rootless.yaml": "SEED: 1\nBASE: nowhere.yaml\n",
        "hen.yaml": "BASE: egg.yaml\n",
        "egg.yaml": "BASE: hen.yaml\n",
        "page.pth.tar": "<!DOCTYPE html><html>404</html>",
        "file": "",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "latin.yaml").write_bytes("SAVE_PATH: café\n".encode("latin1"))


def write_image_folders(folder: Path) -> None:
    """`good`, and copies of it in which something is wrong."""
    generator = np.random.default_rng(0)
    good = folder / "good"
    for place in (f"{split}/{name}" for split in ("train", "val") for name in ("apple", "pear")):
        (good / place).mkdir(parents=True)
        for number in range(12):
            Image.fromarray(generator.integers(0, 256, (8, 8, 3), np.uint8)).save(good / place / f"{number}.png")
    for name in ("classes", "hollow", "imageless", "flat", "text", "odd"):
        shutil.copytree(good, folder / name)
    (folder / "classes/val/pear").rename(folder / "classes/val/quince")
    for path in [*folder.glob("hollow/train/pear/*"), *folder.glob("imageless/*/*/*")]:
        path.unlink()
    for path in folder.glob("text/*/*/*"):
        path.write_text("no image")
    shutil.rmtree(folder / "flat/train/apple")
    (folder / "flat/train/pear").rename(folder / "flat/train/.hidden")
    (folder / "empty").mkdir()
    write_odd_images(folder / "odd/train/apple")


def write_odd_images(folder: Path) -> None:
    """Every kind of pixel and of file name that is allowed."""
    color = Image.open(folder / "0.png")
    for mode in ("RGBA", "P", "L", "LA", "1"):
        color.convert(mode).save(folder / f"mode {mode}.png")
    color.convert("CMYK").save(folder / "mode CMYK.jpg")
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(folder / "mode 16.png")
    content = io.BytesIO()
    color.save(content, "png")
    for name in (b"\xff\xfe latin.png", "größe 图.PNG".encode(), b"new\nline.png", b"-dash.png", b"quote'\".png"):
        Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).write_bytes(content.getvalue())


CASES = {
    # the command line and the configuration file
    "unknown key": ("train.py SERCH.STRATEGY=uniform", "SERCH.STRATEGY: unknown key", "mean SEARCH.STRATEGY?"),
    "mistyped key": ("retrain.py TRAIN.EPOCH=3", "TRAIN.EPOCH: unknown key", "mean TRAIN.EPOCHS?"),
    "lower case": ("train.py --cfg {inputs}/lower.yaml", "train.lr: unknown key", "lower.yaml:2", "mean TRAIN.LR?"),
    "text for a number": ("train.py TRAIN.LR=fast", "TRAIN.LR: 'fast'", "allowed: float > 0"),
    "truth for a number": ("train.py SEED=true", "SEED: True", "truth value"),
    "fraction for a count": ("test.py SEED=1.5", "SEED: 1.5", "int >= 0"),
    "not a number": ("train.py TRAIN.LR=.nan", "TRAIN.LR: nan", "float > 0"),
    "infinite": ("train.py FLOPS_MAXIMUM=.inf", "FLOPS_MAXIMUM: inf", "float >= 0"),
    "negative": ("train.py TRAIN.BATCH_SIZE=-8", "TRAIN.BATCH_SIZE: -8", "int >= 1"),
    "huge image": ("train.py DATA.IMAGE_SIZE=1000000", "DATA.IMAGE_SIZE: 1000000", "<= 8192"),
    "wrong order": ("train.py DATA.AUGMENT.SCALE=[1,0.1]", "DATA.AUGMENT.SCALE: [1, 0.1]", "smallest first"),
    "minimum above maximum": ("train.py FLOPS_MINIMUM=700", "FLOPS_MINIMUM 700", "FLOPS_MAXIMUM 600", "exchange them"),
    "section given a scalar": ("train.py --cfg {inputs}/scalar.yaml", "TRAIN: 'fast'", "not a section", "EPOCHS"),
    "no override": ("train.py TRAIN.LR", "'TRAIN.LR'", "write KEY.SUB=VALUE"),
    "file without --cfg": ("train.py configs/train.yaml", "write --cfg configs/train.yaml"),
    "unknown option": ("train.py --epochs 3", "--epochs", "KEY.SUB=VALUE"),
    "--cfg without a file": ("test.py --cfg", "--cfg", "expected one argument"),
    "--cfg before a key": ("train.py --cfg SEED=1", "--cfg is followed by SEED=1"),
    "--cfg twice": ("train.py --cfg {inputs}/lower.yaml --cfg {inputs}/tab.yaml", "--cfg is given 2 times"),
    "missing configuration": (
        "train.py --cfg nowhere.yaml",
        "no configuration file nowhere.yaml",
        "configs/train.yaml",
    ),
    "folder as configuration": ("train.py --cfg configs", "--cfg configs is a folder"),
    "YAML left open": ("train.py --cfg {inputs}/open.yaml", "open.yaml:1: not valid YAML"),
    "YAML list": ("train.py --cfg {inputs}/list.yaml", "list.yaml must hold upper-case keys"),
    "YAML key twice": ("train.py --cfg {inputs}/twice.yaml", "SEED: given twice", "twice.yaml:1", "twice.yaml:2"),
    "YAML tab": ("train.py --cfg {inputs}/tab.yaml", "tab.yaml:2: not valid YAML", "indent with blanks"),
    "YAML code": ("train.py --cfg {inputs}/code.yaml", "code.yaml:1: not valid YAML", "os.system"),
    "YAML in another encoding": ("train.py --cfg {inputs}/latin.yaml", "latin.yaml cannot be read", "utf-8"),
    "missing base": ("train.py --cfg {inputs}/rootless.yaml", "BASE: 'nowhere.yaml'", "rootless.yaml:2", "not there"),
    "base of itself": ("train.py --cfg {inputs}/hen.yaml", "BASE comes back to where it began", "egg.yaml -> "),
    "base on the command line": ("train.py BASE=configs/train.yaml", "BASE belongs into a file, which --cfg names"),
    "accumulated search": ("train.py TRAIN.ACCUMULATION=2", "TRAIN.ACCUMULATION=2 is for retrain.py", "set it to 1"),
    "compiled search": ("train.py RUNTIME.COMPILE=true", "RUNTIME.COMPILE is for retrain.py and test.py"),
    "odd pairs": (
        f"{RETRAIN} MODEL_SELECTION=14 DATA.AUGMENT.MIXUP=1 TRAIN.BATCH_SIZE=7",
        "mix pairs",
        "7 x TRAIN.ACC",
    ),
    # places and devices
    "folder below a file": (f"{SEARCH} SAVE_PATH={{inputs}}/file/run", "SAVE_PATH=", "cannot be written"),
    "folder that is a file": (f"{TEST} SAVE_PATH={{inputs}}/file", "SAVE_PATH=", "cannot be written"),
    "absent device": ("train.py RUNTIME.DEVICE=npu", "RUNTIME.DEVICE=npu", "use RUNTIME.DEVICE=auto"),
    # spaces and windows
    "unknown space": (f"{SEARCH} SUPERNET.SPACE=craem", "no search space 'craem'", "cream, cream_small, fashion"),
    "space with an unknown field": (f"{SEARCH} SUPERNET.SPACE={{inputs}}/field.yaml", "did you mean resolution?"),
    "space without layers": (f"{SEARCH} SUPERNET.SPACE={{inputs}}/layers.yaml", "layers.yaml:15: stages: should have"),
    "space with an unknown block": (f"{SEARCH} SUPERNET.SPACE={{inputs}}/operation.yaml", "block: should be 'mbconv'"),
    "empty window": (f"{SEARCH} FLOPS_MAXIMUM=1", "no architecture lies in", "feasible costs go from 1.534368 to"),
    "window that no resolution reaches": (
        f"{SEARCH} FLOPS_MAXIMUM=0.1 SUPERNET.RESOLUTIONS=[16,28]",
        "at any resolution",
        "at 16",
        "at 28",
    ),
    "resolution twice": (f"{SEARCH} SUPERNET.RESOLUTIONS=[28,28]", "SUPERNET.RESOLUTIONS", "only once"),
    "two places for the image size": (
        f"{SEARCH} SUPERNET.RESOLUTIONS=[16] DATA.IMAGE_SIZE=28",
        "remove one of the two",
    ),
    "shares that do not add up": (f"{SEARCH} SEARCH.PRE_PROB=[0.5,0.4]", "add up to 0.9"),
    "shares of other operations": (
        f"{SEARCH} SEARCH.PRIOR=pre_prob SEARCH.PRE_PROB=[0.5,0.5]",
        "SEARCH.PRE_PROB has 2 shares",
        "has 6 operations",
    ),
    "prior of a board that is not kept": (
        f"{SEARCH} SEARCH.PRIOR=teacher SEARCH.STRATEGY=uniform",
        "which SEARCH.STRATEGY uniform does not keep",
    ),
    "shares that leave no architecture": (
        f"{SEARCH} FLOPS_MAXIMUM=1.6 SEARCH.PRIOR=pre_prob SEARCH.PRE_PROB=[0,0,0,0,0,1]",
        "the prior over operations leaves no architecture",
    ),
    "empty window of image folders": (f"{FOLDER}/imageless FLOPS_MAXIMUM=1", "no architecture lies in", "feasible"),
    "bound finer than a MAC": (f"{SEARCH} FLOPS_MAXIMUM=1e-7", "bound of 1e-07 million MACs"),
    "picker that cannot finish": (f"{SEARCH} PICKER.NAME=exhaustive", "exhaustive would score all 17,173,512"),
    "decisions in separate weights": (
        f"{SEARCH} SEARCH.STRATEGY=threshold SUPERNET.ENCODING=separate",
        "threshold decides about a superkernel's shells",
        "set it to superkernel",
    ),
    "decisions among others": (
        f"{SEARCH} SEARCH.STRATEGY=threshold SUPERNET.SPACE=nasbench_macro",
        "block 0 of stage 0 of nasbench_macro offers other blocks",
        "take another space or strategy",
    ),
    "no latency table": (
        f"{SEARCH} SEARCH.STRATEGY=threshold SEARCH.THRESHOLD.LATENCY_TABLE={{inputs}}/nowhere.json",
        "the latency table",
        "nowhere.json cannot be read: No such file",
    ),
    "latency without a table": (
        f"{SEARCH} LATENCY_MAXIMUM=5",
        "LATENCY_MAXIMUM is 5.0 and LATENCY_TABLE ''",
        "set both",
    ),
    "window without a table": (
        f"{SEARCH} LATENCY_MAXIMUM=5 LATENCY_TABLE={{inputs}}/nowhere.json",
        "the latency table",
        "nowhere.json cannot be read: No such file",
    ),
    "picker without paths": (f"{SEARCH} PICKER.NAME=board", "board needs prioritized paths", "SEARCH.STRATEGY"),
    # data
    "missing data": (f"{FOLDER}/nowhere", "DATA.PATH", "nowhere does not exist"),
    "data path that is a file": (f"{FOLDER}/file", "DATA.PATH", "file is a file"),
    "folder without splits": (f"{FOLDER}/empty", "has no folder train", "train/<class>/"),
    "split without classes": (f"{FOLDER}/flat", "has no class folders"),
    "folders without images": (f"{FOLDER}/imageless", "has no images in its 2 class folders"),
    "class without images": (f"{FOLDER}/hollow", "no images in pear; remove or fill"),
    "classes that differ": (f"{FOLDER}/classes", "only in train: pear; only in val: quince"),
    "no image files": (
        f"{FOLDER}/text DATA.LOADER=resident",
        "24 of 24 images are unreadable",
        "DATA.UNREADABLE_LIMIT",
    ),
    "fewer images than a batch": (
        f"{SEARCH} TRAIN.BATCH_SIZE=5000",
        "1409 training images are fewer",
        "TRAIN.BATCH_SIZE",
    ),
    "no held-out images": (f"{SEARCH} DATA.SEARCH_FRACTION=0", "no images are held out", "raise DATA.SEARCH_FRACTION"),
    "nothing left to train on": (
        f"{SEARCH} DATA.SEARCH_FRACTION=0.999",
        "leaves no training image of class",
        "lower it",
    ),
    "means of other images": (f"{SEARCH} DATA.MEAN=[0.1,0.2,0.3]", "DATA.MEAN has 3 numbers", "1 channels"),
    "unknown policy": (f"{FOLDER}/good DATA.AUGMENT.POLICY=nonsense", "DATA.AUGMENT.POLICY 'nonsense'", "rand-m9"),
    # precision
    "no loss scale": (
        f"{SEARCH} RUNTIME.LOSS_SCALE=fast",
        "RUNTIME.LOSS_SCALE: 'fast'",
        "allowed: float > 0 or dynamic",
    ),
    "loss scale of zero": (f"{SEARCH} RUNTIME.LOSS_SCALE=0", "RUNTIME.LOSS_SCALE: 0", "float > 0 or dynamic"),
    "unknown level": (f"{SEARCH} RUNTIME.PRECISION=O4", "RUNTIME.PRECISION: 'O4'", "auto | O0 | O1 | O2 | O3"),
    "absent apex": (
        f"{SEARCH} RUNTIME.PRECISION=O2 RUNTIME.DTYPE=float16 RUNTIME.AMP_ENGINE=apex",
        "no apex that has amp",
    ),
    "apex and its other type": (f"{SEARCH} RUNTIME.AMP_ENGINE=apex", "apex knows no bfloat16", "float16"),
    # what is selected
    "unknown selection": (f"{RETRAIN} MODEL_SELECTION=15", "MODEL_SELECTION 15 is not known", "14, 43, 114, 287, 481"),
    "digits of wrong length": (f"{RETRAIN} MODEL_SELECTION=nasbench_macro/012", "'012' has 3 digits", "8 layers"),
    "no selection": (f"{RETRAIN} MODEL_SELECTION=-1", "INPUT_ARCH is not set"),
    "selected twice": (f"{RETRAIN} MODEL_SELECTION=14 INPUT_ARCH=[[0]]", "remove one of the two"),
    "architecture of wrong length": (
        f"{CHOSEN}=[[0],[0]]",
        "INPUT_ARCH",
        "2 stages; fashion has 3",
    ),
    "stage deeper than the space": (
        f"{CHOSEN}=[[0],[1,1,1,1],[0]]",
        "INPUT_ARCH",
        "stage 1 has 4 blocks; fashion allows 1 to 3",
    ),
    "operation out of range": (
        f"{CHOSEN}=[[0],[6],[0]]",
        "operation 6 at stage 1",
        "[0, 1, 2, 3, 4, 5]",
    ),
    "no architecture": (f"{CHOSEN}=hello", "'hello' is no architecture of fashion"),
    "missing pick": (
        f"{CHOSEN}={{inputs}}/nowhere.json",
        "nowhere.json, which is not there",
    ),
    "truncated pick": (
        f"{CHOSEN}={{inputs}}/cut.json",
        "cut.json is no whole pick.json",
    ),
    "pick of another space": (
        f"{CHOSEN}={{inputs}}/foreign.json",
        "foreign.json is no whole",
        "fashion has 3",
    ),
    "place beyond the pick": (
        f"{CHOSEN}={{inputs}}/search/pick.json#7",
        "ranks 1 architectures",
    ),
    # checkpoints
    "nothing to continue": (f"{SEARCH} RESUME_PATH={{inputs}}/nowhere", "RESUME_PATH=", "nowhere is not there"),
    "folder without checkpoints": (f"{RETRAIN} RESUME_PATH={{inputs}}/empty", "empty holds no checkpoint"),
    "search of another space": (
        f"{SEARCH} SUPERNET.SPACE=nasbench_macro RESUME_PATH={{inputs}}/search",
        "belongs to another run",
        "description",
    ),
    "retraining of another network": (
        f"{RETRAIN} MODEL_SELECTION=43 RESUME_PATH={{inputs}}/retrain",
        "belongs to another run",
        "selection",
    ),
    "folder that holds a run": (
        f"{SEARCH} SAVE_PATH={{inputs}}/search",
        "already holds the checkpoints",
        "RESUME_PATH=auto",
    ),
    "supernet of another space": (
        f"{RETRAIN} MODEL_SELECTION=14 TRAIN.INHERIT={{inputs}}/search",
        "TRAIN.INHERIT=",
        "a supernet of space fashion at 28 pixels",
    ),
    "no supernet": (f"{RETRAIN} MODEL_SELECTION=14 TRAIN.INHERIT={{inputs}}/retrain", "no checkpoint of a search"),
    "nothing to test": (f"{TEST} RESUME_PATH=", "RESUME_PATH is empty"),
    "missing weights": (f"{TEST} RESUME_PATH={{inputs}}/nowhere", "RESUME_PATH=", "nowhere is not there"),
    "supernet to test": (f"{TEST} RESUME_PATH={{inputs}}/search", "is a supernet of train.py", "retrain.py"),
    "page as checkpoint": (f"{TEST} RESUME_PATH={{inputs}}/page.pth.tar", "page.pth.tar cannot be loaded"),
    "hostile checkpoint": (f"{TEST} RESUME_PATH={{inputs}}/hostile.pth.tar", "asks for posix.system"),
    "nameless weights": (f"{TEST} RESUME_PATH={{inputs}}/other.pth.tar", "set MODEL_SELECTION"),
    "weights of another network": (
        f"{TEST} RESUME_PATH={{inputs}}/retrain MODEL_SELECTION=43",
        "holds the weights of another network",
        "missing",
    ),
    "weights that lack a key": (
        f"{TEST} RESUME_PATH={{inputs}}/lacking.pth.tar MODEL_SELECTION=14",
        "lacking.pth.tar holds the weights of another network",
        "conv_head.bias is missing",
    ),
    "weights with a key too many": (
        f"{TEST} RESUME_PATH={{inputs}}/extra.pth.tar MODEL_SELECTION=14",
        "extra.pth.tar holds the weights of another network",
        "extra.bias is not in this network",
    ),
    "averaged weights that are not there": (
        f"{TEST} RESUME_PATH={{inputs}}/lacking.pth.tar TEST.WEIGHTS=ema",
        "lacking.pth.tar has no state_dict_ema, only state_dict; set TEST.WEIGHTS=auto",
    ),
    # the model zoo's arguments and scripts
    "zoo: data without train": (f"{ZOO} --data {{inputs}}/empty --arch 14", "empty has no folder train; expected"),
    "zoo: unknown network": (f"{ZOO} --arch ResNet50", "MODEL_SELECTION 'resnet50' is not known", "spnasnet_100"),
    "zoo: loss scale": (f"{ZOO} --amp --loss-scale big", "RUNTIME.LOSS_SCALE: 'big'", "float > 0 or dynamic"),
    "zoo: absent device": (
        f"{ZOO} --arch 14 --multiprocessing-distributed --device-list 0,99999",
        "99999 (counted from 0) is not there: this machine has",
    ),
    "zoo: absent kind of device": (
        f"{ZOO} --arch 14 --multiprocessing-distributed --device-list 0,1 RUNTIME.DEVICE=npu",
        "RUNTIME.DEVICE=npu, but torch",
    ),
    "zoo: foreign address": (
        f"{ZOO} --arch 14 --multiprocessing-distributed --device-list 0 --addr 192.0.2.1 RUNTIME.DEVICE=cpu",
        "address 192.0.2.1 is not one of this machine",
    ),
    "zoo: several devices, one process": (f"{ZOO} --device-list 0,1", "add --multiprocessing-distributed"),
    "script: no data path": ("-m tools.cases full --devices=1", "the following arguments are required: --data_path"),
    "script: data without val": (f"{CASE} --network=14 --data_path={{inputs}}/empty", "empty has no folder train"),
    "script: unknown network": (f"{CASE} --network=vgg", "MODEL_SELECTION 'vgg' is not known"),
    "script: no accelerator, or too few": (f"{CASE} --network=14 --devices=99999 --device=auto", "device(s) asked for"),
    "script: key of its own": (f"{CASE} --network=14 SAVE_PATH=x", "SAVE_PATH is set by the script itself"),
    "script: nothing to evaluate": (f"{CASE.replace('full', 'eval')}", "--pth_path is missing"),
    "script: supernet to evaluate": (f"{CASE.replace('full', 'eval')} --network=supernet", "a supernet is not tested"),
    "script: weights to train from": (f"{CASE} --pth_path=x", "--pth_path is for train_eval_*.sh"),
    "script: epochs of an evaluation": (f"{CASE.replace('full', 'eval')} --epochs=2", "--epochs is for training"),
    # tools
    "tool: unknown selection": ("-m tools.cost --selection 15", "MODEL_SELECTION 15 is not known"),
    "tool: empty window": ("-m tools.count --space fashion --maximum 1", "feasible costs go from"),
    "tool: no number": ("-m tools.sample --space fashion --maximum many", "'many' million MACs is not a number"),
    "tool: unfinished run": ("-m tools.report --search {inputs}/empty", "pick.json is not there"),
    "tool: missing archive": ("-m tools.prepare_data cifar10 {inputs}/nowhere --out {inputs}/out", "does not exist"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_gets_one_message_and_leaves_nothing_behind(scripts: WarmScripts, inputs: Path, name: str) -> None:
    command, *words = CASES[name]
    before = snapshot(inputs)
    script, _, arguments = command.partition(".py ")
    run_folder = ".py SAVE_PATH={inputs}/run " if arguments else ""  # of two SAVE_PATH the later one counts
    ended = scripts.run(f"{script}{run_folder}{arguments}".format(inputs=inputs))
    assert ended.status == 1, ended.stderr
    message = ended.stderr[ended.stderr.index("error: ") :]
    assert all(word in message for word in words), ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) <= 6, ended.stderr
    assert snapshot(inputs) == before


def snapshot(folder: Path) -> dict[Path, int]:
    """All files and folders below, with the time of their last change."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize(
    "command", ["tools.cost --resolution 3", "tools.count --space fashion", "tools.prepare_data x"]
)
def test_wrong_arguments_of_a_tool_show_its_usage(scripts: WarmScripts, command: str) -> None:
    ended = scripts.run(f"-m {command}")
    assert ended.status == 2
    assert ended.stderr.startswith("usage: ")
    assert "error: " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_odd_images_and_names_are_read(scripts: WarmScripts, inputs: Path, tmp_path: Path) -> None:
    ended = scripts.run(f"{FOLDER}/odd DATA.UNREADABLE_LIMIT=0 SAVE_PATH={tmp_path}/run".format(inputs=inputs))
    assert ended.status == 0, ended.stderr
    assert "unreadable" not in ended.stderr
    assert (tmp_path / "run/pick.json").is_file()


@pytest.mark.device
def test_more_processes_than_devices(scripts: WarmScripts, tmp_path: Path) -> None:
    if not torch.accelerator.is_available():
        pytest.skip("there is no accelerator")
    count = torch.accelerator.device_count()
    world = dict.fromkeys(("RANK", "LOCAL_RANK"), str(count)) | {"WORLD_SIZE": str(count + 1)}
    ended = scripts.run(f"{SEARCH} SAVE_PATH={tmp_path}/run", **world)
    assert ended.status == 1
    assert f"process {count} (counted from 0) of this machine has no device" in ended.stderr
    assert not (tmp_path / "run").exists()
