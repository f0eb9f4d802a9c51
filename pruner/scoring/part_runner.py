"""Running a network one part at a time, for any choices in the parts before."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pruner.algebra.flow import Flow, Part
from pruner.algebra.modules import only_training
from pruner.choices.cheaper_when_merged import cheaper_when_merged
from pruner.choices.choice import DROP, KEEP
from pruner.choices.plan import Plan
from pruner.choices.site import Site
from pruner.fitting.fits import Fits, Key
from pruner.fitting.spans import LONGEST, followers_of, span_of
from pruner.network.calibration import BatchNorms, estimating_batch_norm
from pruner.network.surgery import OpenNetwork
from pruner.scoring.prefixes import Path


class PartRunner:
    """Runs single parts of a network in evaluation mode, with the gates of cut blocks at lambda 0.

    A choice that folds into a lighter layer is run as that layer, which is made when it is first needed. Where
    BatchNorm statistics were estimated for a prefix, its last part is run with them, and as it is trained, not
    merged. A fitted block is run as the layer of `fits` for its span; without `fits`, as the layer that the network
    itself holds.

    Args:
        network: The opened network.
        fits: The fitted layers that replace blocks.

    Attributes:
        sizes: The most bytes that the activations behind each part took so far, for one image.
        block_evaluations: How many blocks were run so far, each image counted.
    """

    def __init__(self, network: OpenNetwork, fits: Fits | None = None) -> None:
        self._network = network
        self._fits = fits or {}
        self._followers = followers_of(network) if fits else {}
        with only_training(network, []):  # a head that does something else in training is taken as it is in evaluation
            self._parts = network.parts()
        self._statistics = [_statistics(part.module) for part in self._parts]
        self._cheaper: dict[tuple[str, str], nn.Module | None] = {}
        self._estimates: dict[Path, Tensor] = {}  # the statistics of the last part, in one row
        self._rows: list[Iterator[Tensor]] = []
        self.sizes = [0] * len(self._parts)
        self.block_evaluations = 0

    def path(self, plan: Plan) -> Path:
        """The path of a plan: what becomes of every part. A part that is no block is kept."""
        normalised = self._network.chain.normalised(plan)
        return tuple(self._step(normalised, part.name) for part in self._parts)

    def order(self, path: Path) -> tuple[int, ...]:
        """The key to sort paths by: the places of their choices among those that the blocks offer."""
        return tuple(
            _rank(part.module, step) if isinstance(part.module, Site) else 0
            for part, step in zip(self._parts, path, strict=True)
        )

    def blocks_run(self, path: Path) -> int:
        """How many blocks one image runs through; a dropped block is not run."""
        return sum(
            choice != DROP and isinstance(part.module, Site) for part, choice in zip(self._parts, path, strict=False)
        )

    @contextmanager
    def ready(self) -> Iterator[None]:
        """A context with the network in evaluation mode and without gradients.

        Afterwards the network's modes, its selected choices and its BatchNorm statistics are what they were.
        """
        sites = self._network.sites.values()
        selected = [(site, site.choice, site.lam) for site in sites]
        norms = [module for module in self._network.modules() if isinstance(module, BatchNorms)]
        buffers = [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers()]
        try:
            with only_training(self._network, []), torch.inference_mode():
                yield
        finally:
            for site, choice, lam in selected:
                site.select(choice, lam)
            with torch.no_grad():
                for buffer, value in buffers:
                    buffer.copy_(value)

    def run(self, prefix: Path, flow: Flow) -> Flow:
        """Runs the last part of a prefix, and returns what flows behind it."""
        depth = len(prefix) - 1
        part, step = self._parts[depth], prefix[-1]
        inputs = part.wire.taken(flow)
        module = self._fitted(part, step)
        if module is None and prefix in self._estimates:
            statistics = self._statistics[depth]
            values = self._estimates[prefix].split([statistic.numel() for statistic in statistics])
            for statistic, value in zip(statistics, values, strict=True):
                statistic.copy_(value)
        elif module is None and isinstance(part.module, Site):
            module = self._merged(part.name, part.module, step, inputs[0].shape[1:])
        if module is None:
            module = _selected(part.module, step)
        after = part.wire.behind(flow, module(*inputs))
        self._count(prefix, after)
        return after

    def expect(self, paths: Sequence[Path]) -> None:
        """Makes room for the BatchNorm statistics that `estimate` will find for the prefixes of `paths`.

        Each part has one block of memory for all of them. Small pieces between activations that come and go would
        keep the memory of these from being used again.
        """
        self._rows = []
        for depth, statistics in enumerate(self._statistics):
            prefixes = len({path[: depth + 1] for path in paths})
            like = statistics[0] if statistics else torch.empty(0)
            self._rows.append(iter(like.new_empty(prefixes, sum(statistic.numel() for statistic in statistics))))

    def estimate(self, prefix: Path, batches: list[Flow]) -> list[Flow]:
        """Runs the last part of a prefix on batches of training images, and takes its BatchNorm statistics from
        them."""
        depth = len(prefix) - 1
        part = self._parts[depth]
        module = self._fitted(part, prefix[-1]) or _selected(part.module, prefix[-1])
        with estimating_batch_norm(module):
            outputs = [part.wire.behind(flow, module(*part.wire.taken(flow))) for flow in batches]
        self._estimates[prefix] = next(self._rows[depth])
        if self._statistics[depth]:
            torch.cat(self._statistics[depth], out=self._estimates[prefix])
        for flow in outputs:
            self._count(prefix, flow)
        return outputs

    def forget_estimates_but_for(self, paths: Iterable[Path]) -> None:
        """Forgets all BatchNorm statistics but those for the prefixes of `paths`."""
        prefixes = {path[:depth] for path in paths for depth in range(1, len(path) + 1)}
        self._estimates = {p: row.clone() for p, row in self._estimates.items() if p in prefixes}

    def _step(self, plan: Plan, name: str) -> str:
        """What stands in a path for a part: its choice, and for a fitted layer its span too, as in `fit/2`."""
        choice = plan.choice_of(name)
        span = span_of(plan, name, self._followers) if self._fits else 0
        span = span or int(Key(name, choice) in self._fits)
        return f"{choice}/{span}" if span else choice

    def _merged(self, name: str, site: Site, choice: str, shape: torch.Size) -> nn.Module | None:
        if (name, choice) not in self._cheaper:
            with torch.inference_mode(False):
                self._cheaper[name, choice] = cheaper_when_merged(site, choice, shape)
        return self._cheaper[name, choice]

    def _fitted(self, part: Part, step: str) -> nn.Module | None:
        """The layer that was fitted in a block's place; None for any other step."""
        choice, _, span = step.partition("/")
        if not span:
            return None
        assert isinstance(part.module, Site)
        if (part.name, step) not in self._cheaper:
            weights = self._fits[Key(part.name, choice, int(span))].weights
            with torch.inference_mode(False):
                self._cheaper[part.name, step] = part.module.with_layer(choice, weights)
        return self._cheaper[part.name, step]

    def _count(self, prefix: Path, flow: Flow) -> None:
        depth = len(prefix) - 1
        self.sizes[depth] = max(self.sizes[depth], flow.nbytes // flow.images)
        if isinstance(self._parts[depth].module, Site) and prefix[-1] != DROP:
            self.block_evaluations += flow.images


def _rank(site: Site, step: str) -> int:
    """The place of a step among those of a block: kept comes first, and steps of one choice follow one another."""
    choice, _, span = step.partition("/")
    return (LONGEST + 1) * (site.block.choices + site.block.on_request).index(choice) + int(span or 0)


def _selected(module: nn.Module, step: str) -> nn.Module:
    choice = step.partition("/")[0]
    if isinstance(module, Site):
        module.select(choice, 1.0 if choice == KEEP else 0.0)
    return module


def _statistics(part: nn.Module) -> list[Tensor]:
    """The running means and variances of the part's BatchNorms, not copies of them."""
    norms = [module for module in part.modules() if isinstance(module, BatchNorms)]
    both = [statistic for norm in norms for statistic in (norm.running_mean, norm.running_var)]
    return [statistic for statistic in both if statistic is not None]
