"""Of every plan that beats the winner it is told why it was not taken."""

from pruner.choices.plan import Plan
from search.candidate import Candidate, SearchResult
from search.verification.budget import Answer, Budget
from search.verification.finalists import Finalist, Judge, OnDevice
from search.verification.passed_over import passed_over
from search.verification.within_budget import VerifiedSearch
from tables import DEIT


def judges() -> list[Judge]:
    return [Judge(Budget.relative(0.7, DEIT.table), DEIT.table, None)]


def block_names() -> list[str]:
    return [block.name for block in DEIT.chain.blocks]


def plan_of(num_cut: int) -> Plan:
    return DEIT.chain.plan(dict.fromkeys(block_names()[-num_cut:], "drop"))


def candidate(num_cut: int, score: float, fits: bool = True) -> Candidate:
    plan = plan_of(num_cut)
    return Candidate(plan, score, DEIT.table.latency_ms(plan), fits)


def finalist(
    one: Candidate, answer: Answer, reason: str, *, fits: bool = False, correction: float | None = 1.0
) -> Finalist:
    return Finalist(one, (OnDevice("null", one.latency_ms, None, 0.7, correction, answer, reason, fits),))


def reasons(*finalists: Finalist, others: tuple[Candidate, ...] = (), correction: float = 1.0) -> dict[float, str]:
    """Score -> reason, the first of `finalists` being the winner."""
    found = SearchResult(tuple(one.candidate for one in finalists), others)
    told = passed_over(VerifiedSearch(found, finalists, (correction,)), judges(), margin=0.015)
    return {one.candidate.score: one.reason for one in told}


WINNER = finalist(candidate(4, 0.8), "met", "0.5 to 0.6 is within the budget", fits=True)


def test_what_is_no_better_by_more_than_a_point_needs_no_reason() -> None:
    assert reasons(WINNER, others=(candidate(1, 0.8), candidate(2, 0.805), candidate(3, 0.2))) == {}


def test_a_finalist_that_lost_says_what_was_measured() -> None:
    above = finalist(candidate(1, 0.9), "not met", "0.71 to 0.72 is above the budget")
    noise = finalist(candidate(2, 0.88), "undecided", "0.69 to 0.71 has the budget in it: noise would decide")
    doubted = finalist(candidate(3, 0.86), "undecided", "it rained", correction=None)
    near = finalist(candidate(5, 0.84), "met", "0.695 to 0.699 is within the budget")
    assert reasons(WINNER, above, noise, doubted, near) == {
        0.9: "on null 0.71 to 0.72 is above the budget",
        0.88: "on null 0.69 to 0.71 has the budget in it: noise would decide",
        0.86: "on null it rained; by time on the processor it is above the budget",
        0.84: "on null 0.695 to 0.699 is within the budget, but by less than the 1.5% that loading it anew may change",
    }


def test_a_plan_that_was_not_measured_says_what_the_table_expects() -> None:
    slow = candidate(1, 0.9, fits=False)
    aim_ms = 0.7 * 0.985 * DEIT.table.uncut_ms
    assert slow.latency_ms > aim_ms
    said = reasons(WINNER, others=(slow,))[0.9]
    assert said == f"{slow.latency_ms:.3f} ms on null by the table, above {aim_ms:.3f} ms; not measured"
    corrected = reasons(WINNER, others=(slow,), correction=1.1)[0.9]
    assert corrected.startswith(f"{1.1 * slow.latency_ms:.3f} ms on null by the table times 1.100, as measured, above ")
