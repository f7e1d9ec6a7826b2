"""The result of a search: `pick.json`, ranked architectures that retrain.py takes as INPUT_ARCH."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from configs.errors import ConfigError, SpaceError
from runtime.files import write_json_atomic
from supernet.architecture import named_resolution
from supernet.space import SharedSpace
from supernet.spaces.kinds import restore_space
from supernet.window_costed import SearchWindow
from supernet.window_latency import LatencyWindow
from supernet.window_resolutions import ResolutionsWindow


@dataclass(frozen=True)
class PickedArchitecture:
    """One ranked result: accuracy in percent on the search split with inherited weights, exact MACs and parameters."""

    architecture: Any  # a value of the space
    accuracy: float
    macs: int
    params: int


@dataclass(frozen=True)
class Pick:
    """Ranked architectures of one space, best first. The space travels along, so that the file stands alone."""

    space: SharedSpace
    architectures: tuple[PickedArchitecture, ...]

    def write(self, path: Path, window: SearchWindow, facts: Mapping[str, Any]) -> None:
        """Write pick.json; `facts` says how it came about (seed, strategy, picker, command, …)."""
        entries = [
            {**asdict(entry), **_describe(entry.architecture), "text": self.space.text(entry.architecture)}
            for entry in self.architectures
        ]
        write_json_atomic(
            path,
            {
                "space": self.space.name,
                "resolution": self.space.resolution,
                "window": _describe_window(window),
                **facts,
                "architectures": entries,
                "description": self.space.description.model_dump(mode="json"),
            },
        )

    @classmethod
    def read(cls, path: Path) -> Pick:
        """Inverse of `write`.

        Raises:
            ConfigError: the file is missing or no pick.json.
        """
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            space = restore_space(value["description"])
            return cls(space, tuple(_read_entry(space, entry) for entry in value["architectures"]))
        except FileNotFoundError:
            raise ConfigError(f"INPUT_ARCH names {path}, which is not there") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SpaceError) as error:
            raise ConfigError(f"INPUT_ARCH: {path} is no whole pick.json of train.py ({_reason(error)})") from error


def _describe(architecture: Any) -> dict[str, Any]:
    resolution = named_resolution(architecture)
    return {"architecture": architecture.to_list(), **({"resolution": resolution} if resolution else {})}


def _describe_window(window: SearchWindow) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    if isinstance(window, ResolutionsWindow):
        chosen = {"resolutions": list(window.resolutions)}
    elif isinstance(window, LatencyWindow):
        limit = float(window.latencies.format(window.limit))
        chosen = {"latency_maximum": limit, "latency_table": window.latencies.source}
    return {"minimum": window.minimum, "maximum": window.maximum, "count": window.count, **chosen}


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return f"its space description is wrong in {error.error_count()} places"
    if isinstance(error, TypeError | AttributeError):
        return "its values are of other types"
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)


def _read_entry(space: SharedSpace, entry: Mapping[str, Any]) -> PickedArchitecture:
    architecture = space.parse(entry["architecture"])
    if resolution := entry.get("resolution"):
        architecture = architecture.at(resolution)
    return PickedArchitecture(space.validate(architecture), entry["accuracy"], entry["macs"], entry["params"])
