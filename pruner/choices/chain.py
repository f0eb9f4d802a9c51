"""A network as a chain of blocks that may be cut, between a stem and a head."""

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

    Attributes:
        name: The module path, such as `blocks.3.mlp`.
        kind: The family and the kind of block, such as `vit.ffn`.
        signature: Kind, shapes and activation. Blocks of equal signature compute the same function of their weights,
            so they cost the same: it is their key into a latency table.
        choices: What the block offers, from what keeps most of it to what keeps least; the first is always `keep`.
        on_request: Choices that a plan may ask for too, but that no search proposes.
        requested: Those of `choices` that were on request before.
        refused: (choice, reason) for the choices of the family that this block cannot offer.

    Example:
        >>> from pruner.choices.chain import Block
        >>> choices = ("keep", "merge", "drop")
        >>> block = Block("blocks.3.mlp", "vit.ffn", "linear 24>96>24", choices, on_request=("narrow-50",))
        >>> block.offering(["narrow-50"]).choices
        ('keep', 'narrow-50', 'merge', 'drop')
    """

    name: str
    kind: str
    signature: str
    choices: tuple[str, ...]
    on_request: tuple[str, ...] = field(default=(), repr=False)
    requested: tuple[str, ...] = field(default=(), repr=False)
    refused: tuple[tuple[str, str], ...] = field(default=(), repr=False, compare=False)

    def offering(self, extra_choices: Collection[str]) -> "Block":
        """Returns the block with those of `extra_choices` that are on request among its choices.

        Choices stay ordered from what keeps most of a block to what keeps least: narrower blocks come directly behind
        `keep`, the others before `drop`. Names that are not on request here are ignored.
        """
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
        """Returns the block with those of `choices` that were requested on request again."""
        back = tuple(choice for choice in self.requested if choice in choices)
        return dataclasses.replace(
            self,
            choices=tuple(choice for choice in self.choices if choice not in back),
            on_request=self.on_request + back,
            requested=tuple(choice for choice in self.requested if choice not in back),
        )


@dataclass(frozen=True)
class Chain:
    """The ordered blocks of one model.

    Attributes:
        model: The name of the architecture.
        family: The name of the family that recognised the model.
        input_size: (channels, height, width) of the images.
        blocks: The blocks, in the order in which they run.
        before_head: A digest of all that the network computes up to its last block.
        head: A digest of what it computes behind the last block.
        left_alone: (module path, reason) for the modules in which no block was looked for, or found, for that reason.

    Example:
        >>> from pruner.choices.chain import Block, Chain
        >>> blocks = tuple(Block(f"blocks.{i}.mlp", "vit.ffn", "ffn", ("keep", "merge", "drop")) for i in range(3))
        >>> chain = Chain("deit", "vit", (3, 32, 32), blocks)
        >>> chain.num_plans
        27
        >>> plan = chain.plan({"blocks.1.mlp": "merge"})
        >>> chain.counts(plan)
        {'keep': 2, 'merge': 1}
    """

    model: str
    family: str
    input_size: tuple[int, int, int]
    blocks: tuple[Block, ...]
    before_head: str = ""
    head: str = ""
    left_alone: tuple[tuple[str, str], ...] = field(default=(), repr=False, compare=False)

    @property
    def num_plans(self) -> int:
        """How many plans the choices of the blocks allow, those on request left aside."""
        return math.prod(len(block.choices) for block in self.blocks)

    @property
    def fingerprint(self) -> str:
        """The digest of all that the network computes up to its last block, a hyphen, and the digest of its head.

        Measurements of one network are used for no network of another fingerprint. Where two differ behind the hyphen
        alone, the networks differ in their heads alone. Requested choices do not change the fingerprint.
        """
        usual = self.taking_back({choice for block in self.blocks for choice in block.requested})
        text = repr((self.family, self.input_size, usual.blocks, self.before_head))
        return f"{hashlib.sha256(text.encode()).hexdigest()[:16]}-{self.head}"

    def taking_back(self, choices: Collection[str]) -> "Chain":
        """Returns the chain with those of `choices` that were requested of its blocks on request again."""
        return dataclasses.replace(self, blocks=tuple(block.taking_back(choices) for block in self.blocks))

    def plan(self, choices: dict[str, str]) -> Plan:
        """Returns the plan with these choices (block -> choice).

        Raises:
            PlanError: when the plan does not fit the chain; see `check`.
        """
        plan = Plan(model=self.model, choices=choices)
        self.check(plan)
        return plan

    def check(self, plan: Plan) -> None:
        """Checks that `plan` fits the chain.

        Raises:
            PlanError: when the plan is for another model, names a block that the network does not have, or asks for a
                choice that a block neither offers nor has on request.
        """
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
        """Returns what `plan` amounts to: only the first block that is to thin the tokens does, later ones are kept."""
        told = [block.name for block in self.blocks if plan.choice_of(block.name) == THIN]
        if len(told) < 2:
            return plan
        return Plan(plan.model, {name: choice for name, choice in plan.choices.items() if name not in told[1:]})

    @property
    def thinning(self) -> tuple[str, ...]:
        """The blocks that offer to thin the tokens, in order."""
        return tuple(block.name for block in self.blocks if THIN in block.choices)

    def random_plan(self, share: float, random: Random) -> Plan:
        """Returns a plan that cuts each block with probability `share`, by one of its choices drawn evenly.

        Tokens are thinned with the same probability, at a block drawn evenly. Were thinning drawn block by block, it
        would mostly come near the front, because only the first block that thins counts.

        Args:
            share: The probability, from 0 to 1.
            random: Where the draws come from.
        """
        choices = {}
        for block in self.blocks:
            cuts = [choice for choice in block.choices[1:] if choice != THIN]
            if cuts and random.random() < share:
                choices[block.name] = random.choice(cuts)
        if self.thinning and random.random() < share:
            choices[random.choice(self.thinning)] = THIN
        return self.plan(choices)

    def counts(self, plan: Plan) -> dict[str, int]:
        """Returns how many blocks the plan gives to each choice, `keep` first."""
        counted, normalised = {KEEP: 0}, self.normalised(plan)
        for block in self.blocks:
            choice = normalised.choice_of(block.name)
            counted[choice] = counted.get(choice, 0) + 1
        return counted
