"""Spans: one fitted layer in the place of several blocks in a row.

A span is a fitted block of a plan together with the dropped blocks right behind it. The layer is all that is left of
them, so it is fitted to what all of them compute together.
"""

import itertools
from collections.abc import Mapping
from functools import partial
from itertools import takewhile
from typing import Final

from pruner.algebra.flow import Part
from pruner.choices.choice import DROP, FITS, SHARES
from pruner.choices.plan import Plan
from pruner.choices.site import Site
from pruner.network.surgery import Cut, OpenNetwork

LONGEST: Final = 4
"""The most blocks that one layer may replace."""

Followers = Mapping[str, tuple[str, ...]]
"""Block -> the blocks right behind it, in order, that its layer could replace too."""


def followers_of(network: OpenNetwork) -> Followers:
    """Finds, for every block that may be fitted, the blocks right behind it that its layer could replace too.

    They are the next blocks, three at the most, up to the first that cannot be dropped, that ends with another
    activation, or that something other than a block stands before or takes its input too.
    """
    parts = network.parts()
    found = {}
    for place, part in enumerate(parts):
        if isinstance(part.module, Site) and part.module.may_be_fitted:
            behind = takewhile(partial(_belongs, part.module), itertools.pairwise(parts[place : place + LONGEST]))
            found[part.name] = tuple(after.name for _, after in behind)
    return found


def span_of(plan: Plan, block: str, followers: Followers) -> int:
    """How many blocks the layer that a plan puts in a block's place replaces.

    Args:
        plan: The plan.
        block: The name of the block.
        followers: What `followers_of` finds for the network.

    Returns:
        1 and the number of dropped blocks right behind for a fitted block; 1 for a narrower block; 0 for others.

    Example:
        >>> from pruner.choices.plan import Plan
        >>> from pruner.fitting.spans import span_of
        >>> plan = Plan("deit_digits", {"blocks.0.attn": "fit", "blocks.0.mlp": "drop"})
        >>> span_of(plan, "blocks.0.attn", {"blocks.0.attn": ("blocks.0.mlp", "blocks.1.attn")})
        2
    """
    choice = plan.choice_of(block)
    if choice not in FITS:
        return int(choice in SHARES)
    return 1 + sum(1 for _ in takewhile(lambda other: plan.choice_of(other) == DROP, followers[block]))


def stood_in_for(cut: Cut) -> set[str]:
    """The blocks that layers replace in a cut network: those that became a layer, and the dropped ones of their
    spans."""
    followers, found = followers_of(cut), set(cut.layers)
    for block in cut.layers:
        found.update(followers.get(block, ())[: max(0, span_of(cut.plan, block, followers) - 1)])
    return found


def _belongs(site: Site, pair: tuple[Part, Part]) -> bool:
    """Whether the second of two parts in a row may be replaced with the first, by a layer in the place of `site`."""
    before, after = pair
    other = after.module
    can_go = isinstance(other, Site) and DROP in other.block.choices and other.ends_with == site.ends_with
    return can_go and after.wire.follows(before.wire)
