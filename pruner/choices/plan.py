"""The one noun that travels through every stage: which blocks of a network become what."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from pruner.choices.choice import KEEP
from pruner.errors import PlanError

MergeInit = Literal["auto", "fitted", "folded"]
"""What the training of merged blocks starts from: their own weights, or a layer that is fitted to them."""

PLAN_ENTRY: Final = "depthfinder.plan"
"""Under this name an exported file carries the plan that it was made by."""

_SCHEMA: Final = "depthfinder.plan/1"


@dataclass(frozen=True)
class Plan:
    """Block name -> choice for every block of `model` that is not kept.

    Plans are values: two plans that do the same are equal, hash alike and print the same JSON, in whatever order
    their choices were given and whether or not they spell out `keep`.
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
        """The choice for one block: `keep` for every block the plan does not name."""
        return self.choices.get(block, KEEP)

    @property
    def text(self) -> str:
        """'blocks.1 merge, blocks.3 drop', for messages."""
        return ", ".join(f"{block} {choice}" for block, choice in self.choices.items()) or "nothing cut"

    def to_json(self) -> str:
        record = {"schema": _SCHEMA, "model": self.model, "choices": dict(self.choices)}
        return json.dumps(record, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """Raises `PlanError` when `text` is no plan, or one of a schema this version does not know."""
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
