"""A network that loses little before any training learns at a smaller rate."""

import pytest
import torch

from pruner.choices.choice import DROP
from pruner.choices.plan import Plan
from pruner.data.digits import DigitScenes
from pruner.models.load import load_model
from pruner.network.surgery import apply, describe
from pruner.training.accuracy import accuracy
from pruner.training.objective import light_copy
from pruner.training.pace import MUCH, lost_before_training, paced
from pruner.training.settings import Optimizing, TrainSettings

SETTINGS = TrainSettings(epochs=3, optimizing=Optimizing(lr=0.01, opt="sgd"))
DATA = DigitScenes(calibration_images=80)


@pytest.mark.parametrize(
    ("lost", "share"), [(-0.3, 0.2), (0.0, 0.2), (MUCH / 5, 0.2), (MUCH / 2, 0.5), (MUCH, 1.0), (0.9, 1.0)]
)
def test_the_rate_is_in_proportion_to_what_is_lost(lost: float, share: float) -> None:
    found = paced(SETTINGS, lost, least=0.2)
    assert found.optimizing.lr == pytest.approx(0.01 * share)
    assert (found.epochs, found.optimizing.opt) == (3, "sgd")
    assert paced(SETTINGS, lost, least=1.0) == SETTINGS


def test_what_is_lost_is_what_closed_gates_cost() -> None:
    whole = load_model("deit_digits", pretrained=True).eval()
    chain = describe(whole)
    cut = apply(whole, chain.plan({block.name: DROP for block in chain.blocks[:6]}))
    with torch.no_grad():
        dropped = accuracy(whole, DATA.calibration_batches(batch_size=80))
        cut.set_lambda(0.0)
        dropped -= accuracy(cut, DATA.calibration_batches(batch_size=80))
    cut.set_lambda(1.0)
    assert lost_before_training(cut, light_copy(whole), DATA) == pytest.approx(dropped)
    assert dropped > MUCH, "six blocks of 24 are missed, so that this says something"


def test_nothing_is_lost_where_nothing_is_cut() -> None:
    whole = load_model("deit_digits", pretrained=True).eval()
    cut = apply(whole, Plan(describe(whole).model))
    assert lost_before_training(cut, whole, DATA) == 0
