"""Builds and compiles each distinct piece of a model once, for whoever measures, packs or counts them."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from latency.roofline import work_of
from latency.study import Kind, RowKey, key_of
from profiles.profile import Segment
from profiles.walk import rows_of, thinned, unthinned
from pruner.algebra.modules import folded_on
from pruner.choices.chain import Chain
from pruner.choices.choice import DROP, KEEP, THIN
from pruner.choices.plan import Plan
from pruner.network.surgery import OpenNetwork

Compile = Callable[[nn.Module, Tensor], Any]
"""Makes a fragment of a module, given an example (B, ...) of its input."""


VANISHING: Final = frozenset({DROP})
THINNING: Final = frozenset({THIN})


class Pieces:
    """The pieces of one model, each compiled once; of choices on request those that are named in `extra_choices`."""

    def __init__(
        self,
        model: nn.Module,
        compile_piece: Compile,
        batch_size: int,
        extra_choices: Collection[str] = (),
        input_size: Sequence[int] | None = None,
    ) -> None:
        self._compile = compile_piece
        self._opened = OpenNetwork(model, extra_choices, input_size).eval()
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
        before: tuple[RowKey, ...] | None = None  # of the block right before, where there is one
        flowing = self.images
        rows = rows_of(self.segments, plan, VANISHING, THINNING)
        for piece, (_, row) in zip(self._opened.pieces(plan), rows, strict=True):
            row_keys: tuple[RowKey, ...] = ((piece.signature, row),)
            if key_of(row_keys) not in self._modules:
                self._modules[key_of(row_keys)] = piece.build()
            if before and piece.is_block and self._joins(before, row_keys):
                row_keys = before + row_keys
                flowing = self._examples[keys.pop()]
            self._enter(row_keys, flowing)
            keys.append(key_of(row_keys))
            before = row_keys if piece.is_block else None
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

    def _enter(self, row_keys: tuple[RowKey, ...], example: Tensor) -> None:
        key = key_of(row_keys)
        if key not in self._fragments:
            work, self._results[key] = work_of(self._modules[key], example)
            self.kinds[key] = Kind(row_keys, work)
            self._examples[key] = example
            self._fragments[key] = self._compile(self._modules[key], example)

    def _joins(self, before: tuple[RowKey, ...], after: tuple[RowKey, ...]) -> bool:
        """Whether both become one layer, which then has a module of its own."""
        pair = key_of(before), key_of(after)
        if pair not in self._joined:
            both = folded_on(self._modules[pair[0]], self._modules[pair[1]])
            self._joined[pair] = both is not None
            if both is not None:
                self._modules[key_of(before + after)] = both
        return self._joined[pair]


def places_of(chain: Chain, segments: Sequence[Segment]) -> Counter[RowKey]:
    """Every row that the chain's table has, with how many places could be it: whatever something is left of, and what
    can stand behind a block that thins the tokens as that too. What stands outside the blocks comes first."""
    choices = {block.name: block.choices for block in chain.blocks}
    found: list[tuple[bool, bool, RowKey]] = []
    is_behind = False
    for segment in segments:
        left = [choice for choice in choices.get(segment.name, (KEEP,)) if choice not in VANISHING]
        found += [(False, segment.is_block, (segment.signature, choice)) for choice in left]
        if is_behind:
            again = [thinned(choice) for choice in left if choice not in THINNING]
            found += [(True, segment.is_block, (segment.signature, row)) for row in again]
        is_behind = is_behind or not THINNING.isdisjoint(left)
    return Counter(what for *_, what in sorted(found, key=lambda one: one[:2]))


def plan_with(chain: Chain, what: RowKey) -> Plan:
    """A plan whose network runs through a row, which is not of the uncut network's."""
    signature, row = what
    names, choice, cuts = [block.name for block in chain.blocks], unthinned(row), {}
    if choice != row:
        cuts[chain.thinning[0]] = THIN
        names = names[names.index(chain.thinning[0]) + 1 :]
    places = [block.name for block in chain.blocks if block.signature == signature and block.name in names]
    return chain.plan(cuts | ({places[0]: choice} if places else {}))


def all_choices(chain: Chain, like: Iterable[Plan] = ()) -> list[Plan]:
    """Few plans that between them make of every block all that it offers, behind one that thins the tokens and where
    none does; and where some do, of the plans `like` that, too."""
    ways = {block.name: [choice for choice in block.choices if choice not in THINNING] for block in chain.blocks}
    plans = [
        chain.plan({name: choices[index] if index < len(choices) else KEEP for name, choices in ways.items()})
        for index in range(max(map(len, ways.values())))
    ]
    if not chain.thinning:
        return plans
    whole = [*plans, *(_without_thinning(plan) for plan in like)]
    behind = [chain.plan({**plan.choices, chain.thinning[0]: THIN}) for plan in whole]
    return [*whole, *behind, *(chain.plan({name: THIN}) for name in chain.thinning)]


def _without_thinning(plan: Plan) -> Plan:
    return Plan(plan.model, {block: choice for block, choice in plan.choices.items() if choice not in THINNING})
