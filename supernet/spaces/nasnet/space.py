"""The space `nasnet`: genotypes of two cells, what their networks cost, and the networks themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from configs.errors import SpaceError
from supernet.cost import Cost
from supernet.spaces.cells import CellSpace
from supernet.spaces.nasnet.costs import NasNetDescription, network_cost
from supernet.spaces.nasnet.genotype import (
    INPUTS,
    OPERATIONS,
    PAIRS,
    Cell,
    Edge,
    Genotype,
    GenotypeError,
    Pair,
    make_genotype,
    parse_genotype,
    unread_nodes,
)

if TYPE_CHECKING:
    from supernet.networks.nasnet import NasNetwork


class NasNetSpace(CellSpace):
    """All pairs of a normal and a reduction cell, each of which joins the nodes that no pair of it reads.

    A published genotype that joins others as well is a value like any other; it is not drawn, and its mutants join by
    the rule.
    """

    description: NasNetDescription
    description_class = NasNetDescription

    def parse(self, value: Any) -> Genotype:
        """A genotype from its text form, from `{"normal": …, "reduction": …}`, or from that as JSON.

        Raises:
            SpaceError: none of them, an unknown operation, or a pair that reads a node of a later one.
        """
        if isinstance(value, str) and value.lstrip().startswith("{"):
            try:
                value = json.loads(value)
            except ValueError as error:
                raise GenotypeError(f"the genotype is not valid JSON: {error}") from error
        if isinstance(value, str):
            return parse_genotype(value)
        if not isinstance(value, Mapping):
            raise GenotypeError(f"{value!r} is no genotype: write {{normal: …, reduction: …}}, or its text form")
        return make_genotype(value)

    def text(self, genotype: Genotype) -> str:
        """The text form that `parse` reads."""
        return str(genotype)

    def validate(self, genotype: Genotype) -> Genotype:
        """Return the genotype, checked anew.

        Raises:
            SpaceError: an architecture of another space, or cells that no network can be made of.
        """
        if not isinstance(genotype, Genotype):
            raise SpaceError(f"{genotype!r} is no genotype of space {self.name!r}")
        return make_genotype(genotype.to_list())

    @property
    def count(self) -> int:
        """Number of genotypes that may be drawn; exchanging a pair's edges makes another one."""
        cell = 1
        for pair in range(PAIRS):
            cell *= ((len(INPUTS) + pair) * len(OPERATIONS)) ** 2
        return cell**2

    def sample(self, generator: torch.Generator) -> Genotype:
        """One genotype, uniform over the whole space."""
        return Genotype(_sample_cell(generator), _sample_cell(generator))

    def mutate(self, genotype: Genotype, generator: torch.Generator) -> Genotype:
        """Another node or another operation for one edge, as in regularized evolution; never the parent's edge.

        Real et al. 2018, https://arxiv.org/abs/1802.01548, sec. 3.1.
        """
        cells, chosen = [genotype.normal, genotype.reduction], _draw(2, generator)
        cells[chosen] = _mutate_cell(cells[chosen], generator)
        return Genotype(*cells)

    def cost(self, genotype: Genotype, resolution: int | None = None) -> Cost:
        """Exact MACs for one image and parameters, without the auxiliary head."""
        space = self.at_resolution(resolution) if resolution else self
        return network_cost(space.description, self.validate(genotype))

    def build_network(self, genotype: Genotype, generator: torch.Generator | None = None) -> NasNetwork:
        """The network of a genotype, freshly initialised (from seed 0 without a generator)."""
        from supernet.blocks.layers import initialize
        from supernet.networks.nasnet import NasNetwork

        network = NasNetwork(self.description, self.validate(genotype))
        initialize(network, generator or torch.Generator().manual_seed(0))
        return network


def _sample_cell(generator: torch.Generator) -> Cell:
    pairs = tuple((_sample_edge(pair, generator), _sample_edge(pair, generator)) for pair in range(PAIRS))
    return Cell(pairs, unread_nodes(pairs))


def _sample_edge(pair: int, generator: torch.Generator) -> Edge:
    return Edge(_draw(len(INPUTS) + pair, generator), OPERATIONS[_draw(len(OPERATIONS), generator)])


def _mutate_cell(cell: Cell, generator: torch.Generator) -> Cell:
    number, side, of_node = (_draw(count, generator) for count in (PAIRS, 2, 2))
    edges = list(cell.pairs[number])
    node, operation = edges[side]
    if of_node:
        node = _draw_other(node, len(INPUTS) + number, generator)
    else:
        operation = OPERATIONS[_draw_other(OPERATIONS.index(operation), len(OPERATIONS), generator)]
    edges[side] = Edge(node, operation)
    pair: Pair = (edges[0], edges[1])
    pairs = (*cell.pairs[:number], pair, *cell.pairs[number + 1 :])
    return Cell(pairs, unread_nodes(pairs))


def _draw(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))


def _draw_other(present: int, count: int, generator: torch.Generator) -> int:
    """Uniform over all numbers below `count` but one."""
    return (present + 1 + _draw(count - 1, generator)) % count
