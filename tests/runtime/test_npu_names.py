"""torch_npu's names that the project uses exist in the sources of the version that requirements-npu.txt pins.

The sources are those of an installed torch_npu, or of the wheel that ONEPATH_TORCH_NPU_WHEEL names; nothing of them is
run, which needs CANN. `pip download --no-deps --dest FOLDER torch-npu==VERSION` gets the wheel.
"""

from __future__ import annotations

import ast
import os
import re
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

from runtime import device as devices
from runtime.npu import OverflowRegister, configure_npu, find_overflow_register

ROOT = Path(__file__).parents[2]
ROOMS = ("configs", "runtime", "data", "supernet", "nasbench", "search", "retrain", "tools")
FUNCTIONS = {"set_compile_mode(jit_compile)", "device_count()", "set_device(1)"}
OVERFLOW = {f"utils.{name}()" for name in ("is_support_inf_nan", "get_npu_overflow_flag", "clear_npu_overflow_flag")}
SETTINGS = {"config.allow_internal_format=", "conv.allow_hf32=", "matmul.allow_hf32="}
BY_HAND = {"get_device_name(1)"}  # runtime/environment.py, of any device


class Recorder:
    """Stands for a module; writes down each name that is called or set."""

    seen: set[str]
    path: str

    def __init__(self, seen: set[str], path: str = "") -> None:
        vars(self).update(seen=seen, path=path)

    def __getattr__(self, name: str) -> Any:
        return Recorder(self.seen, f"{self.path}.{name}".lstrip("."))

    def __setattr__(self, name: str, value: Any) -> None:
        self.seen.add(f"{self.path}.{name}=")

    def __call__(self, *args: Any, **options: Any) -> int:
        self.seen.add(f"{self.path}({','.join(options) or len(args) or ''})")
        return 0

    type = "npu"


def test_these_are_the_names_that_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[str] = set()
    npu: Any = Recorder(seen)
    monkeypatch.setattr(torch, "npu", npu, raising=False)
    monkeypatch.setattr(torch, "get_device_module", lambda device: npu)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: npu)
    with pytest.raises(devices.DeviceError, match="it has 0 npu device"):
        devices.select_device("npu")
    npu.set_device(0)
    configure_npu()
    register = find_overflow_register(npu, lambda flag: flag)
    assert isinstance(register, OverflowRegister)
    register.clear()
    register._device = torch.device("cpu")
    register.found()
    assert seen == FUNCTIONS | OVERFLOW | SETTINGS


def test_no_other_module_and_no_script_names_torch_npu() -> None:
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")] + list(ROOT.glob("*.py"))
    naming = {path.relative_to(ROOT).as_posix() for path in files if re.search(r"torch[._]npu\b", path.read_text())}
    assert naming == {"runtime/npu.py", "runtime/environment.py"}  # the second lists it among the packages' versions
    versions = ast.parse((ROOT / "runtime/environment.py").read_text())
    assert [node.value for node in ast.walk(versions) if isinstance(node, ast.Constant)].count("torch_npu") == 1


@pytest.fixture(scope="module")
def sources() -> dict[str, ast.Module]:
    """Modules of torch_npu by their path in the package."""
    wheel = os.environ.get("ONEPATH_TORCH_NPU_WHEEL", "")
    if wheel:
        with zipfile.ZipFile(wheel) as archive:
            return {name: ast.parse(archive.read(name)) for name in archive.namelist() if _is_wanted(name)}
    try:
        files = metadata.files("torch-npu") or []
    except metadata.PackageNotFoundError:
        pytest.skip("torch_npu is not installed; set ONEPATH_TORCH_NPU_WHEEL to the wheel of requirements-npu.txt")
    return {str(file): ast.parse(file.read_text()) for file in files if _is_wanted(str(file))}


def _is_wanted(name: str) -> bool:
    return bool(re.fullmatch(r"torch_npu/(npu/\w+|_init/registry/distributed|version)\.py", name))


def test_functions_take_these_arguments(sources: dict[str, ast.Module]) -> None:
    for used in FUNCTIONS | OVERFLOW | BY_HAND:
        name, arguments = used.rstrip(")").split("(")
        module = "torch_npu/npu/utils.py" if name.startswith("utils.") else "torch_npu/npu/__init__.py"
        function = find(sources, module, name.removeprefix("utils."))
        assert isinstance(function, ast.FunctionDef), name
        parameters = [parameter.arg for parameter in function.args.args]
        required = len(parameters) - len(function.args.defaults)
        given = int(arguments) if arguments.isdigit() else len(arguments.split(",")) if arguments else 0
        assert required <= given <= len(parameters), name
        assert arguments.isdigit() or not arguments or set(arguments.split(",")) <= set(parameters), name


def test_settings_are_known_to_their_holders(sources: dict[str, ast.Module]) -> None:
    for used in SETTINGS:
        holder, setting = used.rstrip("=").split(".")
        made = find(sources, "torch_npu/npu/__init__.py", holder)
        assert isinstance(made, ast.Assign)
        kind = ast.unparse(made.value).removesuffix("()").removeprefix("npu_config.")
        holding = find(sources, "torch_npu/npu/npu_config.py", kind)
        assert isinstance(holding, ast.ClassDef)
        setter = next(node for node in holding.body if isinstance(node, ast.FunctionDef) and node.name == "__setattr__")
        assert f"name == {setting!r}" in ast.unparse(setter), used


def test_hccl_is_the_backend_of_the_npu(sources: dict[str, ast.Module]) -> None:
    text = ast.unparse(sources["torch_npu/_init/registry/distributed.py"])
    assert re.search(r"register_backend\('hccl',.*?devices=\['npu'\]\)", text)


def test_the_sources_are_those_of_the_pinned_version(sources: dict[str, ast.Module]) -> None:
    pinned = re.search(r"^torch-npu==(\S+)$", (ROOT / "requirements-npu.txt").read_text(), re.MULTILINE)
    torch_pin = re.search(r"^torch==(\S+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert pinned
    assert torch_pin
    assert pinned[1] == torch_pin[1]  # they pair by number
    assert f"'{pinned[1]}" in ast.unparse(sources["torch_npu/version.py"])


def find(sources: dict[str, ast.Module], module: str, name: str) -> ast.stmt | None:
    """What binds a name in a module, followed through relative imports."""
    for node in sources[module].body if module in sources else []:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node
        if isinstance(node, ast.Assign) and any(ast.unparse(target) == name for target in node.targets):
            return node
        if isinstance(node, ast.ImportFrom) and node.level == 1 and {alias.name for alias in node.names} & {name, "*"}:
            found = find(sources, f"torch_npu/npu/{node.module}.py", name)
            if found:
                return found
    return None
