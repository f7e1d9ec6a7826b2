"""The official `models` of NAS-Bench-201: a cell's structure, and the network that a configuration describes.

Change `from models import get_cell_based_tiny_net, CellStructure` to `from nasbench.models import …`, and
`from config_utils import dict2config` likewise.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from configs.errors import ConfigError
from supernet.networks.nasbench201 import TinyNetwork
from supernet.spaces.nasbench201.cell import CellError
from supernet.spaces.nasbench201.costs import NasBench201Description
from supernet.spaces.nasbench201.text import Edge, Node, lists2str, str2lists, unique_text

NAME = "infer.tiny"


class PublishedTinyNetwork(TinyNetwork):
    """A cell's network with the official answer: images (B, 3, H, W) -> features (B, 4 C), logits (B, classes)."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        features = self.features(images)
        return features, self.classifier(features)


class CellStructure:
    """The official structure of a cell with any number of nodes: for each node but the input, its edges.

    Attributes:
        nodes: for each node its edges, (operation, source).
        node_num: nodes, the input counted.

    Raises:
        CellError: an edge is no such pair, or comes from a node that is not before it.
    """

    def __init__(self, genotype: Sequence[Sequence[Edge]]) -> None:
        self.nodes: list[Node] = [tuple((name, source) for name, source in node) for node in genotype]
        self.node_num = len(self.nodes) + 1
        for target, node in enumerate(self.nodes, 1):
            if not node or not all(0 <= source < target for _, source in node):
                raise CellError(f"{self.tostr()!r}: node {target} needs edges, and from nodes before it only")

    def tolist(self, remove_str: str | None) -> tuple[list[Node] | None, bool]:
        """The nodes with sorted edges, those of one operation left out; (None, False) where a node has none left."""
        kept = [
            tuple(edge for edge in sorted(node, key=lambda edge: (edge[1], edge[0])) if edge[0] != remove_str)
            for node in self.nodes
        ]
        return (kept, True) if all(kept) else (None, False)

    def node(self, index: int) -> Node:
        """The node at a position of `nodes`, from 1, as the official method.

        Raises:
            IndexError: there is none.
        """
        if index <= 0:
            raise IndexError(f"{index} is no place of a node: they go from 1 to {len(self.nodes) - 1}")
        return self.nodes[index]

    def tostr(self) -> str:
        """The architecture string."""
        return lists2str(self.nodes)

    def check_valid(self) -> bool:
        """Whether a path without `none` leads from the input to the output."""
        reached = [True]
        for node in self.nodes:
            reached.append(any(name != "none" and reached[source] for name, source in node))
        return reached[-1]

    def to_unique_str(self, consider_zero: bool | None = False) -> str:
        """A text that cells share which compute the same (`supernet.spaces.nasbench201.text.unique_text`)."""
        return unique_text(self.nodes, consider_zero)

    def check_valid_op(self, op_names: Sequence[str]) -> bool:
        """Whether all operations are among some."""
        return all(name in op_names for node in self.nodes for name, _ in node)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.node_num} nodes with {self.tostr()})"

    def __len__(self) -> int:
        return self.node_num

    def __getitem__(self, index: int) -> Node:
        return self.nodes[index]

    @staticmethod
    def str2structure(xstr: str | CellStructure) -> CellStructure:
        """The structure of an architecture string; a structure stays what it is.

        Raises:
            CellError: no architecture string.
        """
        return xstr if isinstance(xstr, CellStructure) else CellStructure(str2lists(xstr))

    @staticmethod
    def str2fullstructure(xstr: str, default_name: str = "none") -> CellStructure:
        """The same with sorted edges, and `default_name` from all nodes but the last before it that have no edge.

        Raises:
            CellError: no architecture string.
        """
        nodes = []
        for place, node in enumerate(str2lists(xstr)):
            given = {source for _, source in node}
            added = [(default_name, source) for source in range(place) if source not in given]
            nodes.append(sorted([*node, *added], key=lambda edge: (edge[1], edge[0])))
        return CellStructure(nodes)

    @staticmethod
    def gen_all(search_space: Sequence[str], num: int, return_ori: bool) -> list[Any]:
        """All structures of `num` nodes, in the official order (not the order of the benchmark's indices).

        Args:
            search_space: names of operations.
            num: nodes, the input counted.
            return_ori: lists of nodes instead of structures.

        Raises:
            ConfigError: fewer than two nodes.
        """
        if num < 2:
            raise ConfigError(f"a cell has at least two nodes, its input and its output; {num} is too few")
        nodes = [
            [tuple(zip(names, range(target))) for names in product(search_space, repeat=target)]
            for target in range(1, num)
        ]
        genotypes = [list(genotype) for genotype in product(*nodes)]
        return genotypes if return_ori else [CellStructure(genotype) for genotype in genotypes]


def dict2config(xdict: Mapping[str, Any], logger: Any) -> Any:
    """A named tuple of a mapping's values, told to `logger.log` where there is one; as the official function.

    Raises:
        ConfigError: no mapping, or a key is no name of an attribute.
    """
    try:
        content = namedtuple("Configure", list(xdict))(**xdict)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{xdict!r} cannot be a configuration: {error}") from error
    if hasattr(logger, "log"):
        logger.log(str(content))
    return content


def get_cell_based_tiny_net(config: Any) -> PublishedTinyNetwork:
    """The network of `api.get_net_config(…)` or `dict2config(…)`, freshly initialised by torch's global generator.

    Args:
        config: a mapping, or anything with the attributes name ('infer.tiny'), C, N, num_classes, and genotype (a
            `CellStructure`, or lists of edges) or arch_str.

    Raises:
        ConfigError: an attribute is missing, or the name is of another network.
        CellError: the cell has operations other than NAS-Bench-201's.
    """
    given = config.get if isinstance(config, Mapping) else partial(_attribute, config)
    if (name := given("name", NAME)) != NAME:
        raise ConfigError(f"networks of the configuration name {name!r} are not built here; {NAME!r} is")
    cell = given("genotype") or given("arch_str")
    sizes = {"stem_channels": given("C"), "num_cells": given("N"), "classes": given("num_classes")}
    if cell is None or None in sizes.values():
        raise ConfigError(f"{config!r} lacks what a network needs: C, N, num_classes, and arch_str or genotype")
    structure = CellStructure.str2structure(cell) if isinstance(cell, str | CellStructure) else CellStructure(cell)
    try:
        description = NasBench201Description.model_validate(sizes)
    except ValidationError as error:
        raise ConfigError(f"{config!r} describes no network: {error}") from error
    return PublishedTinyNetwork(description, structure.nodes)


def _attribute(config: Any, name: str, default: Any = None) -> Any:
    return getattr(config, name, default)
