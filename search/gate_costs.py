"""The latency costs of each choice, in the form that the gates of a network take."""

from pruner.choices.choice import KEEP, THIN
from pruner.gates.gated import GateCosts
from search.space import Space


def gate_costs(space: Space) -> GateCosts:
    """The milliseconds that gates may save in each block of `space`, by the first of its limits, and how many have to
    be saved.

    Blocks and choices that save nothing are left out, for gates have nothing to choose there. So is the choice that
    changes the number of tokens: a block cannot do that by half.
    """
    limit = space.limits[0]
    saved_ms = {}
    for block, choices in space.choices.items():
        saving = {choice: limit.saved(block, choice) for choice in choices if choice not in (KEEP, THIN)}
        saving = {choice: ms for choice, ms in saving.items() if ms > 0}
        if saving:
            saved_ms[block] = {KEEP: 0.0} | saving
    return GateCosts(saved_ms, limit.amount(space.uncut) - limit.bound)
