"""Networks that compute something else than their classes say: opened as they are, or refused by name."""

import copy
import types
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import torch
from timm.models._efficientnet_blocks import InvertedResidual
from timm.models.convnext import ConvNeXtBlock
from timm.models.resnet import BasicBlock, ResNet
from timm.models.vision_transformer import Block as TransformerBlock
from timm.models.vision_transformer import Mlp, VisionTransformer
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from latency.devices.null import Null
from latency.mode import Mode
from latency.profiler import profile
from networks import disturbed, images_for, made, relative_error
from pruner.choices.choice import FITS
from pruner.choices.plan import Plan
from pruner.errors import OddModelError, PlanError
from pruner.models.load import load_model
from pruner.network.calibration import calibrate, estimate_batch_norm
from pruner.network.surgery import apply, describe, merge

# A network of each family, a block of it with an identity as its shortcut, a layer that is folded in there, and the
# site that this layer belongs to.
PLACES = {
    "deit": ("blocks.1", "blocks.1.mlp.fc2", "blocks.1.mlp"),
    "basic": ("layer1.1", "layer1.1.conv2", "layer1.1"),
    "bottleneck, deep stem": ("layer1.1", "layer1.1.conv3", "layer1.1"),
    "mobilenet": ("blocks.2.1", "blocks.2.1.conv_pwl", "blocks.2.1"),
    "convnext": ("stages.1.blocks.1", "stages.1.blocks.1.mlp.fc1", "stages.1.blocks.1"),
}

SHAPES = [pytest.param(shape, marks=[] if shape in ("deit", "mobilenet") else [pytest.mark.grid]) for shape in PLACES]
LAYER_SHAPES = [pytest.param(shape, marks=[] if shape == "deit" else [pytest.mark.grid]) for shape in PLACES]


def network(shape: str) -> nn.Module:
    """In float64, where rounding hides nothing."""
    if shape != "mobilenet":
        return made(shape, 0).double()
    torch.manual_seed(0)
    return disturbed(load_model("mobilenetv2_050", depth_multiplier=0.5, img_size=32, num_classes=5), seed=0).double()


class Halved(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


class Adapter(nn.Module):
    """A layer with a small one beside it, as LoRA has it."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer
        self.beside = copy.deepcopy(layer)
        self.beside.weight.data.mul_(0.3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x) + self.beside(x)
        return y


def of_another_class(module: nn.Module) -> None:
    """Makes a module one of a subclass that computes something else."""
    kind = type(module)
    module.__class__ = type("Mine", (kind,), {"forward": lambda self, x: kind.forward(self, x) * 1.5})  # type: ignore[assignment]


def with_a_method_of_its_own(module: nn.Module) -> None:
    kind = type(module)
    module.forward = types.MethodType(lambda self, x: kind.forward(self, x) * 1.5, module)  # type: ignore[method-assign]


def wrapped(model: nn.Module, name: str) -> None:
    model.set_submodule(name, Adapter(model.get_submodule(name)))


BLOCK: dict[str, Callable[[nn.Module], object]] = {
    "a hook": lambda block: block.register_forward_hook(lambda _module, _inputs, out: out * 1.5),
    "a pre-hook": lambda block: block.register_forward_pre_hook(lambda _module, inputs: (inputs[0] * 1.5,)),
    "a class below": of_another_class,
    "a method": with_a_method_of_its_own,
}
LAYER: dict[str, Callable[[nn.Module, str], object]] = {
    "a hook": lambda model, name: model.get_submodule(name).register_forward_hook(lambda _m, _i, out: out * 1.5),
    "a pre-hook": lambda model, name: model.get_submodule(name).register_forward_pre_hook(lambda _m, i: (i[0] * 1.5,)),
    "a class below": lambda model, name: of_another_class(model.get_submodule(name)),
    "a method": lambda model, name: with_a_method_of_its_own(model.get_submodule(name)),
    "a wrapper": wrapped,
    "a parametrisation": lambda model, name: parametrize.register_parametrization(
        model.get_submodule(name), "weight", Halved()
    ),
    "weight norm": lambda model, name: parametrizations.weight_norm(model.get_submodule(name)),
    "spectral norm": lambda model, name: parametrizations.spectral_norm(model.get_submodule(name)),
}


def check_every_way(model: nn.Module, plan: Plan) -> None:
    """At lambda 1 the model bit for bit, near it right below 1, and merged what it is at 0."""
    images = images_for(model, torch.float64)
    with torch.no_grad():
        expected = model(images)
        cut = apply(model, plan).eval()
        assert torch.equal(cut(images), expected)
        calibrate(cut, [images])
        cut.set_lambda(1 - 1e-6)
        assert relative_error(cut(images), expected) <= 1e-4
        cut.set_lambda(0.0)
        estimate_batch_norm(cut, [images])
        merged = merge(cut)
        assert relative_error(merged(images), cut(images)) <= 1e-10
        flowing = images
        for piece in cut.pieces(plan):
            flowing = piece.build()(flowing)
        assert relative_error(flowing, merged(images)) <= 1e-10


def all_cut(model: nn.Module, choice: str) -> Plan:
    chain = describe(model)
    return chain.plan({block.name: choice for block in chain.blocks if choice in block.choices})


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("oddness", BLOCK)
def test_an_odd_block_is_kept_and_the_others_are_cut(shape: str, oddness: str) -> None:
    model, plain = network(shape), network(shape)
    name = PLACES[shape][0]
    BLOCK[oddness](model.get_submodule(name))
    images = images_for(model, torch.float64)
    assert not torch.equal(model(images), plain(images)), "nothing is odd about it"
    chain = describe(model)
    (block,) = [block for block in chain.blocks if block.name == name]
    assert block.choices == ("keep",)
    # A layer can be fitted to whatever a block of an unknown class computes, not to what somebody put on a block.
    assert block.on_request == (fits_of(shape) if oddness == "a class below" else ())
    said = {
        "a hook": "has a forward hook",
        "a pre-hook": "has a forward pre-hook",
        "a class below": "a Mine is no block",
    }
    assert said.get(oddness, "has another forward than its class") in dict(block.refused)["merge"]
    with pytest.raises(PlanError, match=f"block {name} offers keep.*, not 'drop': "):
        apply(model, chain.plan({name: "drop"}))
    for choice in ("merge", "drop"):
        check_every_way(model, all_cut(model, choice))


def fits_of(shape: str) -> tuple[str, ...]:
    return FITS[:1] if shape == "deit" else FITS


@pytest.mark.parametrize("shape", LAYER_SHAPES)
@pytest.mark.parametrize("oddness", LAYER)
def test_a_site_with_an_odd_layer_is_dropped_but_not_merged(shape: str, oddness: str) -> None:
    model = network(shape)
    _, layer, site = PLACES[shape]
    LAYER[oddness](model, layer)
    chain = describe(model)
    (block,) = [block for block in chain.blocks if block.name == site]
    assert {"keep", "drop"} <= set(block.choices) <= {"keep", "drop", "shrink"}
    assert set(block.on_request) <= set(fits_of(shape))
    assert dict(block.refused)["merge"].startswith("its ")
    for choice in ("merge", "drop"):
        check_every_way(model, all_cut(model, choice))
    if "shrink" in block.choices:
        check_every_way(model, chain.plan({site: "shrink"}))


@pytest.mark.parametrize("oddness", LAYER)
@pytest.mark.parametrize("layer", ["qkv", "proj"])
def test_an_attention_with_an_odd_layer_may_be_dropped_alone(layer: str, oddness: str) -> None:
    model = network("deit")
    LAYER[oddness](model, f"blocks.1.attn.{layer}")
    chain = describe(model)
    (block,) = [block for block in chain.blocks if block.name == "blocks.1.attn"]
    assert block.choices == ("keep", "drop")
    assert "narrow" not in block.on_request
    check_every_way(model, chain.plan(dict.fromkeys(["blocks.1.attn", "blocks.0.mlp"], "drop")))
    for on_request in block.on_request:
        images = images_for(model, torch.float64)
        assert torch.equal(apply(model, chain.plan({"blocks.1.attn": on_request})).eval()(images), model(images))


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        ("deit", "blocks.1.norm1"),
        ("deit", "blocks.1.norm2"),
        ("deit", "blocks.1.attn"),
        ("deit", "blocks.1.mlp"),
        ("deit", "blocks.1.mlp.act"),
        pytest.param("deit", "blocks.1.mlp.norm", marks=pytest.mark.grid),
        ("deit", "blocks.1.ls2"),
        ("layer scale", "blocks.1.ls2"),
        pytest.param("deit", "blocks.1.drop_path1", marks=pytest.mark.grid),
        ("deit", "patch_embed"),
        ("deit", "norm"),
        pytest.param("deit", "head", marks=pytest.mark.grid),
        ("basic", "conv1"),
        ("basic", "bn1"),
        pytest.param("basic", "layer1.1.bn1", marks=pytest.mark.grid),
        ("basic", "layer1.1.bn2.bias"),
        ("basic", "layer2.0.downsample"),
        pytest.param("basic", "layer2.0.downsample.0", marks=pytest.mark.grid),
        pytest.param("basic", "layer2.0.downsample.1", marks=pytest.mark.grid),
        ("basic", "layer1.1.act2"),
        pytest.param("basic", "fc", marks=pytest.mark.grid),
        ("bottleneck, deep stem", "conv1"),
        ("bottleneck, deep stem", "conv1.1"),
        pytest.param("bottleneck, deep stem", "layer2.0.downsample.0", marks=pytest.mark.grid),
        ("mobilenet", "conv_stem"),
        ("mobilenet", "bn2"),
        ("mobilenet", "blocks.2.1.bn1"),
        pytest.param("mobilenet", "blocks.2.1.drop_path", marks=pytest.mark.grid),
        ("convnext", "stem"),
        ("convnext", "stages.1.downsample"),
        pytest.param("convnext", "stages.1.blocks.1.norm", marks=pytest.mark.grid),
        ("convnext", "stages.1.blocks.1.mlp"),
        pytest.param("convnext", "stages.1.blocks.1.mlp.norm", marks=pytest.mark.grid),
        ("convnext", "stages.1.blocks.1.shortcut"),
        pytest.param("convnext", "head.fc", marks=pytest.mark.grid),
    ],
)
def test_a_hook_anywhere_stays_where_it_is(shape: str, name: str) -> None:
    model, plain = network(shape), network(shape)
    if name.endswith(".bias"):
        name = name.removesuffix(".bias")
        model.get_submodule(name).register_forward_hook(lambda _module, _inputs, out: out + 0.1)
    else:
        model.get_submodule(name).register_forward_hook(lambda _module, _inputs, out: out * 1.5)
    images = images_for(model, torch.float64)
    assert not torch.equal(model(images), plain(images)), "nothing is odd about it"
    for choice in ("merge", "drop"):
        check_every_way(model, all_cut(model, choice))


@pytest.mark.parametrize(
    ("shape", "kind", "site"),
    [("mobilenet", InvertedResidual, "blocks.2.1"), ("deit", Mlp, "blocks.0.mlp")],
)
def test_a_class_changed_for_all_is_found_by_what_it_computes(
    shape: str, kind: type[nn.Module], site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network(shape)
    before: Any = kind.forward
    monkeypatch.setattr(kind, "forward", lambda self, x: before(self, x) * 1.5)
    chain = describe(model)
    (block,) = [block for block in chain.blocks if block.name == site]
    assert block.choices == ("keep",)
    assert "computes something else than its layers in turn" in dict(block.refused)["merge"]
    check_every_way(model, chain.random_plan(0.7, Random(0)))


@pytest.mark.parametrize(("shape", "kind"), [("basic", BasicBlock), ("convnext", ConvNeXtBlock)])
def test_where_that_is_so_of_all_blocks_only_layers_can_stand_in(
    shape: str, kind: type[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network(shape)
    before: Any = kind.forward
    monkeypatch.setattr(kind, "forward", lambda self, x: before(self, x) * 1.5)
    chain = describe(model)
    assert all(block.choices == ("keep",) for block in chain.blocks)
    assert all("something else than its layers in turn" in dict(block.refused)["merge"] for block in chain.blocks)
    fits = {block.name: "fit" for block in chain.blocks if "fit" in block.on_request}
    assert fits
    check_every_way(model, chain.plan(fits))


def test_a_transformer_block_changed_for_all_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network("deit")
    before: Any = TransformerBlock.forward
    monkeypatch.setattr(TransformerBlock, "forward", lambda self, x: before(self, x) * 1.5)
    with pytest.raises(OddModelError, match=r"beginning in blocks\.0, a Block"):
        describe(model)


def closing_over(model: Any) -> None:
    block = model.blocks[1]
    before = block.forward
    block.forward = lambda x: before(x) * 1.5


def closing_over_a_layer(model: Any) -> None:
    beside = nn.Linear(24, 24).double()
    model.blocks[1].register_forward_hook(lambda _module, inputs, out: out + beside(inputs[0]))


def compiled(model: Any) -> None:
    model.blocks[1].compile()


def pruned(model: Any) -> None:
    prune.l1_unstructured(model.blocks[1].mlp.fc1, "weight", amount=0.5)


def hooked(name: str) -> Callable[[Any], object]:
    return lambda model: model.get_submodule(name).register_forward_hook(lambda _module, _inputs, out: out * 1.5)


def other_features(model: Any) -> None:
    model.forward_features = types.MethodType(lambda self, x: VisionTransformer.forward_features(self, x) * 1.5, model)


class Doubling(VisionTransformer):
    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        return super().forward(x) * 2


def doubling(model: Any) -> None:
    model.__class__ = Doubling


class Restless(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * torch.rand(())


def restless(model: Any) -> None:
    model.blocks[1].mlp.fc1.__class__ = Restless


class Handle:
    """What cannot be copied."""

    def __deepcopy__(self, memo: object) -> None:
        raise TypeError("cannot be copied")


def holding(model: Any) -> None:
    model.blocks[1].handle = Handle()


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        (closing_over, r"blocks\.1 of VisionTransformer cannot be copied: its forward holds on to modules or weights"),
        (closing_over_a_layer, r"blocks\.1 of VisionTransformer cannot be copied: its forward hook holds on to"),
        (compiled, r"blocks\.1 of VisionTransformer cannot be copied: it is compiled; open it first"),
        (pruned, r"blocks\.1\.mlp\.fc1 of .* its weight was computed from other weights.*prune\.remove"),
        (holding, r"this VisionTransformer cannot be copied \(TypeError: cannot be copied\): take off"),
        (hooked(""), r"this VisionTransformer would be another network .*: its VisionTransformer has a forward hook"),
        (hooked("blocks"), r"^blocks of VisionTransformer would be another network .* Sequential has a forward hook"),
        (other_features, r"its VisionTransformer has another forward_features than its class"),
        (doubling, r"this Doubling does something between blocks\.2\.mlp and its end"),
        (restless, r"beginning in blocks\.1, a Block: .* not the same each time"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(change: Callable[[Any], object], answer: str) -> None:
    model = network("deit")
    change(model)
    with pytest.raises(OddModelError, match=answer):
        describe(model)


@pytest.mark.parametrize(("shape", "name"), [("basic", "layer1"), ("mobilenet", "blocks.2"), ("convnext", "stages.1")])
def test_what_was_put_on_a_stage_is_refused(shape: str, name: str) -> None:
    model = network(shape)
    hooked(name)(model)
    with pytest.raises(OddModelError, match=f"^{name} of .* has a forward hook, and blocks that are cut lie in it"):
        describe(model)


def test_opening_leaves_modes_and_random_numbers_alone() -> None:
    model = network("basic").train()
    model.get_submodule("bn1").eval()
    modes = [module.training for module in model.modules()]
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    describe(model)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.rand(4), expected)


def test_weights_that_are_no_numbers_are_no_oddity() -> None:
    model = network("deit")
    model.get_submodule("blocks.1.mlp.fc1").weight.data[0, 0] = torch.nan  # type: ignore[index, operator]
    assert len(describe(model).blocks) == 6


def test_an_odd_network_has_a_table_of_its_own() -> None:
    plain, odd = made("basic", 0), made("basic", 0)
    odd.get_submodule("layer1.1.conv2").register_forward_hook(lambda _module, _inputs, out: out * 1.5)
    assert describe(odd).fingerprint != describe(plain).fingerprint
    table = profile(odd, Null(Mode(1)))
    assert any(row.signature.endswith("of layer1.1") for row in table.rows)


def test_a_resnet_whose_forward_is_its_own_is_read_from_what_it_computes() -> None:
    class Mine(ResNet):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 2

    model = network("basic")
    model.__class__ = Mine
    chain = describe(model)
    assert chain.family == "traced"
    check_every_way(model, chain.random_plan(0.7, Random(0)))
