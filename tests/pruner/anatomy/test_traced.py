"""Networks that no family knows: blocks found in what they compute, cut exactly, or refused by name."""

import copy
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

import depthfinder as df
from depthfinder.testing import FamilySuite
from pruner._timm import create_model
from pruner.errors import OddModelError, UnknownModelError
from pruner.network.surgery import OpenNetwork


class Attention(nn.Module):
    """One head, over tokens (B, N, C)."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(wide, 3 * wide), nn.Linear(wide, wide)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        y: Tensor = self.proj(functional.scaled_dot_product_attention(q, k, v))
        return y


class Layer(nn.Module):
    """Two branches in a row; the second is what most people write as an MLP."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(wide), Attention(wide)
        self.norm2, self.up, self.down = nn.LayerNorm(wide), nn.Linear(wide, 2 * wide), nn.Linear(2 * wide, wide)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class Tokens(nn.Module):
    """A small transformer of its author's own classes."""

    def __init__(self, wide: int = 16) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, wide, 4, 4)
        self.layers = nn.ModuleList(Layer(wide) for _ in range(3))
        self.norm, self.out = nn.LayerNorm(wide), nn.Linear(wide, 10)

    def forward(self, x: Tensor) -> Tensor:
        b = x.shape[0]
        x = self.patches(x).reshape(b, self.out.in_features, -1).transpose(1, 2)
        for layer in self.layers:
            x = layer(x)
        y: Tensor = self.out(self.norm(x).mean(1))
        return y


class Convs(nn.Module):
    """Convolutions beside skips, one of them a projection; in-place additions and activations, as many are written."""

    class Basic(nn.Module):
        def __init__(self, wide: int, out: int, stride: int) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(wide, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
            self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
            same = wide == out and stride == 1
            self.skip = None if same else nn.Sequential(nn.Conv2d(wide, out, 1, stride), nn.BatchNorm2d(out))

        def forward(self, x: Tensor) -> Tensor:
            y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)), inplace=True)))
            y += x if self.skip is None else self.skip(x)
            return functional.relu(y)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.body = nn.Sequential(*(self.Basic(*one) for one in [(8, 8, 1), (8, 16, 2), (16, 16, 1)]))
        self.out = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.body(self.stem(x)).mean((2, 3)))
        return y


def _small(name: str, **kwargs: object) -> Callable[[], nn.Module]:
    return lambda: create_model(name, **kwargs)


# The classes above, torchvision's, and timm's that no family knows; how many blocks each has.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "own tokens": (Tokens, 6),
    "own convolutions": (Convs, 3),
    "torchvision resnet18": (lambda: torchvision.models.resnet18(num_classes=10), 8),
    "torchvision mnasnet0_5": (lambda: torchvision.models.mnasnet0_5(num_classes=10), 10),
    "timm swin": (
        _small("swin_tiny_patch4_window7_224", img_size=56, embed_dim=12, depths=(1, 2, 1, 1), num_heads=(1, 2, 3, 4)),
        10,
    ),
    "timm regnetx_002": (_small("regnetx_002", num_classes=10), 13),
    "timm pvt": (_small("pvt_v2_b0", num_classes=10), 16),
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


class Long(nn.Module):
    """A skip around blocks that have skips: what runs beside them is needed behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.out = nn.Conv2d(3, 8, 3, 2, 1), nn.Linear(16, 10)
        self.blocks = nn.Sequential(Convs.Basic(8, 8, 1), Convs.Basic(8, 8, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y: Tensor = self.out(torch.cat([x, self.blocks(x)], 1).mean((2, 3)))
        return y


class InTraining(Layer):
    """It does something of its own in training, which no graph of its evaluation has."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(super().forward(x), 0.5, self.training)


class Noisy(Tokens):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(InTraining(16) for _ in range(2))


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (ByTheImage, "cannot be traced: symbolically traced variables cannot be used as inputs to control flow"),
        (Twice, "layer: a Layer is given more than one tensor, or not run once"),
        (Long, "what is computed before it is used behind it too"),
        (Noisy, "the code of InTraining computes something else in training"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten()), "it has no branch beside a skip"),
    ],
    ids=["by the image", "twice", "long skip", "in training", "no skip"],
)
def test_what_cannot_be_cut_rightly_is_refused_with_the_reason(network: Callable[[], nn.Module], why: str) -> None:
    torch.manual_seed(0)
    with pytest.raises((UnknownModelError, OddModelError), match=why):
        OpenNetwork(network().eval(), input_size=(3, 32, 32))


def test_random_plans_are_the_network_at_one_and_merge_at_zero() -> None:
    network = network_called("own tokens").double()
    chain, images = df.describe(network), torch.randn(2, 3, 64, 64, dtype=torch.float64)
    for seed in range(3):
        cut = df.apply(network, chain.random_plan(0.6, Random(seed))).eval()
        with torch.no_grad():
            assert torch.equal(cut(images), network(images))
            cut.set_lambda(0.0)
            torch.testing.assert_close(df.merge(cut)(images), cut(images), rtol=1e-10, atol=1e-10)
