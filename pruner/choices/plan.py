"""The plan, which travels through every stage: the choice for each block of a network."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from pruner.choices.choice import KEEP
from pruner.errors import PlanError

MergeInit = Literal["auto", "fitted", "folded"]
"""What the training of merged blocks starts from: "folded" is the blocks' own weights, "fitted" a layer fitted to each
block; "auto" takes the fitted layer for blocks of images and the folded one for blocks of tokens."""

PLAN_ENTRY: Final = "depthfinder.plan"
"""The name under which an exported file carries the plan that it was made by."""

_SCHEMA: Final = "depthfinder.plan/1"


@dataclass(frozen=True)
class Plan:
    """The choice for every block of a network that is not kept.

    Plans are values: two plans that do the same are equal, hash alike and print the same JSON, in whatever order
    their choices were given and whether or not they spell out `keep`.

    Attributes:
        model: The name of the network's architecture, as its chain has it.
        choices: Block name -> choice, sorted by name, without blocks that are kept; read-only.

    Example:
        >>> from pruner.choices.plan import Plan
        >>> plan = Plan("deit_digits", {"blocks.3.mlp": "merge", "blocks.1.attn": "drop", "blocks.0.mlp": "keep"})
        >>> plan.text
        'blocks.1.attn drop, blocks.3.mlp merge'
        >>> plan.choice_of("blocks.0.mlp")
        'keep'
        >>> Plan.from_json(plan.to_json()) == plan
        True
    """

    model: str
    choices: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        cuts = {block: choice for block, choice in sorted(self.choices.items()) if choice != KEEP}
        object.__setattr__(self, "choices", MappingProxyType(cuts))

    def __hash__(self) -> int:
        return hash((self.model, tuple(self.choices.items())))

    def __deepcopy__(self, memo: object) -> "Plan":
        return self  # a value: nothing about it can change

    def choice_of(self, block: str) -> str:
        """Returns the choice for one block: `keep` for a block that the plan does not name."""
        return self.choices.get(block, KEEP)

    @property
    def text(self) -> str:
        """The plan in one line for messages, such as 'blocks.1 merge, blocks.3 drop'."""
        return ", ".join(f"{block} {choice}" for block, choice in self.choices.items()) or "nothing cut"

    def to_json(self) -> str:
        """Returns the plan as JSON, with its schema and a final newline."""
        record = {"schema": _SCHEMA, "model": self.model, "choices": dict(self.choices)}
        return json.dumps(record, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """Returns the plan that `to_json` wrote.

        Raises:
            PlanError: when `text` is no plan, or one of a schema that this version does not know.
        """
        try:
            record = json.loads(text)
        except json.JSONDecodeError as error:
            raise PlanError(f"this is not a plan: not JSON ({error})") from error
        if not isinstance(record, dict) or record.get("schema") != _SCHEMA:
            schema = record.get("schema") if isinstance(record, dict) else None
            raise PlanError(f"this is not a plan of schema {_SCHEMA}: its schema is {schema!r}")
        model, choices = record.get("model"), record.get("choices")
        if not isinstance(model, str) or not isinstance(choices, dict):
            raise PlanError("this plan lacks its model or its choices")
        if not all(isinstance(choice, str) for choice in choices.values()):
            raise PlanError("a plan's choices are names, such as 'merge' or 'drop'")
        return cls(model=model, choices=choices)
