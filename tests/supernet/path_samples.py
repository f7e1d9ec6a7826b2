"""Architectures, networks and batches that several tests of the supernet share."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from configs.schema import Train
from runtime.optimization import build_optimizer
from supernet.architecture import Architecture
from supernet.catalog import build_space
from supernet.networks.path_supernet import PathSupernet
from supernet.networks.plain import MBConvNetwork
from supernet.spaces.mbconv import MBConvSpace

SPACES = ["cream", "spnas", "nasbench_macro", "fashion"]
ENCODINGS = ["separate", "superkernel"]
SIZE, CLASSES = 16, 5


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@cache
def small_space(name: str) -> MBConvSpace:
    """A space for small images; where depth is free, at most three blocks a stage (the others are alike)."""
    space = build_space(name).adapted(channels=3, classes=CLASSES, resolution=SIZE)
    stages = tuple(
        stage if isinstance(stage.depth, int) else stage.model_copy(update={"depth": (1, min(3, stage.depth[1]))})
        for stage in space.description.stages
    )
    return MBConvSpace(space.description.model_copy(update={"stages": stages}))


def paths(name: str, count: int, seed: int = 0) -> list[Architecture]:
    random = generator(seed)
    return [small_space(name).sample(random) for _ in range(count)]


@torch.no_grad()
def shared_supernet(name: str, encoding: str) -> PathSupernet:
    """One supernet for all tests, each time with the same random weights and statistics."""
    supernet, tensors = _supernet(name, encoding)
    for tensor, value in zip([*supernet.parameters(), *supernet.buffers()], tensors):
        tensor.copy_(value)
        tensor.grad = None
    return supernet


@cache
def _supernet(name: str, encoding: str) -> tuple[PathSupernet, list[Tensor]]:
    supernet = small_space(name).build_supernet(encoding, generator(1))
    randomize(supernet)
    return supernet, [tensor.detach().clone() for tensor in [*supernet.parameters(), *supernet.buffers()]]


@torch.no_grad()
def randomize(network: nn.Module) -> None:
    """Give biases, batch norm and its statistics values that a mistake would show in."""
    random = generator(2)
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        if tensor.is_floating_point() and tensor.ndim == 1:
            smallest = 1.0 if name.endswith("running_var") else 0.1
            tensor.copy_(smallest + 0.5 * torch.rand(tensor.shape, generator=random))


def batch(seed: int = 0, images: int = 4) -> tuple[Tensor, Tensor]:
    random = generator(seed)
    labels = torch.randint(CLASSES, (images,), generator=random)
    return torch.randn(images, 3, SIZE, SIZE, generator=random), labels


def train_steps(network: nn.Module, path: Architecture | None, steps: int, **keys: object) -> torch.optim.Optimizer:
    """Train a supernet on one path, or a plain network (path None); keys are those of TRAIN."""
    optimizer = build_optimizer(Train(**{"LR": 0.01, "WEIGHT_DECAY": 0.01, **keys}), list(network.parameters()))
    for step in range(steps):
        step_once(network, path, optimizer, step)
    return optimizer


def step_once(network: nn.Module, path: Architecture | None, optimizer: torch.optim.Optimizer, seed: int) -> None:
    images, labels = batch(seed)
    images = images.to(next(network.parameters()).dtype)
    logits = network.train()(*((images,) if path is None else (images, path)))
    optimizer.zero_grad(set_to_none=True)
    functional.cross_entropy(logits, labels).backward()
    optimizer.step()


def meta_network(space: MBConvSpace, architecture: Architecture) -> MBConvNetwork:
    """The plain network without memory or arithmetic: shapes only."""
    with torch.device("meta"):
        return MBConvNetwork(space, architecture)


def count_by_hooks(network: nn.Module, images: Tensor) -> tuple[int, int]:
    """MACs of one image, seen by forward hooks on every convolution and linear layer, and trainable parameters."""
    macs = 0

    def count(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal macs
        outputs = output.numel() // len(output)
        macs += outputs * (module.weight.numel() // module.weight.shape[0])

    handles = [
        module.register_forward_hook(count) for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    network.eval()(images)
    for handle in handles:
        handle.remove()
    return macs, sum(parameter.numel() for parameter in network.parameters())
