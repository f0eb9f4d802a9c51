"""A budget is kept whatever the table says: what is measured corrects it, and the search goes on."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from random import Random

import pytest

from latency.rounds import Reading
from latency.timing import Timings
from pruner.choices.plan import Plan
from pruner.scoring.score import Score
from search.candidate import Candidate, SearchResult
from search.errors import BudgetUnreachableError
from search.limits import LatencyLimit
from search.samplers import known_sampler
from search.search import Stop, search
from search.space import Space
from search.storage.ledger import Ledger, in_memory
from search.verification.budget import Budget
from search.verification.finalists import Judge
from search.verification.within_budget import VerifiedSearch, search_within_budget
from tables import DIGITS


def the_budget_ms() -> float:
    return 0.6 * DIGITS.uncut_ms


PLANS = [
    DIGITS.chain.plan(dict(zip([block.name for block in DIGITS.chain.blocks], way, strict=True)))
    for way in itertools.product(*(block.choices for block in DIGITS.chain.blocks))
]
TRIALS = 40


def score(plan: Plan) -> float:
    """What is left of the network, a little more for some blocks, so that slower is better nearly everywhere."""
    lost = sum(
        (0.9 + 0.02 * i) * (DIGITS.table.block_ms(name, "keep") - DIGITS.table.block_ms(name, plan.choice_of(name)))
        for i, name in enumerate(block.name for block in DIGITS.chain.blocks)
    )
    return 0.95 - 0.5 * lost / DIGITS.uncut_ms


class Machine:
    """A device on which everything takes the table's latency times a factor, with a spread."""

    def __init__(self, factor: float, spread: float = 0.0) -> None:
        self.factor, self.spread = factor, spread
        self.timed: list[Plan] = []

    def ms(self, plan: Plan) -> float:
        return self.factor * DIGITS.table.latency_ms(plan)

    def __call__(self, plans: Mapping[str, Plan]) -> Timings:
        self.timed += [plan for name, plan in plans.items() if name != "baseline"]
        random = Random(0)
        return Timings(
            {
                name: [[Reading(self.ms(plan) * (1 + self.spread * random.uniform(-1, 1)), 0.0)] for _ in range(30)]
                for name, plan in plans.items()
            }
        )


class SearchFunction:
    """The search of a run: with the table of each judge multiplied by its correction."""

    def __init__(self, judges: Sequence[Judge]) -> None:
        self.judges = judges
        self.ledger = Ledger(in_memory(), "study", {}, patience_s=0)
        self.asked: list[tuple[tuple[float, ...], int, int]] = []
        self.results: list[SearchResult] = []
        self.evaluated: list[Plan] = []

    def __call__(self, corrections: Sequence[float], first: int, stop: int) -> SearchResult:
        self.asked.append((tuple(corrections), first, stop))
        limits = [
            LatencyLimit(judge.profile, judge.budget.latency_ms / correction)
            for judge, correction in zip(self.judges, corrections, strict=True)
        ]
        result = search(
            Space.of(DIGITS.chain, limits),
            evaluate=self.scores,
            ledger=self.ledger,
            sampler=known_sampler("auto"),
            stop=Stop(stop, gap=-1.0),
            first=first,
        )
        self.results.append(result)
        return result

    def scores(self, plans: Sequence[Plan], bar: float) -> list[Score]:
        self.evaluated += plans
        return [Score(score(plan)) for plan in plans]


def kept(
    search_slots: SearchFunction, *, margin: float = 0.0, tell: Callable[[str], None] = lambda words: None
) -> VerifiedSearch:
    return search_within_budget(search_slots, search_slots.judges, TRIALS, margin=margin, tell=tell)


def hunt_on(*machines: Machine | None, budget: Budget = Budget(the_budget_ms())) -> SearchFunction:  # noqa: B008
    return SearchFunction([Judge(budget, DIGITS.table, machine) for machine in machines])


def best_score_within(latency_ms: float) -> float:
    return max(score(plan) for plan in PLANS if DIGITS.table.latency_ms(plan) <= latency_ms)


def test_where_the_table_is_right_the_best_that_was_found_wins_at_once() -> None:
    machine = Machine(1.0)
    search_slots = hunt_on(machine)
    found = kept(search_slots)
    assert search_slots.asked == [((1.0,), 0, TRIALS)]
    assert found.winner.candidate == found.result.best
    assert found.winner.candidate.score == pytest.approx(best_score_within(the_budget_ms()))
    assert machine.timed == [candidate.plan for candidate in found.result.candidates[:4]]


def test_a_table_that_is_too_hopeful_is_corrected_and_a_plan_found_that_fits() -> None:
    machine, told = Machine(1.1), list[str]()
    search_slots = hunt_on(machine)
    found = kept(search_slots, tell=told.append)
    assert machine.ms(search_slots.results[0].best.plan) > the_budget_ms(), "by the table as it was, it would not fit"
    assert machine.ms(found.winner.candidate.plan) <= the_budget_ms()
    assert found.winner.fits
    assert found.winner.candidate.score == pytest.approx(best_score_within(the_budget_ms() / 1.1), rel=0.02)
    (corrections, first, stop), *_ = search_slots.asked[1:]
    assert corrections == pytest.approx((1.1,))
    assert (first, stop) == (TRIALS, TRIALS + TRIALS // 4)
    assert "the table is corrected by what was measured (null takes 1.100 of it): searching on" in told


def test_a_table_that_is_too_pessimistic_is_corrected_and_a_better_plan_found() -> None:
    machine = Machine(0.9)
    search_slots = hunt_on(machine)
    found = kept(search_slots)
    assert search_slots.asked[1][0] == pytest.approx((0.9,))
    assert found.winner.candidate.score > search_slots.results[0].best.score
    assert (
        DIGITS.table.latency_ms(found.winner.candidate.plan)
        > the_budget_ms()
        >= machine.ms(found.winner.candidate.plan)
    )
    assert found.winner.candidate.score == pytest.approx(best_score_within(the_budget_ms() / 0.9), rel=0.02)


def test_what_searches_on_repeats_nothing_and_measures_nothing_twice() -> None:
    for factor in (0.9, 1.1):
        machine = Machine(factor)
        search_slots = hunt_on(machine)
        found = kept(search_slots)
        assert len(set(search_slots.evaluated)) == len(search_slots.evaluated) == found.result.num_evaluations
        assert len(set(machine.timed)) == len(machine.timed) == len(found.finalists)
        assert found.winner.candidate.score == max(one.candidate.score for one in found.finalists if one.fits)


def test_noise_that_straddles_is_told_and_a_safer_plan_taken() -> None:
    """The baseline is steady, and so is the fastest plan; the best would fit, but for the noise."""
    told: list[str] = []
    plans = [
        DIGITS.chain.plan({}),
        *(DIGITS.chain.plan(dict.fromkeys([b.name for b in DIGITS.chain.blocks[:n]], "drop")) for n in (1, 2)),
    ]

    def time_plans(timed: Mapping[str, Plan]) -> Timings:
        random = Random(0)
        latencies = {name: (10.0, 7.6, 6.0)[len(plan.choices)] for name, plan in timed.items()}
        return Timings(
            {
                n: [[Reading(ms * (1 + 0.2 * random.uniform(-1, 1)), 0.0)] for _ in range(30)]
                for n, ms in latencies.items()
            }
        )

    result = SearchResult(tuple(Candidate(plan, 1.0 - 0.1 * i, 6.9) for i, plan in enumerate(plans[1:])))
    found = search_within_budget(
        lambda corrections, first, stop: result,
        [Judge(Budget(7.0), DIGITS.table, time_plans)],
        TRIALS,
        margin=0.0,
        tell=told.append,
    )
    assert found.winner.candidate.plan == plans[2]
    assert sum("the noise straddles the budget, and a safer plan is taken" in words for words in told) == 1
    assert next(words for words in told if "straddles" in words).startswith("a plan of score 1.0000 takes 6.")


def test_a_margin_is_kept() -> None:
    machine = Machine(1.0)
    search_slots = hunt_on(machine)
    found = kept(search_slots, margin=0.015)
    assert search_slots.asked[1][0] == pytest.approx((1.02,)), "the table is right, so the search aims lower"
    assert machine.ms(found.winner.candidate.plan) <= 0.985 * the_budget_ms()


def test_the_search_aims_lower_until_something_fits() -> None:
    machine = Machine(1.0)
    found = kept(hunt_on(machine), margin=0.05)
    assert machine.ms(found.winner.candidate.plan) <= 0.95 * the_budget_ms()


def test_several_devices_must_all_be_content() -> None:
    first, second = Machine(1.0), Machine(1.15)
    search_slots = hunt_on(first, second)
    found = kept(search_slots)
    assert first.ms(found.winner.candidate.plan) < second.ms(found.winner.candidate.plan) <= the_budget_ms()
    assert [verdict.fits for verdict in found.winner.verdicts] == [True, True]
    assert search_slots.asked[1][0] == pytest.approx((1.0, 1.15))


def test_a_device_that_is_not_here_is_judged_by_its_table() -> None:
    found = kept(hunt_on(None))
    assert found.winner.candidate == found.result.best
    assert found.winner.verdicts[0].measured is None
    mixed = kept(hunt_on(Machine(0.9), None))
    assert DIGITS.table.latency_ms(mixed.winner.candidate.plan) <= the_budget_ms()


def test_where_nothing_was_evaluated_it_says_why() -> None:
    with pytest.raises(BudgetUnreachableError, match=r"nothing to measure was found \(the time is up\): allow more"):
        search_within_budget(
            lambda corrections, first, stop: SearchResult((), stopped="the time is up"),
            [Judge(Budget(the_budget_ms()), DIGITS.table, None)],
            TRIALS,
            margin=0.0,
            tell=[].append,
        )


def test_where_nothing_fits_the_fastest_is_named() -> None:
    slow_ms = 100.0
    told: list[str] = []
    names = [block.name for block in DIGITS.chain.blocks]
    plans = [DIGITS.chain.plan(dict.fromkeys(names[:n], "drop")) for n in (1, 2, 3)]
    result = SearchResult(tuple(Candidate(plan, 0.9, 0.01) for plan in plans))

    def time_plans(timed: Mapping[str, Plan]) -> Timings:
        return Timings({n: [[Reading(slow_ms - len(plan.choices), 0.0)]] * 9 for n, plan in timed.items()})

    with pytest.raises(
        BudgetUnreachableError,
        match=r"none of the plans that fit .* by the table, 3 in all, fits when measured: the fastest",
    ):
        search_within_budget(
            lambda corrections, first, stop: result,
            [Judge(Budget(the_budget_ms()), DIGITS.table, time_plans)],
            TRIALS,
            margin=0.0,
            tell=told.append,
        )
    assert len(told) <= 5


def test_a_table_that_is_off_by_ten_ends_in_words() -> None:
    with pytest.raises(BudgetUnreachableError, match="fastest"):
        kept(hunt_on(Machine(100.0)))


def test_a_share_of_the_baseline_is_kept_on_a_machine_that_has_become_slower() -> None:
    machine = Machine(1.5)
    search_slots = hunt_on(machine, budget=Budget(the_budget_ms(), ratio=0.6))
    found = kept(search_slots)
    assert search_slots.asked == [((1.0,), 0, TRIALS)]
    assert found.winner.candidate == found.result.best


def loaded(wall_share: Callable[[Plan], float]) -> Callable[[Mapping[str, Plan]], Timings]:
    """A machine with other work: its processor time is the table's, its wall clock says whatever it says, steadily."""

    def time_plans(plans: Mapping[str, Plan]) -> Timings:
        worked = {name: DIGITS.table.latency_ms(plan) for name, plan in plans.items()}
        readings = {name: Reading(ms * wall_share(plans[name]), ms) for name, ms in worked.items()}
        return Timings({name: [[reading] * 3] * 12 for name, reading in readings.items()}, one_thread=True)

    return time_plans


def kept_under_load(
    wall_share: Callable[[Plan], float], told: list[str]
) -> tuple[VerifiedSearch, SearchFunction, list[float]]:
    waited: list[float] = []
    budget = Budget.relative(0.6, DIGITS.table)
    search_slots = SearchFunction([Judge(budget, DIGITS.table, loaded(wall_share), waited.append)])
    return kept(search_slots, tell=told.append), search_slots, waited


def test_a_noisy_reading_alone_refuses_no_plan() -> None:
    """By the wall clock every cut network takes twice what it does: it is measured again, and then taken for what its
    processor time says, undecided."""
    told: list[str] = []
    found, search_slots, waited = kept_under_load(lambda plan: 2.0 if plan.choices else 1.0, told)
    assert found.winner.candidate.score == pytest.approx(best_score_within(0.6 * DIGITS.uncut_ms))
    assert found.winner.fits
    (verdict,) = found.winner.verdicts
    assert verdict.answer == "undecided"
    assert "processor time says" in verdict.reason
    assert waited == [2.0, 6.0]
    assert search_slots.asked == [((1.0,), 0, TRIALS)], "what cannot be believed corrects no table"
    assert any("which cannot be believed" in words for words in told)


def test_a_noisy_reading_alone_accepts_no_plan() -> None:
    """By the wall clock cut networks take a third, so that each would fit; processor time says that these do not."""
    slower = 1.8
    slow = loaded(lambda plan: 1 / slower if plan.choices else 1.0)

    def time_plans(plans: Mapping[str, Plan]) -> Timings:
        found = slow(plans)
        cut = {name: slower if plan.choices else 1.0 for name, plan in plans.items()}
        return Timings(
            {n: [[Reading(r.wall_ms, r.cpu_ms * cut[n]) for r in v] for v in vs] for n, vs in found.rounds.items()},
            True,
        )

    judge = Judge(Budget.relative(0.6, DIGITS.table), DIGITS.table, time_plans, [].append)
    with pytest.raises(BudgetUnreachableError):
        kept(SearchFunction([judge]))


@pytest.mark.parametrize("factor", [0.85, 0.93, 1.0, 1.07, 1.4])
def test_a_share_finds_the_same_whatever_the_table_is_off_by_everywhere(factor: float) -> None:
    """The limit is the table's own share and the verdict the measured one, so that one factor on both cancels."""
    machine = Machine(factor)
    found = kept(hunt_on(machine, budget=Budget.relative(0.6, DIGITS.table)))
    assert found.corrections == pytest.approx((1.0,))
    assert found.winner.candidate.score == pytest.approx(best_score_within(0.6 * DIGITS.uncut_ms))


@pytest.mark.parametrize("factor", [0.85, 1.07])
def test_a_share_of_another_baseline_shows_as_a_correction(factor: float) -> None:
    """The limit was made from a baseline that is not the table's own: what is measured shows it."""
    found = kept(hunt_on(Machine(1.0), budget=Budget(factor * the_budget_ms(), ratio=0.6)))
    assert found.corrections == pytest.approx((factor,))
    assert found.winner.candidate.score == pytest.approx(best_score_within(the_budget_ms()), rel=0.01)


def test_the_search_does_not_end_while_a_better_plan_within_reach_was_not_measured() -> None:
    """The four best do not fit when measured, for the table is wrong about them alone; of the lower plans that the next
    search finds one fits; but better ones, which the first search had evaluated, fit as well."""
    plans = [DIGITS.chain.plan(dict.fromkeys([b.name for b in DIGITS.chain.blocks[:n]], "drop")) for n in range(1, 8)]
    ms = [7.2, 7.2, 7.2, 7.2, 6.8, 6.7, 6.0]
    latencies = {DIGITS.chain.plan({}): 10.0, **dict(zip(plans, ms, strict=True))}
    candidates = [Candidate(plan, 1.0 - 0.1 * i, DIGITS.table.latency_ms(plan)) for i, plan in enumerate(plans)]
    results = iter([SearchResult(tuple(candidates[:6])), SearchResult(tuple(candidates[6:]))])

    # A table that says of every plan what it takes, but of the first four that they are just within the budget.
    def time_plans(timed: Mapping[str, Plan]) -> Timings:
        return Timings({n: [[Reading(latencies[plan], 0.0)]] * 9 for n, plan in timed.items()})

    budget = Budget(7.0)
    table = TableOf({plan: min(took, 7.0) for plan, took in latencies.items()})
    found = search_within_budget(
        lambda corrections, first, stop: next(results),
        [Judge(budget, table, time_plans)],  # type: ignore[arg-type]
        TRIALS,
        margin=0.0,
        tell=[].append,
    )
    assert found.winner.candidate.plan == plans[4]
    assert [one.candidate.plan for one in found.finalists if one.fits] == [plans[4], plans[6], plans[5]]


class TableOf:
    """As much of a profile as a judge asks for."""

    relative_error, conditions, setting = 0.0, None, DIGITS.table.setting

    def __init__(self, ms: Mapping[Plan, float]) -> None:
        self.ms = ms
        self.uncut_ms = self.ms[DIGITS.chain.plan({})]

    def latency_ms(self, plan: Plan) -> float:
        return self.ms[plan]


def test_a_correction_beyond_what_the_table_says_of_itself_is_a_warning() -> None:
    told: list[str] = []
    kept(hunt_on(Machine(1.1)), tell=told.append)
    assert [words for words in told if words.startswith("warning")] == [
        "warning: what null takes is +10.0% off its table, by every witness, where the table says 0.0% of itself"
    ]
    told.clear()
    kept(hunt_on(Machine(1.0)), tell=told.append)
    assert told == []
