"""One suite for every family: real networks of timm under random plans, with random statistics and layer scales.

A new family adds its names to `NETWORKS` and inherits the rest.
"""

import copy
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rounding
from latency.devices.ort import open_session
from latency.onnx_graph import to_onnx
from networks import BATCH_NORM, disturbed, images_for, relative_error
from pruner.choices.plan import Plan
from pruner.errors import UnknownModelError
from pruner.models.load import load_model
from pruner.network.calibration import calibrate, estimate_batch_norm
from pruner.network.surgery import Cut, apply, describe, merge

# Images are odd and not square where the network takes any size, and small: what goes wrong at borders does so in small
# maps. The largest networks are made shallower and thinner, which leaves out no kind of block.
_ANY_SIZE = """
    resnet18 resnet26d seresnet18 test_resnet
    mobilenetv2_050 mobilenetv2_100 mobilenetv2_140 mnasnet_100 mobilenetv3_large_100 mobilenetv4_conv_small
    efficientnet_lite0 efficientnet_lite1 efficientnet_lite2 efficientnet_b0 efficientnet_es efficientnetv2_rw_t
    tf_efficientnet_lite0 test_efficientnet
    convnext_atto convnext_femto convnext_pico convnextv2_atto test_convnext
"""
_ODD = (40, 47)
_THIN = {"img_size": _ODD, "channels": (32, 64, 64, 96)}
_OTHERS: dict[str, dict[str, Any]] = {
    "resnet34": _THIN | {"layers": (3, 2, 3, 2)},
    "resnet50": _THIN | {"layers": (2, 3, 2, 2)},
    "resnet101": _THIN | {"layers": (2, 2, 3, 2)},
    "resnet50_gn": _THIN | {"layers": (2, 2, 2, 2)},
    "wide_resnet50_2": _THIN | {"layers": (2, 2, 2, 1)},
    "resnext50_32x4d": _THIN | {"layers": (2, 2, 2, 1)},
    "convnext_nano": {"img_size": _ODD, "depths": (2, 2, 3, 2), "dims": (24, 48, 64, 96)},
    "convnext_tiny": {"img_size": _ODD, "depths": (2, 2, 3, 2), "dims": (24, 48, 64, 96)},
    "convnext_small": {"img_size": _ODD, "depths": (2, 2, 6, 1), "dims": (24, 48, 64, 96)},
    "deit_tiny_patch16_224": {"img_size": 64},
    "deit_small_patch16_224": {"img_size": 64, "depth": 6, "embed_dim": 192},
    "deit_base_patch16_224": {"img_size": 64, "depth": 3, "embed_dim": 192},
    "deit_tiny_distilled_patch16_224": {"img_size": (48, 64)},
    "deit3_small_patch16_224": {"img_size": (64, 48), "depth": 6, "embed_dim": 192},
    "vit_tiny_patch16_224": {"img_size": (64, 48)},
    "vit_small_patch16_224": {"img_size": 64, "depth": 6, "embed_dim": 192},
    "vit_base_patch16_224": {"img_size": 64, "depth": 3, "embed_dim": 192},
    "vit_medium_patch16_reg4_gap_256": {"img_size": 64, "depth": 6, "embed_dim": 192},
    "test_vit": {"img_size": 64},
    "test_vit3": {"img_size": 64},
}
NETWORKS = {name: {"img_size": _ODD} for name in _ANY_SIZE.split()} | _OTHERS
# Other sizes of what the rest holds already: with `make coverage`.
_SIZES = """
    resnet18 resnet26d resnet34 resnet101 wide_resnet50_2 mobilenetv2_100 mobilenetv2_140 mnasnet_100
    efficientnetv2_rw_t efficientnet_lite0 efficientnet_lite1 efficientnet_lite2 efficientnet_b0
    convnext_atto convnext_femto convnext_pico convnext_nano convnext_tiny convnext_small
    deit_tiny_patch16_224 deit_small_patch16_224 deit_base_patch16_224 deit3_small_patch16_224
    vit_tiny_patch16_224 vit_small_patch16_224 vit_base_patch16_224
"""


@dataclass(frozen=True)
class Case:
    """A network, a random plan of it, and the network cut by the plan, closed and in evaluation."""

    model: nn.Module
    plan: Plan
    images: Tensor

    @cached_property
    def baseline(self) -> Tensor:
        return output(self.model, self.images)

    @cached_property
    def _cut(self) -> tuple[Cut, Tensor]:
        """The cut network, closed, and what it gave before that, at lambda 1."""
        cut = apply(self.model, self.plan).eval()
        at_one = output(cut, self.images)
        calibrate(cut, [self.images])
        cut.set_lambda(0.0)
        estimate_batch_norm(cut, [self.images])
        return cut, at_one

    @property
    def closed(self) -> Cut:
        return self._cut[0]

    @property
    def at_lambda_one(self) -> Tensor:
        return self._cut[1]

    @cached_property
    def exact(self) -> Cut:
        """The closed network in float64."""
        return copy.deepcopy(self.closed).double()

    @cached_property
    def merged(self) -> nn.Module:
        return merge(self.closed)

    @cached_property
    def found(self) -> Tensor:
        return output(self.merged, self.images)

    @cached_property
    def exactly_expected(self) -> Tensor:
        return output(self.exact, self.images.double())

    @cached_property
    def rounding(self) -> float:
        """How far the merged network in float32 may be from itself in exact arithmetic, on any processor: a hundred
        layers of random weights magnify what is rounded."""
        bound = rounding.of_a_network(self.merged, self.images[:2])
        assert bound < 1e-3, "what allows that much tells nothing"
        return bound


def output(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = network(images)
    return logits


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.grid] if name in _SIZES.split() else []) for name in NETWORKS],
)
def case(request: pytest.FixtureRequest) -> Case:
    name = request.param
    torch.manual_seed(0)
    model = disturbed(load_model(name, **NETWORKS[name], num_classes=100), seed=0)
    images = images_for(model, torch.float32)
    return Case(model, whole_plan(model, Random(name)), images)


def whole_plan(model: nn.Module, random: Random) -> Plan:
    """A random plan in which every choice that any block offers stands at least once, those on request too."""
    chain = describe(model)
    choices = dict(chain.random_plan(0.5, random).choices)
    offered = {choice for block in chain.blocks for choice in block.choices[1:] + block.on_request}
    for choice in sorted(offered):
        blocks = [block.name for block in chain.blocks if choice in block.choices + block.on_request]
        choices[random.choice(blocks)] = choice
    return chain.plan(choices)


def test_at_lambda_one_it_is_the_baseline_bit_for_bit(case: Case) -> None:
    assert torch.equal(case.at_lambda_one, case.baseline)


def test_merged_it_computes_what_it_did_in_float32(case: Case) -> None:
    assert relative_error(case.found.double(), case.exactly_expected) <= case.rounding


def test_merged_it_computes_what_it_did_in_float64(case: Case) -> None:
    assert relative_error(output(merge(case.exact), case.images.double()), case.exactly_expected) <= 1e-10


def test_onnx_runtime_agrees_with_pytorch(case: Case) -> None:
    session = open_session(to_onnx(case.merged, case.images[:1]).SerializeToString(), threads=2)
    (logits,) = session.run(None, {session.get_inputs()[0].name: case.images.numpy()})
    found = torch.from_numpy(logits).double()
    assert relative_error(found, case.exactly_expected) <= case.rounding
    # The same answers, but where two are nearer to each other than rounding can tell.
    best, chosen = case.exactly_expected.amax(1), case.exactly_expected.gather(1, found.argmax(1, keepdim=True))[:, 0]
    assert (best - chosen).max() <= 2 * case.rounding * case.exactly_expected.abs().max()


def test_nothing_of_ours_is_left_in_it(case: Case) -> None:
    ours = ("pruner", "latency", "profiles", "search", "depthfinder")
    assert not [module for module in case.merged.modules() if type(module).__module__.partition(".")[0] in ours]


def test_keeping_all_is_the_baseline_with_its_batch_norms_folded(case: Case) -> None:
    model = copy.deepcopy(case.model).double()
    keep_all = apply(model, Plan(case.plan.model))
    keep_all.set_lambda(0.0)
    folded = merge(keep_all)
    images = case.images.double()
    assert relative_error(output(folded, images), output(model, images)) <= 1e-10
    if not any("Same" in type(module).__name__ for module in model.modules()):
        assert not [module for module in folded.modules() if isinstance(module, BATCH_NORM)]


@pytest.mark.parametrize(
    ("name", "block", "choice", "reason"),
    [
        ("efficientnet_b0", "blocks.2.1", "merge", "SqueezeExcite weighs channels by the image itself and cannot fold"),
        ("seresnet18", "layer1.1", "merge", "SEModule weighs channels by the image itself"),
        ("tf_efficientnet_lite0", "blocks.1.0", "merge", "Conv2dSame is no plain convolution"),
        ("convnextv2_atto", "stages.0.blocks.0", "separable", "GlobalResponseNormMlp normalizes by the whole image"),
        ("resnet18", "layer2.0", "drop", "no shortcut that hands on its input as it is"),
        ("deit_tiny_patch16_224", "blocks.0.attn", "merge", "an attention weighs tokens by the image itself"),
        ("test_vit4", "blocks.0.mlp", "merge", "its RmsNorm has no BatchNorm to switch to"),
        ("resnetaa50", "layer2.0", "merge", "its AvgPool2d resamples and does not fold"),
        ("mobilenetv4_hybrid_medium", "blocks.2.4", "merge", "a MobileAttention is no block this family knows"),
    ],
)
def test_what_cannot_be_had_is_refused_with_its_reason(name: str, block: str, choice: str, reason: str) -> None:
    chain = describe(load_model(name))
    found = {one.name: dict(one.refused) for one in chain.blocks}
    assert reason in found[block][choice]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        (
            "densenet121",
            "features.denseblock1.denselayer3: a DenseLayer is given tensors in lists",
        ),
    ],
)
def test_a_network_that_cannot_be_cut_gets_a_clear_answer(name: str, answer: str) -> None:
    with pytest.raises(UnknownModelError, match=answer):
        describe(load_model(name))
