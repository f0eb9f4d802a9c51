"""Which whole networks to measure, so that every choice of every kind of block stands in some of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from pruner.chain import Chain
from pruner.plan import DROP, KEEP, Plan

_SHARES_CUT: Final = (0.15, 0.3, 0.45, 0.6, 0.75, 0.9)
_MOST_DRAWS: Final = 400
_FEWEST_PLACES: Final = 3
_MOST_JUDGES: Final = 2  # one in two networks at the most


@dataclass(frozen=True)
class Designed:
    """The plans whose networks are fitted, the uncut one first, and those that judge the fit."""

    fitted: tuple[Plan, ...]
    held_out: tuple[Plan, ...]


def designed_plans(chain: Chain, fitted: int, held_out: int, seed: int) -> Designed:
    """As many different plans as asked for, or as a short chain has: keep-all, then plans that cut a growing share of
    the blocks at places drawn at random, each choice made of each kind of block in some of the fitted ones.

    A fit can tell two choices apart only where their numbers differ from network to network; random plans of several
    shares give every choice every number, at next to no correlation between choices.
    """
    random = Random(seed)
    plans = [chain.plan({})]
    for draw in range(_MOST_DRAWS):
        plan = chain.random_plan(_SHARES_CUT[draw % len(_SHARES_CUT)], random)
        if plan not in plans:
            plans.append(plan)
        if len(plans) == fitted + held_out:
            break
    judges = min(held_out, len(plans) // _MOST_JUDGES)
    fits, judging = plans[: len(plans) - judges], tuple(plans[len(plans) - judges :])
    return Designed(_covering(chain, fits, judging, random), judging)


def _covering(chain: Chain, plans: Sequence[Plan], taken: Sequence[Plan], random: Random) -> tuple[Plan, ...]:
    """The plans, changed where a choice of a kind of block stood too seldom in them; none becomes one that is taken."""
    covered = list(plans)
    places = Counter((block.signature, choice) for block in chain.blocks for choice in block.choices)
    for (signature, choice), count in places.items():
        if choice in (KEEP, DROP):
            continue
        offering = [block for block in chain.blocks if block.signature == signature]
        for _ in range(_FEWEST_PLACES):
            if _stands(chain, covered, signature, choice) >= min(_FEWEST_PLACES, count * (len(covered) - 1)):
                break
            where = random.randrange(1, len(covered)) if len(covered) > 1 else 0
            changed = chain.plan({**covered[where].choices, random.choice(offering).name: choice})
            if where and changed not in (*covered, *taken):
                covered[where] = changed
    return tuple(covered)


def _stands(chain: Chain, plans: Sequence[Plan], signature: str, choice: str) -> int:
    alike = [block.name for block in chain.blocks if block.signature == signature]
    return sum(plan.choice_of(name) == choice for plan in plans for name in alike)
