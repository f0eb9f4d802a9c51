"""What a network is made of, seen by someone who wants to cut it: a chain of blocks between a stem and a head."""

import dataclasses
import hashlib
import math
from collections.abc import Collection
from dataclasses import dataclass, field
from random import Random

from pruner.choices.choice import DROP, KEEP, SHARES, THIN
from pruner.choices.plan import Plan
from pruner.errors import PlanError


@dataclass(frozen=True)
class Block:
    """One place where the network may be cut.

    `name` is the module path (`blocks.3.mlp`). Blocks of equal `signature` (kind, shapes, activation) compute the
    same function of their weights, so they cost the same: it is their key into a latency table. The first of
    `choices` is always `keep`. A plan may ask for what is `on_request` too, but no search proposes it; those of the
    choices that were `requested` were on request before. `refused` tells why the family's other choices cannot be had
    here: (choice, reason).
    """

    name: str
    kind: str
    signature: str
    choices: tuple[str, ...]
    on_request: tuple[str, ...] = field(default=(), repr=False)
    requested: tuple[str, ...] = field(default=(), repr=False)
    refused: tuple[tuple[str, str], ...] = field(default=(), repr=False, compare=False)

    def offering(self, extra_choices: Collection[str]) -> "Block":
        """The block with those of `extra_choices` among its choices that are on request. Choices are ordered from what
        keeps most of a block to what keeps least: a narrower block comes before what it merges to, the rest before
        `drop`."""
        moved = tuple(choice for choice in self.on_request if choice in extra_choices)
        narrower = tuple(choice for choice in moved if choice in SHARES)
        others = tuple(choice for choice in moved if choice not in SHARES)
        end = self.choices.index(DROP) if DROP in self.choices else len(self.choices)
        return dataclasses.replace(
            self,
            choices=self.choices[:1] + narrower + self.choices[1:end] + others + self.choices[end:],
            on_request=tuple(choice for choice in self.on_request if choice not in moved),
            requested=self.requested + moved,
        )

    def taking_back(self, choices: Collection[str]) -> "Block":
        """The block with those of its requested choices on request again."""
        back = tuple(choice for choice in self.requested if choice in choices)
        return dataclasses.replace(
            self,
            choices=tuple(choice for choice in self.choices if choice not in back),
            on_request=self.on_request + back,
            requested=tuple(choice for choice in self.requested if choice not in back),
        )


@dataclass(frozen=True)
class Chain:
    """The ordered blocks of one model; `input_size` is (channels, height, width).

    `before_head` and `head` are digests of all that the network computes, up to its last block and behind it.
    """

    model: str
    family: str
    input_size: tuple[int, int, int]
    blocks: tuple[Block, ...]
    before_head: str = ""
    head: str = ""

    @property
    def num_plans(self) -> int:
        return math.prod(len(block.choices) for block in self.blocks)

    @property
    def fingerprint(self) -> str:
        """A digest of all that the network computes but for its head, a hyphen, and one of the head: what was measured
        for one network is used for no other, and of two that differ in their heads alone it can be told. What was
        requested makes no other network."""
        usual = self.taking_back({choice for block in self.blocks for choice in block.requested})
        text = repr((self.family, self.input_size, usual.blocks, self.before_head))
        return f"{hashlib.sha256(text.encode()).hexdigest()[:16]}-{self.head}"

    def taking_back(self, choices: Collection[str]) -> "Chain":
        """The chain with those of its blocks' requested choices on request again."""
        return dataclasses.replace(self, blocks=tuple(block.taking_back(choices) for block in self.blocks))

    def plan(self, choices: dict[str, str]) -> Plan:
        """The plan with these choices. Raises `PlanError` when it does not fit the chain."""
        plan = Plan(model=self.model, choices=choices)
        self.check(plan)
        return plan

    def check(self, plan: Plan) -> None:
        """Raises `PlanError` when `plan` is another model's, or asks for what a block does not offer."""
        if plan.model != self.model:
            raise PlanError(f"this plan is for {plan.model}, the network is {self.model}")
        blocks = {block.name: block for block in self.blocks}
        for name, choice in plan.choices.items():
            if name not in blocks:
                raise PlanError(
                    f"{self.model} has no block {name!r}; it has {self.blocks[0].name} ... {self.blocks[-1].name}"
                )
            offered = blocks[name].choices + blocks[name].on_request
            if choice not in offered:
                refused = dict(blocks[name].refused)
                because = f": {refused[choice]}" if choice in refused else ""
                raise PlanError(f"block {name} offers {', '.join(offered)}, not {choice!r}{because}")

    def normalised(self, plan: Plan) -> Plan:
        """What a plan comes to: tokens are thinned once, by the first block that is told to, and a later one that is
        told to is kept."""
        told = [block.name for block in self.blocks if plan.choice_of(block.name) == THIN]
        if len(told) < 2:
            return plan
        return Plan(plan.model, {name: choice for name, choice in plan.choices.items() if name not in told[1:]})

    @property
    def thinning(self) -> tuple[str, ...]:
        """The blocks that offer to thin the tokens, in order."""
        return tuple(block.name for block in self.blocks if THIN in block.choices)

    def random_plan(self, share: float, random: Random) -> Plan:
        """A plan that cuts each block with probability `share`, in one of its ways drawn evenly. Tokens are thinned
        with the same probability, at a place drawn evenly: drawn block by block it would be near the front."""
        choices = {}
        for block in self.blocks:
            cuts = [choice for choice in block.choices[1:] if choice != THIN]
            if cuts and random.random() < share:
                choices[block.name] = random.choice(cuts)
        if self.thinning and random.random() < share:
            choices[random.choice(self.thinning)] = THIN
        return self.plan(choices)

    def counts(self, plan: Plan) -> dict[str, int]:
        """How many blocks the plan leaves to each choice, `keep` first."""
        counted, normalised = {KEEP: 0}, self.normalised(plan)
        for block in self.blocks:
            choice = normalised.choice_of(block.name)
            counted[choice] = counted.get(choice, 0) + 1
        return counted
