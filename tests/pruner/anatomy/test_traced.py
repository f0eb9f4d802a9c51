"""Networks that no family knows: blocks found in what they compute, cut exactly, or refused by name."""

import copy
import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
import torchvision
from own_networks import Bisenet, Convs, Layer, Lists, Plain, Recorded, Tokens, TwoHeads, UNet, Yolo
from torch import Tensor, nn
from torch.nn import functional

import depthfinder as df
from depthfinder.testing import FamilySuite
from latency.devices import known_device, open_device
from latency.kit.torch_runner import TorchRunner
from latency.kit.writer import write_kit
from latency.mode import Mode
from latency.workbench import Workbench
from pruner._timm import create_model
from pruner.errors import OddModelError, UnknownModelError
from pruner.fitting.in_sequence import fit_in_sequence
from pruner.fitting.spans import followers_of
from pruner.network.surgery import OpenNetwork
from pruner.scoring.evaluator import Evaluator


def _small(name: str, **kwargs: object) -> Callable[[], nn.Module]:
    return lambda: create_model(name, **kwargs)


# The classes above, torchvision's, and timm's that no family knows; how many blocks each has.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "own tokens": (Tokens, 6),
    "own convolutions": (Convs, 3),
    "own U-Net": (UNet, 4),
    "own without skips": (Plain, 3),
    "own with lists": (Lists, 6),
    "own recorded": (Recorded, 6),
    "own YOLO": (Yolo, 8),
    "own BiSeNet": (Bisenet, 6),
    "own with two heads": (TwoHeads, 8),
    "torchvision resnet18": (lambda: torchvision.models.resnet18(num_classes=10), 8),
    "torchvision mnasnet0_5": (lambda: torchvision.models.mnasnet0_5(num_classes=10), 10),
    "timm swin": (
        _small("swin_tiny_patch4_window7_224", img_size=56, embed_dim=12, depths=(1, 2, 1, 1), num_heads=(1, 2, 3, 4)),
        10,
    ),
    "timm regnetx_002": (_small("regnetx_002", num_classes=10), 13),
    "timm pvt": (_small("pvt_v2_b0", num_classes=10), 16),
    "timm dla": (_small("dla46x_c", num_classes=10), 18),
    "torchvision shufflenet": (lambda: torchvision.models.shufflenet_v2_x0_5(num_classes=10), 22),
}


def network_called(name: str) -> nn.Module:
    torch.manual_seed(0)
    network: Any = NETWORKS[name][0]().eval()
    network.pretrained_cfg = {"input_size": (3, 56, 56) if name == "timm swin" else (3, 64, 64)}
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):  # not at their initial values
                module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
                module.weight.uniform_(0.5, 1.5)
    return network


@pytest.fixture(params=NETWORKS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestSuite(FamilySuite):
    """What every family promises."""

    @pytest.fixture
    def network(self, name: str) -> nn.Module:
        return network_called(name)


def test_blocks_are_found_and_weights_are_left_alone(name: str) -> None:
    network = network_called(name)
    before = copy.deepcopy(network.state_dict())
    chain = df.describe(network)
    assert chain.family == "traced"
    assert len(chain.blocks) == NETWORKS[name][1]
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("layer", range(3))
@pytest.mark.parametrize(("block", "last"), [("attention", "attention.proj"), ("up", "down")])
def test_a_dropped_branch_is_the_untouched_network_with_that_branch_at_zero(layer: int, block: str, last: str) -> None:
    network = network_called("own tokens")
    opened = df.apply(network, df.describe(network).plan({f"layers.{layer}.{block}": "drop"})).eval()
    opened.set_lambda(0.0)
    zeroed = copy.deepcopy(network)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in zeroed.get_submodule(f"layers.{layer}.{last}").parameters():
            parameter.zero_()
        torch.testing.assert_close(opened(images), zeroed(images), rtol=0, atol=0)


@pytest.mark.parametrize("wrapped", [nn.DataParallel, torch.compile], ids=["DataParallel", "torch.compile"])
def test_a_wrapped_network_is_opened_as_what_it_wraps(wrapped: Callable[[nn.Module], nn.Module]) -> None:
    network = network_called("own tokens")
    assert df.describe(wrapped(network)) == df.describe(network)


def test_it_goes_through_table_search_and_export(tmp_path: Path) -> None:
    network = network_called("own convolutions")
    chain, table = (
        df.describe(network, input_size=(3, 32, 32)),
        df.profile(network, "null", max_seconds=0.1, input_size=(3, 32, 32)),
    )
    found = df.search(
        chain,
        table,
        budget_ms=0.8 * table.baseline_ms,
        evaluate=lambda plans: [-len(p.choices) for p in plans],
        n_trials=8,
    )
    cut = df.apply(network, found.best.plan, input_size=(3, 32, 32)).eval()
    cut.set_lambda(0.0)
    parity = df.export(df.merge(cut), tmp_path / "merged.onnx")
    assert parity.same_top1 == parity.images


class ByTheImage(Tokens):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.mean() > 0 else -x)


class Twice(nn.Module):
    """One layer, run twice."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.layer = Tokens(), Layer(16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.tokens.patches(x).flatten(2).transpose(1, 2)
        y: Tensor = self.tokens.out(self.layer(self.layer(x)).mean(1))
        return y


class InTraining(Layer):
    """It does something of its own in training, which no graph of its evaluation has."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(super().forward(x), 0.5, self.training)


class Noisy(Tokens):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(InTraining(16) for _ in range(2))


class Writing(Convs):
    """Its first block writes into its input, in code of its own."""

    class Basic(Convs.Basic):
        def forward(self, x: Tensor) -> Tensor:
            return x + self.bn2(self.conv2(self.bn1(self.conv1(x.mul_(2.0)))))

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(self.Basic(8, 8, 1), Convs.Basic(8, 16, 2))


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (ByTheImage, "cannot be recorded: it goes by the values of a tensor"),
        (Twice, "layer: a Layer is not run once, or is given something other than tensors and numbers"),
        (Writing, "body.0 of this Writing writes into the tensor that it is given"),
        (Noisy, "the code of InTraining computes something else in training"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten()), "it has no branch beside a skip"),
    ],
    ids=["by the image", "twice", "writing", "in training", "no skip"],
)
def test_what_cannot_be_cut_rightly_is_refused_with_the_reason(network: Callable[[], nn.Module], why: str) -> None:
    torch.manual_seed(0)
    with pytest.raises((UnknownModelError, OddModelError), match=why):
        OpenNetwork(network().eval(), input_size=(3, 32, 32))


class ByValue(nn.Module):
    """A block whose forward goes by the values of what it is given, so that nothing can be read of it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.conv(x)
        return y if y.mean() > x.mean() else 0.5 * y


class Growing(ByValue):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, super().forward(x)], 1)


def test_a_block_named_by_hand_is_one_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pruner.anatomy.registered._CLASSES", set())
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), ByValue(), ByValue(), Growing(), nn.AdaptiveAvgPool2d(1))
    network.append(nn.Flatten()).append(nn.Linear(16, 10))
    with pytest.raises(UnknownModelError, match="cannot be recorded: it goes by the values of a tensor"):
        df.describe(network, input_size=(3, 32, 32))
    assert df.register(ByValue) is ByValue
    df.register(Growing)
    chain = df.describe(network, input_size=(3, 32, 32))
    assert [(block.name, block.choices) for block in chain.blocks] == [("1", ("keep", "drop")), ("2", ("keep", "drop"))]
    assert dict(chain.left_alone)["3"] == "a Growing is no block: it has to give the shape of the one tensor it takes"
    cut, images = df.apply(network, chain.plan({"1": "drop"}), input_size=(3, 32, 32)).eval(), torch.randn(2, 3, 32, 32)
    cut.set_lambda(0.0)
    with torch.no_grad():
        expected = nn.Sequential(*(layer for place, layer in enumerate(network) if place != 1))(images)
        assert torch.equal(cut(images), expected)
        torch.testing.assert_close(df.merge(cut)(images), expected)


def test_random_plans_are_the_network_at_one_and_merge_at_zero() -> None:
    network = network_called("own tokens").double()
    chain, images = df.describe(network), torch.randn(2, 3, 64, 64, dtype=torch.float64)
    for seed in range(3):
        cut = df.apply(network, chain.random_plan(0.6, Random(seed))).eval()
        with torch.no_grad():
            assert torch.equal(cut(images), network(images))
            cut.set_lambda(0.0)
            torch.testing.assert_close(df.merge(cut)(images), cut(images), rtol=1e-10, atol=1e-10)


def cut_of_the_u_net() -> tuple[nn.Module, df.Plan, nn.Module]:
    """The network, a plan that drops a block beside a longer skip and merges another, and what it merges to."""
    network = network_called("own U-Net")
    plan = df.describe(network).plan({"wide.0": "merge", "deep.1": "drop", "wide.1": "drop"})
    cut = df.apply(network, plan).eval()
    cut.set_lambda(0.0)
    return network, plan, df.merge(cut)


@pytest.mark.parametrize("device", ["cpu", "ort-cpu"])
def test_pieces_are_joined_past_longer_skips(device: str) -> None:
    network, plan, merged = cut_of_the_u_net()
    bench = Workbench(network, open_device(device), 2)
    program = bench.program_of(plan)
    if device == "cpu":
        with torch.no_grad():
            found = program._network(bench.images)  # type: ignore[attr-defined]
    else:
        (logits,) = program._session.run(None, program._feed)  # type: ignore[attr-defined]
        found = torch.from_numpy(logits)
    expected = merged(bench.images).detach()
    # The weights of each place are told apart by thousandths; a wrong graph would be off by far more.
    torch.testing.assert_close(found, expected, rtol=0, atol=0.05 * float(expected.abs().max()))
    for key in bench.network_keys(plan):
        bench.alone(key).run()


def test_a_kit_joins_its_graphs_past_longer_skips(tmp_path: Path) -> None:
    network, _, _ = cut_of_the_u_net()
    write_kit(tmp_path / "kit.zip", network, known_device("cpu"), Mode(), batch_size=2, max_seconds=1)
    with zipfile.ZipFile(tmp_path / "kit.zip") as archive:
        archive.extractall(tmp_path)
    kit = json.loads((tmp_path / "kit.json").read_text())
    runner = TorchRunner(kit, tmp_path)
    for entry in (*kit["alone"].values(), *kit["whole"].values()):
        runner.program(entry).run()


def test_plans_are_scored_and_fitted_past_longer_skips() -> None:
    network, plan, merged = cut_of_the_u_net()
    random = torch.Generator().manual_seed(0)
    images, labels = torch.randn(12, 3, 64, 64, generator=random), torch.arange(12) % 10
    opened = OpenNetwork(network).eval()
    evaluate = Evaluator(opened, [(images[:6], labels[:6]), (images[6:], labels[6:])])
    whole, cut = evaluate([df.Plan(plan.model), plan])
    for score, one in ((whole, network), (cut, merged)):
        with torch.no_grad():
            logits = one(images)
        hits = int((logits.argmax(1) == labels).sum())
        expected = (hits + math.exp(-float(functional.cross_entropy(logits, labels)))) / (len(labels) + 1)
        assert score.value == pytest.approx(expected, rel=1e-4)
    fitted = df.apply(network, opened.chain.plan({"deep.0": "fit", "deep.1": "drop"}), input_size=(3, 64, 64))
    found = fit_in_sequence(fitted, [images])
    assert [(key.block, key.span) for key in found] == [("deep.0", 2)]
    assert "wide.1" not in followers_of(OpenNetwork(network, ["fit"]))["wide.0"]
