"""Turning any wish into a plan that fits the budget and wastes none of it."""

from collections.abc import Mapping
from random import Random

from profiles.profile import Profile
from pruner.chain import Block, Chain
from pruner.plan import Plan
from search.budget import Budget, BudgetUnreachableError


def fastest_plan(chain: Chain, profile: Profile) -> Plan:
    """The plan that the table says takes least time."""
    return chain.plan({block.name: _fastest_choice(profile, block) for block in chain.blocks})


def _fastest_choice(profile: Profile, block: Block) -> str:
    return min(block.choices, key=lambda choice: profile.block_ms(block.name, choice))


def check_reachable(chain: Chain, profile: Profile, budget: Budget) -> None:
    """Raises `BudgetUnreachableError` with the fastest plan's latency when not even that fits."""
    fastest = fastest_plan(chain, profile)
    if not budget.admits(profile, fastest):
        raise BudgetUnreachableError(
            f"no plan of {chain.model} fits {budget.latency_ms:.3f} ms: the fastest, which cuts {len(fastest.choices)} "
            f"of {len(chain.blocks)} blocks, takes {profile.latency_ms(fastest):.3f} ms"
        )


def feasible_plan(chain: Chain, profile: Profile, budget: Budget, wished: Mapping[str, str], random: Random) -> Plan:
    """The plan nearest to `wished` that fits: blocks are cut further, in an order drawn at random, until it does; then
    every cut that the budget turns out not to need is taken back, in another such order."""
    choices = dict(wished)
    blocks = list(chain.blocks)
    random.shuffle(blocks)
    for block in blocks:
        if budget.admits(profile, chain.plan(choices)):
            break
        choices[block.name] = _fastest_choice(profile, block)
    random.shuffle(blocks)
    for block in blocks:
        # `choices` lists what keeps most of the block first.
        for choice in block.choices[: block.choices.index(choices.get(block.name, block.choices[0]))]:
            if budget.admits(profile, chain.plan(choices | {block.name: choice})):
                choices[block.name] = choice
                break
    return chain.plan(choices)
