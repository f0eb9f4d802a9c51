"""How the gates of a plan's blocks fall from 1 to 0 during the training."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pruner.choices.chain import Chain
from pruner.choices.plan import Plan
from pruner.errors import SettingsError

Curve = Callable[[float, int, int], float]
"""(share of the closing that is over, in [0, 1]; a block's place in the order; how many blocks there are) -> lambda."""

CURVES: Final[dict[str, Curve]] = {}


def curve(name: str) -> Callable[[Curve], Curve]:
    """Registers the decorated function as a curve of this name.

    Raises:
        ValueError: when there is a curve of this name already.
    """

    def register(function: Curve) -> Curve:
        if name in CURVES:
            raise ValueError(f"there is a curve {name!r} already")
        CURVES[name] = function
        return function

    return register


@curve("linear")
def linear(over: float, _place: int, _count: int) -> float:
    """All blocks together, in a straight line."""
    return 1 - over


@curve("cosine")
def cosine(over: float, _place: int, _count: int) -> float:
    """All blocks together, slowly at both ends."""
    return 0.5 * (1 + math.cos(math.pi * over))


@curve("blocks")
def blocks(over: float, place: int, count: int) -> float:
    """One block after another, each in a straight line over its share of the time."""
    return min(1.0, max(0.0, 1 - (over * count - place)))


@dataclass(frozen=True)
class Schedule:
    """The lambdas of all cut blocks over a training: 1 at its first step, 0 once `closing_share` of it is over.

    The rest of the training runs at lambda 0, as the network will be merged.

    Attributes:
        order: The names of the cut blocks, in the order that they close in where they close one after another.
        curve: The name of the curve, one of `CURVES`.
        closing_share: The share of the training after which all gates are closed, in (0, 1].

    Example:
        >>> from pruner.training.schedules import Schedule
        >>> schedule = Schedule(("blocks.3.mlp", "blocks.1.attn"), curve="blocks", closing_share=0.5)
        >>> schedule.lams(0.25)
        {'blocks.3.mlp': 0.0, 'blocks.1.attn': 1.0}
        >>> schedule.lams(0.5)
        {'blocks.3.mlp': 0.0, 'blocks.1.attn': 0.0}
    """

    order: tuple[str, ...]
    curve: str = "linear"
    closing_share: float = 0.3

    def __post_init__(self) -> None:
        """Raises `SettingsError` for a curve that is not known, or a share outside (0, 1]."""
        if self.curve not in CURVES:
            raise SettingsError(f"no lambda schedule is called {self.curve!r}; there are: {', '.join(CURVES)}")
        if not 0 < self.closing_share <= 1:
            raise SettingsError(f"gates close within a share of the training in (0, 1], not {self.closing_share}")

    def lams(self, share: float) -> dict[str, float]:
        """Returns block -> lambda, when `share` of the training, in [0, 1], is over."""
        over = min(1.0, share / self.closing_share)
        if over == 1:
            return dict.fromkeys(self.order, 0.0)
        count = len(self.order)
        return {name: CURVES[self.curve](over, place, count) for place, name in enumerate(self.order)}


def from_the_end(chain: Chain, plan: Plan) -> tuple[str, ...]:
    """Returns the cut blocks of a plan, the last one of the network first."""
    return tuple(block.name for block in reversed(chain.blocks) if block.name in plan.choices)


def least_harm_first(plan: Plan, scores: Mapping[str, float]) -> tuple[str, ...]:
    """Returns the cut blocks of a plan, in the order of how well the cut of each alone scores, the best first.

    Args:
        plan: The plan.
        scores: Block -> the score of the plan that makes this block's cut alone; higher is better. Ties go by name.
    """
    return tuple(sorted(plan.choices, key=lambda name: (-scores[name], name)))


def single_cuts(plan: Plan) -> Sequence[Plan]:
    """Returns the plans that make only one of a plan's cuts each, in the order of its choices."""
    return [Plan(plan.model, {name: choice}) for name, choice in plan.choices.items()]
