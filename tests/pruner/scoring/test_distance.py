"""Scores without labels: how near a plan's outputs are to the uncut network's."""

import math
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from networks import images_for, made
from pruner.choices.plan import Plan
from pruner.models.load import load_model
from pruner.network.surgery import apply, supernet
from pruner.scoring.distance import distance_of, divergence, relative_square
from pruner.scoring.evaluator import Evaluator
from pruner.scoring.score import DistanceTally


def test_equal_outputs_are_at_no_distance_and_others_are() -> None:
    one, other = torch.randn(5, 7), torch.randn(5, 7)
    for distance in (divergence, relative_square):
        assert distance(one, one).tolist() == pytest.approx([0.0] * 5, abs=1e-12)
        assert (distance(other, one) > 0).all()
    assert divergence(one + 3, one).tolist() == pytest.approx([0.0] * 5, abs=1e-6), "a constant changes no answer"


def test_the_divergence_is_the_cross_entropy_less_what_the_baseline_has_of_its_own() -> None:
    found, reference = torch.randn(4, 6).double(), torch.randn(4, 6).double()
    wanted = reference.softmax(1)
    crossed = functional.cross_entropy(found, wanted, reduction="none")
    own = functional.cross_entropy(reference, wanted, reduction="none")
    assert torch.allclose(divergence(found, reference), crossed - own)


def test_features_of_size_zero_are_at_no_distance_from_themselves() -> None:
    assert relative_square(torch.zeros(2, 3), torch.zeros(2, 3)).tolist() == [0.0, 0.0]


def test_a_network_without_a_classifier_is_judged_by_its_features() -> None:
    small = {"img_size": 32, "patch_size": 16, "embed_dim": 12, "depth": 1, "num_heads": 2}
    assert distance_of(load_model("deit_tiny_patch16_224", **small, num_classes=0)) is relative_square
    assert distance_of(load_model("deit_tiny_patch16_224", **small, num_classes=3)) is divergence


@given(st.lists(st.floats(0, 50), min_size=1, max_size=12), st.data())
def test_no_plan_comes_to_more_than_its_bound(distances: list[float], data: st.DataObject) -> None:
    tally = DistanceTally(total=len(distances))
    bounds = []
    for place, distance in enumerate(distances):
        tally.add(1, 0, data.draw(st.integers(0, 1)), distance)
        bounds.append(tally.bound)
        assert tally.score().value <= tally.bound
        assert tally.images == place + 1
    value = tally.score().value
    assert value == pytest.approx(math.exp(-sum(distances) / len(distances)) * len(distances) / (len(distances) + 1))
    assert all(bound >= value for bound in bounds)
    assert bounds == sorted(bounds, reverse=True)
    assert 0 <= value < 1


@pytest.mark.parametrize("labels", [0, 3])
def test_plans_are_ranked_by_it_and_labels_are_not_looked_at(labels: int) -> None:
    model = made("deit", 0)
    network, images = supernet(model), images_for(model, torch.float32)
    plans = [Plan(network.chain.model), *(network.chain.random_plan(0.5, Random(seed)) for seed in range(4))]
    batches = [(part, torch.full((len(part),), labels)) for part in images.split(4)]
    scores = Evaluator(network, batches, distance=divergence)(plans)
    with torch.no_grad():
        whole = model(images)
        for plan, score in zip(plans, scores, strict=True):
            cut = apply(model, plan).eval()
            cut.set_lambda(0.0)
            found = cut(images)
            assert score.distance == pytest.approx(float(divergence(found, whole).mean()), rel=1e-3, abs=1e-9)
            assert score.agreement == pytest.approx(float((found.argmax(1) == whole.argmax(1)).float().mean()))
            assert score.value == pytest.approx(math.exp(-float(score.distance or 0.0)) * 6 / 7)
            assert score.accuracy is score.cross_entropy is None
    assert scores[0].value == max(score.value for score in scores)
