"""What every sampler promises, asked of each: new plans within the limits, the same ones whenever it is asked again."""

import itertools
from collections.abc import Sequence
from random import Random

import pytest

import search.samplers as samplers
from depthfinder.testing import SamplerSuite
from depthfinder.testing.samplers import a_space, asked_in_rounds, every_plan, score
from depthfinder.testing.samples import chain_and_table
from pruner.choices.chain import Block, Chain
from pruner.choices.plan import Plan
from pruner.scoring.score import Score
from search.errors import TooManyPlansError, UnknownSamplerError
from search.feasible import imagined_plan
from search.limits import LatencyLimit, SizeLimit
from search.samplers.front import Front
from search.samplers.sampler import SAMPLERS, Proposals, Sampler, known_sampler, sampler
from search.space import Space
from search.storage.ledger import Entry

NAMES = tuple(sorted(SAMPLERS))
DRAWING = tuple(name for name in NAMES if name != "exhaustive")


def uncut_ms() -> float:
    chain, table = chain_and_table()
    return table.latency_ms(Plan(chain.model))


def test_these_are_the_samplers() -> None:
    assert set(NAMES) >= {"auto", "exhaustive", "gp", "nsga2", "random", "tpe"}
    assert all(SAMPLERS[name].name == name for name in NAMES)
    assert known_sampler("auto") is SAMPLERS["auto"]
    assert set(samplers.__all__) >= {"Exhaustive", "Gp", "Learned", "Nsga2", "Prefix", "Random", "Tpe"}


def test_imagined_plans_spare_the_blocks_that_are_expected_to_matter() -> None:
    space = a_space().within([LatencyLimit(chain_and_table()[1], 0.8 * uncut_ms())])
    dear = {block.name for block in chain_and_table()[0].blocks[: len(chain_and_table()[0].blocks) // 2]}
    known = space.expecting({cut: 20.0 if cut[0] in dear else 1.0 for cut in space.cuts})
    even = space.expecting(dict.fromkeys(space.cuts, 1.0))

    def cut(space: Space) -> int:
        plans = [imagined_plan(space, Random(seed)) for seed in range(40)]
        assert all(plan is not None and space.admits(plan) for plan in plans)
        assert len(set(plans)) > 3
        return sum(block in dear for plan in plans if plan for block in plan.choices)

    assert cut(known) < cut(even) / 4


def test_rounds_grow_with_what_is_known() -> None:
    asked = known_sampler("auto")
    sizes = [asked.size_behind(count) for count in (0, 16, 160, 200, 2_000)]
    assert sizes == [8, 8, 8, 10, 100]
    assert known_sampler("tpe").size_behind(2_000) == known_sampler("tpe").round_size


def test_an_unknown_sampler_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UnknownSamplerError, match="no sampler is called 'nsga'; nearest: nsga2, "):
        known_sampler("nsga")


def test_a_name_is_taken_once() -> None:
    class Another(Sampler):
        name = "tpe"

        def propose(self, space: Space, history: Sequence[Entry], count: int, n_trials: int, seed: int) -> Proposals:
            return Proposals(())

    with pytest.raises(ValueError, match="there is a sampler 'tpe' already"):
        sampler(Another)
    assert type(SAMPLERS["tpe"]) is not Another


class TestEverySampler(SamplerSuite):
    """What all promise; the Gaussian process is slow."""

    @pytest.fixture(params=NAMES)
    def sampler(self, request: pytest.FixtureRequest) -> Sampler:
        self.trials = 12 if request.param == "gp" else SamplerSuite.trials
        return known_sampler(request.param)


@pytest.mark.parametrize("name", DRAWING)
def test_what_is_known_is_not_proposed(name: str) -> None:
    """Exhaustive goes by the order of its plans, and knows them by it."""
    history = asked_in_rounds(known_sampler("random"), a_space(), 9)
    found = known_sampler(name).propose(a_space(), history, 3, 40, 0)
    assert not {proposal.plan for proposal in found.proposals} & {entry.plan for entry in history}


@pytest.mark.parametrize("name", DRAWING)
def test_seeds_draw_different_plans(name: str) -> None:
    history = asked_in_rounds(known_sampler("random"), a_space(), 4) if name == "gp" else []
    first, second = (known_sampler(name).propose(a_space(), history, 4, 12, seed) for seed in (0, 1))
    assert first.proposals != second.proposals


@pytest.mark.parametrize("seed", range(3))
def test_auto_finds_the_optimum_of_a_small_chain_in_few_evaluations(seed: int) -> None:
    space = Space.of(chain_and_table()[0], [LatencyLimit(chain_and_table()[1], 0.6 * uncut_ms())])
    optimum = max(score(plan, space) for plan in every_plan(space))
    history = asked_in_rounds(known_sampler("auto"), space, 40, seed)
    assert max(score(entry.plan, space) for entry in history if space.admits(entry.plan)) == pytest.approx(optimum)


@pytest.mark.parametrize("seed", range(2))
def test_auto_finds_the_optimum_among_many_plans(seed: int) -> None:
    """Twelve blocks of unequal worth, whose neighbours help or hinder each other: 4,096 plans, 60 evaluations."""
    sites = 12
    blocks = tuple(Block(f"blocks.{i}", "ffn", f"block {i}", ("keep", "drop")) for i in range(sites))
    weights = {
        (block.name, choice): float(choice == "keep") * (1 + i % 4)
        for i, block in enumerate(blocks)
        for choice in block.choices
    }
    whole = sum(weights.values())
    space = Space.of(Chain("twelve", "any", (3, 1, 1), blocks), [SizeLimit("units", 0.6 * whole, whole, weights)])

    def worth(plan: Plan) -> float:
        cut = [block.name in plan.choices for block in blocks]
        alone = sum((1 + (i * 7) % 5) * on for i, on in enumerate(cut))
        beside = sum((-1) ** i * (one and other) for i, (one, other) in enumerate(itertools.pairwise(cut)))
        return 0.95 - 0.02 * alone - 0.02 * beside

    optimum = max(worth(plan) for plan in every_plan(space))
    asked, history = known_sampler("auto"), list[Entry]()
    while len(history) < 60:
        size = asked.round_size if history else asked.opening(space, 60)
        for proposal in asked.propose(space, history, min(size, 60 - len(history)), 60, seed).proposals:
            history.append(Entry(len(history), 0, proposal, 0.0, score=Score(worth(proposal.plan))))
    assert max(worth(entry.plan) for entry in history if space.admits(entry.plan)) == pytest.approx(optimum)


def test_auto_begins_at_random_then_asks_the_solver_the_draws_and_the_neighbours() -> None:
    asked = known_sampler("auto")
    histories = [
        asked_in_rounds(asked, Space.of(chain_and_table()[0], a_space().limits), 40, seed) for seed in range(3)
    ]
    first = asked.opening(a_space(), 40)
    assert 1 <= first <= 16
    for history in histories:
        assert {entry.proposal.how for entry in history[:first]} == {"random"}
    assert {entry.proposal.how for history in histories for entry in history} >= {"solver", "draw", "flip"}


def test_what_is_expected_of_cuts_is_asked_for_first() -> None:
    harms = {(block, choice): float(place + (choice == "drop")) for place, (block, choice) in enumerate(a_space().cuts)}
    first, *_ = known_sampler("auto").propose(a_space().expecting(harms), [], 5, 20, seed=0).proposals
    assert first.how == "solver"
    least = min(every_plan(a_space()), key=lambda plan: sum(harms[cut] for cut in plan.choices.items()))
    expected = sum(harms[cut] for cut in first.plan.choices.items())
    assert expected == pytest.approx(sum(harms[cut] for cut in least.choices.items()))


@pytest.mark.parametrize("n_trials", [1, 2, 3, 5, 50, 1000])
def test_auto_leaves_trials_to_learn(n_trials: int) -> None:
    assert 1 <= known_sampler("auto").opening(a_space(), n_trials) <= max(1, n_trials // 4)


@pytest.mark.parametrize("asked", [known_sampler("auto"), Front()], ids=["auto", "front"])
def test_limits_that_one_plan_is_within_leave_that_plan(asked: Sampler) -> None:
    """As a table that was corrected may leave them."""
    history = asked_in_rounds(known_sampler("random"), a_space(), 10)
    fastest = min(every_plan(a_space()), key=chain_and_table()[1].latency_ms)
    only = a_space().within([LatencyLimit(chain_and_table()[1], chain_and_table()[1].latency_ms(fastest))])
    assert [proposal.plan for proposal in asked.propose(only, history, 3, 40, 0).proposals] == [fastest]


def test_the_front_is_asked_for_at_every_latency() -> None:
    space = Space.of(chain_and_table()[0], [LatencyLimit(chain_and_table()[1], 0.9 * uncut_ms())])
    asked = Front()
    assert asked.name not in SAMPLERS
    assert not asked.seeks_one
    opening = asked.propose(space, [], asked.opening(space, 48), 48, 0).proposals
    plans = [proposal.plan for proposal in opening]
    assert len(set(plans)) == len(plans) == 16
    assert all(space.admits(plan) for plan in plans)
    latencies = sorted(map(chain_and_table()[1].latency_ms, plans))
    assert latencies[0] < 0.2 * uncut_ms()
    assert latencies[-1] > 0.7 * uncut_ms()
    whole = Space.of(chain_and_table()[0], [LatencyLimit(chain_and_table()[1], 1.001 * uncut_ms())])
    assert asked.propose(whole, [], 16, 48, 0).proposals[0].plan == whole.uncut
    assert asked.propose(space, [], 16, 48, 0).proposals == opening


@pytest.mark.parametrize("seed", range(2))
def test_auto_holds_something_better_possible_until_it_has_the_best(seed: int) -> None:
    space = Space.of(chain_and_table()[0], [LatencyLimit(chain_and_table()[1], 0.6 * uncut_ms())])
    optimum = max(score(plan, space) for plan in every_plan(space))
    history = asked_in_rounds(known_sampler("auto"), space, 60, seed)
    for seen in (12, 20, 28, 36, 60):
        attainable = known_sampler("auto").propose(space, history[:seen], 1, 60, seed).attainable
        assert attainable is not None
        best = max((score(entry.plan, space) for entry in history[:seen] if space.admits(entry.plan)), default=0.0)
        assert best == pytest.approx(optimum) or attainable > best
    assert attainable < optimum + 0.05


def test_exhaustive_gives_every_plan_once() -> None:
    plans = [entry.plan for entry in asked_in_rounds(known_sampler("exhaustive"), a_space(), 1000)]
    assert len(set(plans)) == len(plans)
    assert set(plans) == set(every_plan(a_space()))


def test_exhaustive_goes_on_under_limits_that_were_corrected() -> None:
    """What a table that was corrected lets in is new, and what was evaluated before stays evaluated."""
    asked = known_sampler("exhaustive")
    history = asked_in_rounds(asked, a_space(), 1000)
    looser = a_space().within([LatencyLimit(chain_and_table()[1], 0.7 * uncut_ms())])
    found = [proposal.plan for proposal in asked.propose(looser, history, 1000, 2000, 0).proposals]
    assert set(found) == set(every_plan(looser)) - set(every_plan(a_space()))


def test_more_plans_than_anybody_could_try_are_refused() -> None:
    blocks = tuple(Block(f"blocks.{i}", "ffn", "ffn", ("keep", "merge", "drop")) for i in range(40))
    space = Space.of(Chain("long", "vit", (3, 1, 1), blocks), [])
    with pytest.raises(TooManyPlansError, match=r"long has 1\.22e\+19 plans, too many to try all"):
        known_sampler("exhaustive").propose(space, [], 1, 10, 0)
