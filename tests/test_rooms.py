"""The rooms import downwards only, and a script reads as its algorithm."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LEVELS = [{"configs"}, {"runtime"}, {"data", "supernet"}, {"nasbench"}, {"search", "retrain"}, {"tools"}]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
SCRIPTS = ["train.py", "retrain.py", "test.py"]


def imported_modules(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            modules.add(node.module or "")
    return modules


def imported_rooms(path: Path) -> set[str]:
    scripts = {script.removesuffix(".py") for script in SCRIPTS}
    return {module.partition(".")[0] for module in imported_modules(path)} & {*LEVEL, *scripts}


def modules() -> list[Path]:
    return sorted(path for room in LEVEL for path in (ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_from_below(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    for other in imported_rooms(path) - {room}:
        assert LEVEL.get(other, len(LEVELS)) < LEVEL[room], f"{room} imports {other}"


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_short(script: str) -> None:
    assert len((ROOT / script).read_text(encoding="utf-8").splitlines()) <= 120


def test_the_npu_is_named_in_one_module_only() -> None:
    reaching = [path.relative_to(ROOT) for path in modules() if reaches_for_npu(path)]
    assert set(reaching) <= {Path("runtime/npu.py")}


def reaches_for_npu(path: Path) -> bool:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    attributes = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
    return "torch.npu" in attributes or any(module.startswith("torch_npu") for module in imported_modules(path))
