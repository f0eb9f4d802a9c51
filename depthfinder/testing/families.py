"""The tests of a family: its networks are the baseline at lambda 1, and merging does not change them at lambda 0."""

from random import Random

import torch
from torch import Tensor, nn

from pruner.algebra.answer import answer_of
from pruner.choices.plan import Plan
from pruner.network.calibration import calibrate, estimate_batch_norm
from pruner.network.image_size import input_size_of
from pruner.network.surgery import apply, describe, merge

_OURS = ("pruner", "latency", "profiles", "search", "depthfinder")
_EXACT = 1e-10


class FamilySuite:
    """Tests a family by one of its timm networks in evaluation mode, which the fixture `network` gives.

    Example:
        >>> from depthfinder.testing.samples import small_network
        >>> FamilySuite().test_at_lambda_one_it_is_the_baseline_bit_for_bit(small_network())
    """

    def test_at_lambda_one_it_is_the_baseline_bit_for_bit(self, network: nn.Module) -> None:
        """At lambda 1 a cut network computes what the uncut one does, bit for bit, whatever the plan."""
        images = _images(network)
        with torch.no_grad():
            assert torch.equal(apply(network, every_choice(network)).eval()(images), answer_of(network(images)))

    def test_merged_it_computes_what_it_did_at_lambda_zero(self, network: nn.Module) -> None:
        """Merging changes logits by at most 1e-10 of the largest, in float64, and leaves no module of Depthfinder."""
        images = _images(network)
        cut = apply(network, every_choice(network)).eval()
        calibrate(cut, [images])
        cut.set_lambda(0.0)
        estimate_batch_norm(cut, [images])
        exact = cut.double()
        merged = merge(exact)
        with torch.no_grad():
            found, expected = answer_of(merged(images.double())), exact(images.double())
        assert float((found - expected).abs().max()) <= _EXACT * float(expected.abs().max())
        assert not [one for one in merged.modules() if type(one).__module__.partition(".")[0] in _OURS]


def every_choice(network: nn.Module) -> Plan:
    """Returns a plan that has every choice of the network's blocks at least once, those on request too."""
    chain, random = describe(network), Random(0)
    choices = dict(chain.random_plan(0.5, random).choices)
    for choice in sorted({one for block in chain.blocks for one in block.choices[1:] + block.on_request}):
        blocks = [block.name for block in chain.blocks if choice in block.choices + block.on_request]
        choices[random.choice(blocks)] = choice
    return chain.plan(choices)


def _images(network: nn.Module) -> Tensor:
    return torch.randn(8, *input_size_of(network), generator=torch.Generator().manual_seed(0))
