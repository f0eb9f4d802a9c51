"""Builds and compiles each distinct piece of a model once, for whoever measures, packs or counts them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from latency.roofline import work_of
from latency.study import Kind, What, key_of
from profiles.profile import Segment
from pruner.chain import Chain
from pruner.modules import folded_on
from pruner.plan import KEEP, Plan
from pruner.surgery import OpenNetwork

Compile = Callable[[nn.Module, Tensor], Any]
"""Makes a fragment of a module, given an example (B, ...) of its input."""


class Pieces:
    """The pieces of one model, each compiled once."""

    def __init__(self, model: nn.Module, compile_piece: Compile, batch_size: int) -> None:
        self._compile = compile_piece
        self._opened = OpenNetwork(model).eval()
        self.chain = self._opened.chain
        self.images = torch.rand(batch_size, *self.chain.input_size, generator=torch.Generator().manual_seed(0))
        self.kinds: dict[str, Kind] = {}
        self._modules: dict[str, nn.Module] = {}
        self._examples: dict[str, Tensor] = {}
        self._results: dict[str, Tensor] = {}
        self._fragments: dict[str, Any] = {}
        self._joined: dict[tuple[str, str], bool] = {}

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The network in running order."""
        signatures = {block.name: block.signature for block in self.chain.blocks}
        return tuple(Segment(name, signatures.get(name, name), name in signatures) for name in self._opened.segments())

    def network_keys(self, plan: Plan) -> list[str]:
        """The kinds of piece that the plan's network runs through, as it is merged: layers in a row that become one are
        one piece. Builds and compiles those that are new."""
        keys: list[str] = []
        before: tuple[What, ...] | None = None  # of the block right before, where there is one
        flowing = self.images
        for piece in self._opened.pieces(plan):
            whats: tuple[What, ...] = ((piece.signature, piece.choice),)
            if key_of(whats) not in self._modules:
                self._modules[key_of(whats)] = piece.build()
            if before and piece.is_block and self._joins(before, whats):
                whats = before + whats
                flowing = self._examples[keys.pop()]
            self._enter(whats, flowing)
            keys.append(key_of(whats))
            before = whats if piece.is_block else None
            flowing = self._results[keys[-1]]
        return keys

    def fragment(self, key: str) -> Any:
        """What a kind of piece was compiled to."""
        return self._fragments[key]

    def module(self, key: str) -> nn.Module:
        """What a kind of piece was compiled from."""
        return self._modules[key]

    def example(self, key: str) -> Tensor:
        """An input of a kind of piece: (B, ...)."""
        return self._examples[key]

    def weight_bytes(self, keys: Sequence[str]) -> int:
        """Of the weights of a network, all of which are its own."""
        return sum(parameter.nbytes for key in keys for parameter in self._modules[key].parameters())

    def _enter(self, whats: tuple[What, ...], example: Tensor) -> None:
        key = key_of(whats)
        if key not in self._fragments:
            work, self._results[key] = work_of(self._modules[key], example)
            self.kinds[key] = Kind(whats, work)
            self._examples[key] = example
            self._fragments[key] = self._compile(self._modules[key], example)

    def _joins(self, before: tuple[What, ...], after: tuple[What, ...]) -> bool:
        """Whether both become one layer, which then has a module of its own."""
        pair = key_of(before), key_of(after)
        if pair not in self._joined:
            both = folded_on(self._modules[pair[0]], self._modules[pair[1]])
            self._joined[pair] = both is not None
            if both is not None:
                self._modules[key_of(before + after)] = both
        return self._joined[pair]


def all_choices(chain: Chain) -> list[Plan]:
    """The fewest plans that between them make of every block all that it offers."""
    most = max(len(block.choices) for block in chain.blocks)
    return [
        chain.plan({b.name: b.choices[index] if index < len(b.choices) else KEEP for b in chain.blocks})
        for index in range(most)
    ]
