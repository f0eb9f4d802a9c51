"""What a latency table says of each choice, as the gates of a network are told it."""

from pruner.choices.choice import KEEP, THIN
from pruner.gates.gated import GateCosts
from search.space import Space


def gate_costs(space: Space) -> GateCosts:
    """Of the blocks and choices of `space` that save anything, by the first of its limits; the others are not for gates
    to choose, and neither is what changes the number of tokens: a block cannot do that by half."""
    limit = space.limits[0]
    saved_ms = {}
    for block, choices in space.choices.items():
        saving = {choice: limit.saved(block, choice) for choice in choices if choice not in (KEEP, THIN)}
        saving = {choice: ms for choice, ms in saving.items() if ms > 0}
        if saving:
            saved_ms[block] = {KEEP: 0.0} | saving
    return GateCosts(saved_ms, limit.amount(space.uncut) - limit.bound)
