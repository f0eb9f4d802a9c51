"""The margin of a winner: as far as the uncut network differs from itself when it is loaded again."""

from collections.abc import Mapping, Sequence

import pytest

from latency.rounds import Reading
from latency.timing import Timings
from pruner.choices.plan import Plan
from search.verification.budget import Budget
from search.verification.finalists import Judge
from search.verification.margin import AIMED_BELOW, margin_on
from tables import DIGITS


def uncut() -> Plan:
    return DIGITS.chain.plan({})


class Machine:
    """Times the networks that it loads as one after another of these."""

    def __init__(self, took_ms: Sequence[float]) -> None:
        self.took_ms, self.timed = took_ms, list[Plan]()

    def __call__(self, plans: Mapping[str, Plan]) -> Timings:
        self.timed += plans.values()
        return Timings({name: [[Reading(ms, 0.0)]] * 9 for name, ms in zip(plans, self.took_ms, strict=True)})


def margin(*machines: Machine | None) -> tuple[float, list[str]]:
    told: list[str] = []
    judges = [Judge(Budget(1.0), DIGITS.table, machine) for machine in machines]
    return margin_on(judges, uncut(), told.append), told


@pytest.mark.parametrize(
    ("took_ms", "expected"),
    [
        ((10.0, 10.0, 10.0, 10.0), 0.01),
        ((10.0, 10.1, 9.9, 9.8), 0.0151),
        ((10.0, 10.0, 10.25, 10.0), 0.025),
        ((10.0, 14.0, 10.0, 10.0), 0.03),
    ],
)
def test_it_is_what_loading_again_shows_within_bounds(took_ms: Sequence[float], expected: float) -> None:
    machine = Machine(took_ms)
    found, told = margin(machine)
    assert found == pytest.approx(expected, abs=1e-4)
    assert machine.timed == [uncut()] * 4
    assert told[0].endswith(f"the winner is to be {expected:.1%} below its budget")


def test_of_several_devices_the_unsteadiest_decides() -> None:
    steady, other = Machine((10.0,) * 4), Machine((20.0, 20.4, 20.0, 20.0))
    assert margin(steady, None, other)[0] == pytest.approx(0.02)


def test_where_nothing_is_timed_the_table_is_all_there_is() -> None:
    assert margin(None) == (AIMED_BELOW, [])
