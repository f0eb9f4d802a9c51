"""Spans: one layer in the place of several blocks in a row.

A plan says it by what it does: a block that is fitted, and right behind it blocks that are dropped. Nothing computes
there but the layer, so that it is fitted to what all of them compute together.
"""

from collections.abc import Mapping
from functools import partial
from itertools import takewhile
from typing import Final

from pruner.choices.choice import DROP, FITS, SHARES
from pruner.choices.plan import Plan
from pruner.choices.site import Site
from pruner.network.surgery import Cut, OpenNetwork

LONGEST: Final = 4
"""Blocks that one layer may stand in for."""

Followers = Mapping[str, tuple[str, ...]]
"""Block -> the blocks right behind it, in order, that its layer could stand in for too."""


def followers_of(network: OpenNetwork) -> Followers:
    """For every block that may be fitted: those of the next three that nothing stands before, that may be dropped, and
    that end as it ends, with the same activation or none."""
    segments = list(network.segments().values())
    found = {}
    for place, segment in enumerate(segments):
        if isinstance(segment, Site) and segment.may_be_fitted:
            behind = takewhile(partial(_belongs, segment), segments[place + 1 : place + LONGEST])
            found[segment.block.name] = tuple(site.block.name for site in behind if isinstance(site, Site))
    return found


def span_of(plan: Plan, block: str, followers: Followers) -> int:
    """How many blocks what was fitted for a block stands in for: a narrower block for itself alone; 0 for a block that
    nothing is fitted for."""
    choice = plan.choice_of(block)
    if choice not in FITS:
        return int(choice in SHARES)
    return 1 + sum(1 for _ in takewhile(lambda other: plan.choice_of(other) == DROP, followers[block]))


def stood_in_for(cut: Cut) -> set[str]:
    """The blocks of a plan whose work layers do: those that became one, and the dropped ones of their spans."""
    followers, found = followers_of(cut), set(cut.layers)
    for block in cut.layers:
        found.update(followers.get(block, ())[: max(0, span_of(cut.plan, block, followers) - 1)])
    return found


def _belongs(site: Site, other: object) -> bool:
    return isinstance(other, Site) and DROP in other.block.choices and other.ends_with == site.ends_with
