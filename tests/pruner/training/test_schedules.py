"""How gates close: from the baseline at the first step to a network that merges, whatever the way between."""

from random import Random

import pytest

from networks import made
from pruner.choices.plan import Plan
from pruner.network.surgery import apply, describe
from pruner.training.progressive import Progressive
from pruner.training.schedules import CURVES, Schedule, curve, from_the_end, least_harm_first, single_cuts
from pruner.training.train_step import TrainStep

ORDER = ("c", "a", "b", "d")


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("closing_share", [0.3, 0.5, 1.0])
def test_every_gate_starts_open_only_falls_and_is_closed_in_time(name: str, closing_share: float) -> None:
    schedule = Schedule(ORDER, name, closing_share)
    lams = [schedule.lams(step / 200) for step in range(200)]
    assert lams[0] == dict.fromkeys(ORDER, 1.0)
    for block in ORDER:
        falling = [at[block] for at in lams]
        assert falling == sorted(falling, reverse=True)
        assert all(0 <= lam <= 1 for lam in falling)
        assert len(set(falling)) > 10
    for step, at in enumerate(lams):
        assert (max(at.values()) == 0) == (step / 200 >= closing_share)


def test_the_shapes_are_what_their_names_say() -> None:
    assert Schedule(ORDER, "linear", 0.5).lams(0.125) == dict.fromkeys(ORDER, 0.75)
    assert Schedule(ORDER, "cosine", 1.0).lams(1 / 3)["a"] == pytest.approx(0.75)
    one_by_one = Schedule(ORDER, "blocks", 1.0)
    assert one_by_one.lams(0.125) == {"c": 0.5, "a": 1.0, "b": 1.0, "d": 1.0}
    assert one_by_one.lams(0.25) == {"c": 0.0, "a": 1.0, "b": 1.0, "d": 1.0}
    assert one_by_one.lams(0.625) == {"c": 0.0, "a": 0.0, "b": 0.5, "d": 1.0}


def test_orders() -> None:
    chain = describe(made("digits", seed=0))
    plan = chain.random_plan(0.7, Random(1))
    order = from_the_end(chain, plan)
    names = [block.name for block in chain.blocks]
    assert set(order) == set(plan.choices)
    assert [names.index(name) for name in order] == sorted(map(names.index, order), reverse=True)
    scores = {name: -float(place % 3) for place, name in enumerate(sorted(plan.choices))}
    assert [scores[name] for name in least_harm_first(plan, scores)] == sorted(scores.values(), reverse=True)
    assert [dict(one.choices) for one in single_cuts(plan)] == [{name: cut} for name, cut in plan.choices.items()]


def test_what_makes_no_schedule_says_why() -> None:
    with pytest.raises(ValueError, match="no lambda schedule is called 'steep'; there are: linear, cosine, blocks"):
        Schedule(ORDER, "steep")
    with pytest.raises(ValueError, match=r"in \(0, 1\], not 0"):
        Schedule(ORDER, "linear", 0)
    with pytest.raises(ValueError, match="there is a curve 'linear' already"):
        curve("linear")(lambda over, _place, _count: over)


def test_gates_are_moved_one_by_one() -> None:
    baseline = made("digits", seed=0)
    cut = apply(baseline, Plan(describe(baseline).model, {"blocks.0.mlp": "merge", "blocks.1.attn": "drop"}))
    objective = Progressive(cut, None, Schedule(("blocks.1.attn", "blocks.0.mlp"), "blocks", 1.0))
    cut.set_lambdas(objective.schedule.lams(TrainStep(30, 40, 0).share))
    assert [cut.sites[name].lam for name in ("blocks.1.attn", "blocks.0.mlp", "blocks.2.mlp")] == [0.0, 0.5, 1.0]
    assert cut.lam == 0.5
    assert objective.note(TrainStep(30, 40, 0)) == "lambda 0.25"
    with pytest.raises(ValueError, match=r"the plan cuts blocks\.0\.mlp, blocks\.1\.attn; lambdas came for"):
        cut.set_lambdas({"blocks.0.mlp": 0.5})
    with pytest.raises(ValueError, match=r"lambda runs from 1 to 0, not to 1\.5"):
        cut.set_lambdas({"blocks.0.mlp": 0.5, "blocks.1.attn": 1.5})
