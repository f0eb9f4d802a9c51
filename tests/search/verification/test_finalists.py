"""Who wins when plans are measured: the best by score that surely fits, on every device."""

import math
from collections.abc import Mapping
from random import Random

import pytest

from latency.rounds import Reading
from latency.timing import Timings
from pruner.choices.plan import Plan
from search.candidate import Candidate
from search.verification.budget import Budget
from search.verification.finalists import Finalist, Judge, correction_of, measure_finalists, winner_of
from tables import DEIT


def names() -> list[str]:
    return [block.name for block in DEIT.chain.blocks]


def plan_of(num_cut: int) -> Plan:
    return DEIT.chain.plan(dict.fromkeys(names()[:num_cut], "drop"))


def ranked(count: int) -> list[Candidate]:
    """Candidates in falling score, told apart by how many blocks they cut."""
    return [Candidate(plan_of(n), 1.1 - 0.1 * n, DEIT.table.latency_ms(plan_of(n))) for n in range(1, count + 1)]


class Machine:
    """Times plans by how many blocks they cut, with a spread."""

    def __init__(self, baseline_ms: float, ms: dict[int, float], spread: float = 0.0) -> None:
        self.ms, self.spread, self.groups = {0: baseline_ms, **ms}, spread, 0

    def __call__(self, plans: Mapping[str, Plan]) -> Timings:
        self.groups += 1
        random = Random(0)
        return Timings(
            {
                name: [
                    [Reading(self.ms[len(plan.choices)] * (1 + self.spread * random.uniform(-1, 1)), 0.0)]
                    for _ in range(30)
                ]
                for name, plan in plans.items()
            }
        )


def cuts_of(finalist: Finalist | None) -> int | None:
    return None if finalist is None else len(finalist.candidate.plan.choices)


def test_the_best_candidate_that_measures_within_the_budget_wins() -> None:
    machine = Machine(10.0, {1: 7.3, 2: 6.9, 3: 5.0})
    finalists = measure_finalists(ranked(3), [Judge(Budget(7.0), DEIT.table, machine)])
    assert [finalist.fits for finalist in finalists] == [False, True, True]
    assert [cuts_of(finalist) for finalist in finalists] == [1, 2, 3]
    assert cuts_of(winner_of(finalists)) == 2
    assert machine.groups == 1


def test_among_equal_scores_the_faster_wins() -> None:
    machine = Machine(10.0, {1: 6.0, 2: 5.0})
    equal = [Candidate(plan_of(n), 0.5, DEIT.table.latency_ms(plan_of(n))) for n in (1, 2)]
    assert cuts_of(winner_of(measure_finalists(equal, [Judge(Budget(7.0), DEIT.table, machine)]))) == 2


def test_where_nothing_fits_nobody_wins() -> None:
    machine = Machine(10.0, {1: 8.0, 2: 7.5})
    assert winner_of(measure_finalists(ranked(2), [Judge(Budget(7.0), DEIT.table, machine)])) is None
    assert winner_of([]) is None


def test_a_ratio_is_judged_beside_the_baseline_as_it_is_now() -> None:
    slow = Machine(20.0, {1: 13.9})
    (by_ratio,) = measure_finalists(ranked(1), [Judge(Budget(7.0, ratio=0.7), DEIT.table, slow)])
    (by_time,) = measure_finalists(ranked(1), [Judge(Budget(7.0), DEIT.table, slow)])
    assert by_ratio.fits
    assert not by_time.fits
    assert by_ratio.verdicts[0].ratio == pytest.approx(0.695)


def test_noise_that_straddles_the_budget_leaves_the_plan_to_a_safer_one() -> None:
    machine = Machine(10.0, {1: 7.6, 2: 6.0}, spread=0.2)
    finalists = measure_finalists(ranked(2), [Judge(Budget(7.0), DEIT.table, machine)])
    assert cuts_of(winner_of(finalists)) == 2
    assert [finalist.straddles for finalist in finalists] == [True, False]
    measured = finalists[0].verdicts[0].measured
    assert measured is not None
    assert measured.latency_ms < 7.0 < measured.high_ms
    assert not finalists[0].fits


def test_a_margin_is_kept_below_the_budget() -> None:
    judge = Judge(Budget(7.0), DEIT.table, Machine(10.0, {1: 6.95, 2: 6.7}))
    with_margin = measure_finalists(ranked(2), [judge], margin=0.02)
    assert [finalist.fits for finalist in with_margin] == [False, True]
    assert not with_margin[0].straddles, "it is not noise that keeps it from winning"
    assert cuts_of(winner_of(measure_finalists(ranked(2), [judge]))) == 1


def test_a_plan_has_to_fit_on_every_device() -> None:
    first, second = Machine(10.0, {1: 6.0, 2: 5.0, 3: 4.0}), Machine(100.0, {1: 80.0, 2: 50.0, 3: 45.0})
    judges = [Judge(Budget(5.5), DEIT.table, first), Judge(Budget(47.0), DEIT.table, second)]
    finalists = measure_finalists(ranked(3), judges)
    assert [[verdict.fits for verdict in one.verdicts] for one in finalists] == [
        [False, False],
        [True, False],
        [True, True],
    ]
    assert cuts_of(winner_of(finalists)) == 3


def test_where_nothing_can_be_timed_the_table_has_the_last_word() -> None:
    latencies = [candidate.latency_ms for candidate in ranked(3)]
    for budget_ms in (latencies[1], math.nextafter(latencies[1], 0)):
        finalists = measure_finalists(ranked(3), [Judge(Budget(budget_ms), DEIT.table, None)])
        assert [finalist.fits for finalist in finalists] == [ms <= budget_ms for ms in latencies]
    for finalist, latency_ms in zip(finalists, latencies, strict=True):
        (verdict,) = finalist.verdicts
        assert verdict.measured is None
        assert verdict.ratio == pytest.approx(latency_ms / DEIT.uncut_ms)
        assert not verdict.straddles
    assert correction_of(finalists, 0) == 1.0


def test_a_device_that_is_here_and_one_that_is_not() -> None:
    machine = Machine(10.0, {1: 6.0, 2: 5.0, 3: 4.0})
    latencies = [candidate.latency_ms for candidate in ranked(3)]
    judges = [Judge(Budget(6.5), DEIT.table, machine), Judge(Budget(latencies[1]), DEIT.table, None)]
    assert [finalist.fits for finalist in measure_finalists(ranked(3), judges)] == [False, True, True]


def test_the_correction_of_a_table_is_the_median_of_what_was_measured() -> None:
    off = {1: 1.3, 2: 0.9, 3: 1.1}
    ms = {n: factor * DEIT.table.latency_ms(plan_of(n)) for n, factor in off.items()}
    fast = Machine(DEIT.uncut_ms, {n: 0.5 * DEIT.table.latency_ms(plan_of(n)) for n in off})
    judges = [
        Judge(Budget(1.0), DEIT.table, Machine(DEIT.uncut_ms, ms)),
        Judge(Budget(1.0), DEIT.table, fast),
    ]
    finalists = measure_finalists(ranked(3), judges)
    assert [finalist.verdicts[0].correction for finalist in finalists] == pytest.approx([1.3, 0.9, 1.1])
    assert correction_of(finalists, 0) == pytest.approx(1.1)
    assert correction_of(finalists, 1) == pytest.approx(0.5)


def test_a_machine_that_is_slower_by_now_says_nothing_against_a_table_of_shares() -> None:
    twice = Machine(2 * DEIT.uncut_ms, {n: 2 * DEIT.table.latency_ms(plan_of(n)) for n in (1, 2)})
    by_ratio = measure_finalists(ranked(2), [Judge(Budget.relative(0.5, DEIT.table), DEIT.table, twice)])
    by_time = measure_finalists(ranked(2), [Judge(Budget(1.0), DEIT.table, twice)])
    assert correction_of(by_ratio, 0) == pytest.approx(1.0)
    assert correction_of(by_time, 0) == pytest.approx(2.0)
