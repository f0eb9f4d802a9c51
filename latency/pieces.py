"""Builds and compiles each distinct piece of a model once, to be measured, packed or counted."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from latency.roofline import work_of
from latency.study import Kind, RowKey, key_of
from profiles.profile import Segment
from profiles.walk import rows_of, thinned, unthinned
from pruner.algebra.flow import Flow, Wire, connected
from pruner.algebra.modules import folded_on
from pruner.choices.chain import Chain
from pruner.choices.choice import DROP, KEEP, THIN
from pruner.choices.plan import Plan
from pruner.network.surgery import OpenNetwork

Compile = Callable[..., Any]
"""A function that makes a fragment of a module, given that and examples (B, ...) of its inputs."""


VANISHING: Final = frozenset({DROP})
"""The choices that leave nothing of a block to run."""
THINNING: Final = frozenset({THIN})
"""The choices that leave fewer tokens to everything behind the block."""


@dataclass(frozen=True)
class Route:
    """The pieces that a network runs through, in running order.

    Attributes:
        keys: The key of each piece.
        wires: How each is connected with the others.
    """

    keys: tuple[str, ...]
    wires: tuple[Wire, ...]


class Pieces:
    """The pieces of one model, each built and compiled once.

    Attributes:
        chain: The blocks of the model.
        images: (B, C, H, W), random images that the model runs on.
        kinds: Key -> the kind of piece, for those that were compiled.
    """

    def __init__(
        self,
        model: nn.Module,
        compile_piece: Compile,
        batch_size: int,
        extra_choices: Collection[str] = (),
        input_size: Sequence[int] | None = None,
    ) -> None:
        """Opens a copy of `model`; its pieces are compiled when they are first needed.

        Args:
            model: The network. It is not changed.
            compile_piece: Makes a fragment of a piece.
            batch_size: Images per run.
            extra_choices: Choices that blocks offer on request only, and that are to be offered too.
            input_size: Size of one image as (C, H, W), as for `describe`.
        """
        self._compile = compile_piece
        self._opened = OpenNetwork(model, extra_choices, input_size).eval()
        self.chain = self._opened.chain
        self.images = torch.rand(batch_size, *self.chain.input_size, generator=torch.Generator().manual_seed(0))
        self.kinds: dict[str, Kind] = {}
        self._modules: dict[str, nn.Module] = {}
        self._inputs: dict[str, tuple[Tensor, ...]] = {}
        self._results: dict[str, tuple[Tensor, ...]] = {}
        self._fragments: dict[str, Any] = {}
        self._joined: dict[tuple[str, str], bool] = {}

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The blocks, and what stands before, between and after them, in running order."""
        signatures = {block.name: block.signature for block in self.chain.blocks}
        names = [part.name for part in self._opened.parts()]
        return tuple(Segment(name, signatures.get(name, name), name in signatures) for name in names)

    def route(self, plan: Plan) -> Route:
        """Returns the pieces that the plan's merged network runs through.

        Merged layers in a row that become one layer are one piece. Pieces that are new are built and compiled.
        """
        keys: list[str] = []
        wires: list[Wire] = []
        before: tuple[RowKey, ...] | None = None  # of the block right before, where there is one
        flow = Flow.of(self.images)
        rows = rows_of(self.segments, plan, VANISHING, THINNING)
        for piece, (_, row) in zip(self._opened.pieces(plan), rows, strict=True):
            row_keys: tuple[RowKey, ...] = ((piece.signature, row),)
            inputs, wire = piece.wire.taken(flow), piece.wire
            if key_of(row_keys) not in self._modules:
                self._modules[key_of(row_keys)] = piece.build()
            if before and piece.is_block and wire.follows(wires[-1]) and self._joins(before, row_keys):
                row_keys = before + row_keys
                inputs, wire = self._inputs[keys.pop()], Wire(wires.pop().takes, wire.gives)
            key = self._enter(row_keys, inputs)
            keys.append(key)
            wires.append(wire)
            before = row_keys if piece.is_block else None
            flow = piece.wire.behind(flow, self._results[key])
        return Route(tuple(keys), tuple(connected(wires)))

    def network_keys(self, plan: Plan) -> tuple[str, ...]:
        """Returns the keys of the pieces that the plan's merged network runs through, in running order."""
        return self.route(plan).keys

    def fragment(self, key: str) -> Any:
        """Returns what the piece of that key was compiled to."""
        return self._fragments[key]

    def module(self, key: str) -> nn.Module:
        """Returns the module that the piece of that key was compiled from."""
        return self._modules[key]

    def inputs(self, key: str) -> tuple[Tensor, ...]:
        """Returns examples of what the piece of that key takes: one tensor (B, ...) for most pieces."""
        return self._inputs[key]

    def route_of_one(self, key: str) -> Route:
        """Returns the route through the piece of that key alone."""
        taken, given = len(self._inputs[key]), len(self._results[key])
        return Route((key,), (Wire(tuple(range(taken)), tuple(range(taken, taken + given))),))

    def weight_bytes(self, keys: Sequence[str]) -> int:
        """Returns the bytes of weights of a network of these pieces, in which every place has weights of its own."""
        return sum(parameter.nbytes for key in keys for parameter in self._modules[key].parameters())

    def _enter(self, row_keys: tuple[RowKey, ...], inputs: tuple[Tensor, ...]) -> str:
        """Compiles the piece of these rows if it is new, and returns its key."""
        key = key_of(row_keys)
        if key not in self._fragments:
            work, self._results[key] = work_of(self._modules[key], *inputs)
            self.kinds[key] = Kind(row_keys, work)
            self._inputs[key] = inputs
            self._fragments[key] = self._compile(self._modules[key], *inputs)
        return key

    def _joins(self, before: tuple[RowKey, ...], after: tuple[RowKey, ...]) -> bool:
        """Whether the two pieces become one layer; if so, stores the module of that layer."""
        pair = key_of(before), key_of(after)
        if pair not in self._joined:
            both = folded_on(self._modules[pair[0]], self._modules[pair[1]])
            self._joined[pair] = both is not None
            if both is not None:
                self._modules[key_of(before + after)] = both
        return self._joined[pair]


def places_of(chain: Chain, segments: Sequence[Segment]) -> Counter[RowKey]:
    """Counts, for every row of the chain's latency table, the places in the network that could be that row.

    A choice that leaves nothing of a block has no row. What can stand behind a block that thins the tokens has a second
    row for the thinned tokens. Rows of what stands outside the blocks come first.

    Args:
        chain: The blocks of the model.
        segments: The blocks, and what stands before, between and after them, in running order.

    Returns:
        (signature, choice) -> the number of places.
    """
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
    """Returns a plan whose network runs through the row `what`, with as few cuts as that takes."""
    signature, row = what
    names, choice, cuts = [block.name for block in chain.blocks], unthinned(row), {}
    if choice != row:
        cuts[chain.thinning[0]] = THIN
        names = names[names.index(chain.thinning[0]) + 1 :]
    places = [block.name for block in chain.blocks if block.signature == signature and block.name in names]
    return chain.plan(cuts | ({places[0]: choice} if places else {}))


def all_choices(chain: Chain, like: Iterable[Plan] = ()) -> list[Plan]:
    """Returns a few plans that together make every choice of every block.

    If the chain can thin its tokens, the plans are repeated behind a block that thins them, and so are those of `like`.

    Args:
        chain: The blocks of the model.
        like: Plans that are to be repeated with thinned tokens too.
    """
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
