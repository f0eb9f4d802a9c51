"""Opening, cutting and merging networks. Every function returns a new model and leaves its input alone."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pruner.chain import Chain
from pruner.families import family_of
from pruner.plan import KEEP, Plan
from pruner.site import Site


@dataclass(frozen=True)
class Piece:
    """One stretch of a network, from the stem through each block to the head; equal keys cost the same."""

    key: str
    module: nn.Module


class OpenNetwork(nn.Module):
    """A copy of a model in which a `Site` stands for every block; runs like the model until a site is told to cut."""

    def __init__(self, model: nn.Module) -> None:
        """Raises `UnknownModelError` when the model is of no known family."""
        super().__init__()
        family = family_of(model)
        self.network = copy.deepcopy(model)
        self._family = family
        self.sites: dict[str, Site] = {site.block.name: site for site in family.open(self.network)}
        name = getattr(model, "pretrained_cfg", {}).get("architecture", type(model).__name__)
        blocks = tuple(site.block for site in self.sites.values())
        self.chain = Chain(model=name, family=family.name, input_size=input_size(model), blocks=blocks)

    def select(self, plan: Plan, lam: float = 0.0) -> None:
        """Switches every site to what `plan` makes of it, with the gate of the cut ones at `lam`."""
        self.chain.check(plan)
        for name, site in self.sites.items():
            choice = plan.choice_of(name)
            site.select(choice, 1.0 if choice == KEEP else lam)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits

    def pieces(self, plan: Plan) -> list[Piece]:
        """The network that `plan` leads to, merged, as the pieces it runs through one after another."""
        self.select(plan)
        found = [Piece("stem", self._family.stem(self.network))]
        for site in self.sites.values():
            module = site.merged()
            if module is not None:
                found.append(Piece(f"{site.block.signature} -> {site.choice}", module))
        found.append(Piece("head", self._family.head(self.network)))
        return found


class Supernet(OpenNetwork):
    """The weight-sharing network: `select(plan)` makes it compute any plan's network over one set of weights."""


class Cut(OpenNetwork):
    """The network of one plan, unmerged and trainable: the baseline itself at lambda 1, mergeable at lambda 0."""

    def __init__(self, model: nn.Module, plan: Plan) -> None:
        super().__init__(model)
        self.plan = plan
        self.set_lambda(1.0)

    def set_lambda(self, lam: float) -> None:
        """Moves the gate of every block that the plan cuts. Raises `ValueError` outside [0, 1]."""
        if not 0 <= lam <= 1:
            raise ValueError(f"lambda runs from 1 to 0, not to {lam}")
        self.lam = lam
        self.select(self.plan, lam)


def input_size(model: nn.Module) -> tuple[int, int, int]:
    """(channels, height, width) of the images a timm model takes."""
    configuration: Any = getattr(model, "pretrained_cfg", {})
    channels, height, width = configuration.get("input_size", (3, 224, 224))
    embed: Any = getattr(model, "patch_embed", None)
    if embed is not None and embed.img_size is not None:
        height, width = embed.img_size
        channels = embed.proj.in_channels
    return channels, height, width


def describe(model: nn.Module) -> Chain:
    """The chain of blocks where `model` may be cut. Raises `UnknownModelError` when no family recognises it."""
    return OpenNetwork(model).chain


def supernet(model: nn.Module) -> Supernet:
    """The weight-sharing network of `model`, which is left alone."""
    return Supernet(model)


def apply(model: nn.Module, plan: Plan) -> Cut:
    """`model` cut by `plan`, at lambda 1. Raises `PlanError` when the plan does not fit."""
    return Cut(model, plan)


def merge(cut: Cut) -> nn.Module:
    """A new network without a class of ours in it that computes what `cut` computes in evaluation at lambda 0.

    Raises `ValueError` when the gate of `cut` is not at 0: a half-cut network has no merged form.
    """
    if cut.lam != 0:
        raise ValueError(f"only a network at lambda 0 can be merged; this one is at {cut.lam}")
    network = copy.deepcopy(cut.network)
    for name, site in cut.sites.items():
        module = site.merged()
        if module is None:
            _remove(network, name)
        else:
            network.set_submodule(name, copy.deepcopy(module))
    return network.eval()


def _remove(network: nn.Module, name: str) -> None:
    """Takes a submodule out of its Sequential, and the Sequential too when nothing is left in it."""
    path, _, leaf = name.rpartition(".")
    parent = network.get_submodule(path)
    delattr(parent, leaf)
    if not len(list(parent.children())) and path.rpartition(".")[0]:
        _remove(network, path)


@torch.no_grad()
def estimate_batch_norm(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Sets the running statistics of every BatchNorm to the plain mean over `batches` of images, in place."""
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    was_training, momenta = network.training, [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative mean in place of a moving one
        norm.train()
    for images in batches:
        network(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.train(was_training)
