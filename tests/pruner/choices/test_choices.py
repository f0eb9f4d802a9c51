"""What is known of each choice is known in one place, and the families agree with it."""

import pytest

from networks import in_a_row
from pruner.choices.choice import CHOICES, DROP, FITS, FOLDS, KEEP, OWN_WEIGHTS, SHARES
from pruner.models.load import load_model
from pruner.network.surgery import describe

NETWORKS = ("test_vit", "convnext_atto", "mobilenetv2_050", "resnet18", "resnet50")


def test_each_is_told_from_every_other() -> None:
    assert all(name == choice.name for name, choice in CHOICES.items())
    for facts in ("label", "colour"):
        assert len({getattr(choice, facts) for choice in CHOICES.values()}) == len(CHOICES)
    assert (next(iter(CHOICES)), next(reversed(CHOICES))) == (KEEP, DROP)


def test_the_groups_follow_from_the_facts() -> None:
    assert FOLDS == ("merge", "separable", "shrink")
    assert FITS == ("fit", "fit-3x3", "fit-separable")
    assert dict(SHARES) == {"narrow-75": 0.75, "narrow-50": 0.5, "narrow-25": 0.25}
    assert set(OWN_WEIGHTS) == {name for name, choice in CHOICES.items() if choice.weights == "fitted"}


@pytest.mark.parametrize("name", NETWORKS)
def test_families_have_on_request_what_is(name: str) -> None:
    for block in describe(load_model(name)).blocks:
        assert not [choice for choice in block.choices if CHOICES[choice].on_request]
        assert all(CHOICES[choice].on_request for choice in block.on_request)


def test_narrower_ones_stand_before_what_keeps_less() -> None:
    widths = [choice.width for choice in CHOICES.values() if choice.width < 1]
    assert widths == sorted(widths, reverse=True)
    block = describe(in_a_row("deit")).blocks[1].offering(SHARES)
    assert [CHOICES[choice].width for choice in block.choices if choice in SHARES] == widths
