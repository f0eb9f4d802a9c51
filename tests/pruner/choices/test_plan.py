import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruner.choices.plan import Plan
from pruner.errors import PlanError

choices = st.dictionaries(st.text(), st.sampled_from(["keep", "merge", "drop", "Ünïcode"]), max_size=8)


@given(st.text(), choices)
def test_a_plan_survives_its_json(model: str, choices: dict[str, str]) -> None:
    plan = Plan(model=model, choices=choices)
    assert Plan.from_json(plan.to_json()) == plan


@given(choices, st.randoms())
def test_plans_that_do_the_same_are_the_same(choices: dict[str, str], random: object) -> None:
    shuffled = list(choices.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    cuts = {block: choice for block, choice in shuffled if choice != "keep"}
    plan, same = Plan("net", choices), Plan("net", cuts)
    assert plan == same
    assert hash(plan) == hash(same)
    assert plan.to_json() == same.to_json()


def test_a_plan_is_frozen() -> None:
    given = {"blocks.0.mlp": "merge"}
    plan = Plan("net", given)
    given["blocks.1.mlp"] = "drop"
    assert dict(plan.choices) == {"blocks.0.mlp": "merge"}
    with pytest.raises(TypeError):
        plan.choices["blocks.1.mlp"] = "drop"  # type: ignore[index]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"schema": "depthfinder.plan/2", "model": "net", "choices": {}}',
        '{"schema": "depthfinder.plan/1", "model": 3, "choices": {}}',
        '{"schema": "depthfinder.plan/1", "model": "net", "choices": {"a": 1}}',
        json.dumps({"schema": "depthfinder.plan/1", "model": "net"}),
    ],
)
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(PlanError):
        Plan.from_json(text)
