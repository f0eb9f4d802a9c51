"""Scoring many plans of one supernet with less work than a forward pass for each plan.

Plans with a common prefix are computed together up to where they part. Choices that fold into a lighter layer are run
as that layer. A plan that can no longer reach a bar is not run to the end. Activations along the best plans so far are
kept from one call to the next.
"""

import itertools
import math
import time
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from pruner.algebra.flow import Flow
from pruner.choices.plan import Plan
from pruner.data.images import Batch
from pruner.fitting.fits import Fits
from pruner.network.surgery import OpenNetwork
from pruner.progress import Progress, silent
from pruner.scoring.distance import Distance
from pruner.scoring.part_runner import PartRunner
from pruner.scoring.prefixes import Path, State, walk, worth_keeping
from pruner.scoring.score import DistanceTally, Score, Tally

_CACHE_BYTES: Final = 2 << 30
_BEST: Final = 2
# Stand for "no answer": they equal neither a class nor each other.
_NO_CLASS: Final = -1
_NO_CLASS_OF_BASELINE: Final = -2


@dataclass(frozen=True)
class Cost:
    """What an evaluator has done so far.

    A block evaluation is one block run on one image. A dropped block is not run.
    """

    plans: int = 0
    """How many different plans were scored, summed over the calls."""
    dropped: int = 0
    """How many of the plans a race dropped before they had seen all images."""
    block_evaluations: int = 0
    """The block evaluations that were done, with those for the uncut network's answers and for BatchNorm statistics."""
    plain_block_evaluations: int = 0
    """The block evaluations that one pass per plan over all images would have taken, without the uncut network's."""
    seconds: float = 0.0
    """The time that the calls took together."""


class Evaluator:
    """Scores plans of one network on images, with the gates of cut blocks at lambda 0.

    A plan's score depends neither on the activations that are kept between calls nor on the plans that are scored
    beside it. Between calls the network is as it was. Its weights must not change while the evaluator is in use.

    Attributes:
        images: How many images plans are scored by.
        cost: What the evaluator has done so far.

    Example:
        >>> import torch
        >>> from depthfinder.testing.samples import small_network, some_images
        >>> from pruner.choices.plan import Plan
        >>> from pruner.network.surgery import OpenNetwork
        >>> from pruner.scoring.evaluator import Evaluator
        >>> evaluate = Evaluator(OpenNetwork(small_network()), [(some_images(4), torch.zeros(4, dtype=torch.int64))])
        >>> uncut = Plan("deit_tiny_patch16_224")
        >>> cut = Plan("deit_tiny_patch16_224", {"blocks.3.mlp": "drop"})
        >>> [score.images for score in evaluate([uncut, cut])]
        [4, 4]
        >>> evaluate.cost.block_evaluations, evaluate.cost.plain_block_evaluations
        (32, 60)
    """

    def __init__(
        self,
        network: OpenNetwork,
        batches: Sequence[Batch],
        *,
        statistics: Sequence[Tensor] | None = None,
        fits: Fits | None = None,
        distance: Distance | None = None,
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:
        """Sets up the scoring of plans.

        Args:
            network: The opened network whose plans are scored.
            batches: Images (B, C, H, W), normalised as the network is given them, with their labels (B,).
            statistics: Batches of training images. With them the BatchNorm statistics are estimated anew for each
                plan, and for the uncut network, as `select` and `estimate_batch_norm` would. Statistics depend only on
                the parts before, so plans with a common prefix share them. Choices are then run as they are
                trained, not merged.
            fits: The fitted layers that replace blocks; without them, those that the network holds are run.
            distance: Ranks plans by the distance of their outputs from the uncut network's, and not by labels.
            cache_bytes: How many bytes of activations may be kept between calls: those along the best plan so far, then
                those along the second best.

        Raises:
            ValueError: when there are no images to score by, or none to take statistics from.
        """
        self.images = sum(len(labels) for _, labels in batches)
        if not self.images:
            raise ValueError("there are no images to score plans by")
        if statistics is not None and not statistics:
            raise ValueError("there are no images to take BatchNorm statistics from")
        self.cost = Cost()
        self._chain = network.chain
        self._device = next(network.parameters()).device
        self._batches = batches
        self._statistics = statistics
        self._cache_bytes = cache_bytes
        self._distance = distance
        self._runner = PartRunner(network, fits)
        self._baseline = self._runner.path(Plan(self._chain.model))
        self._baseline_top1: dict[int, Tensor] = {}
        self._baseline_outputs: dict[int, Tensor] = {}
        self._best: list[tuple[float, Path]] = []
        self._wanted: frozenset[Path] = frozenset()
        self._kept: list[dict[Path, Flow]] = [{} for _ in batches]
        self._kept_for_statistics: dict[Path, list[Flow]] = {}

    def __call__(self, plans: Sequence[Plan], bar: float = -math.inf, progress: Progress = silent) -> list[Score]:
        """Scores plans; equal plans are evaluated once.

        After each batch those plans are dropped whose value would stay below `bar` even if they were right on all
        images left. So every plan that reaches the bar was evaluated in full, and every dropped plan has a value below
        it (`Tally` has the proof).

        Args:
            plans: The plans to score.
            bar: The value that a plan has to reach to be evaluated in full.
            progress: Told of every plan that has seen a batch.

        Returns:
            The score of each plan, in the order of `plans`.

        Raises:
            PlanError: when a plan does not fit the network.
        """
        for plan in plans:
            self._chain.check(plan)
        if not plans:
            return []
        started = time.perf_counter()
        asked = [self._runner.path(plan) for plan in plans]
        paths = sorted(set(asked), key=self._runner.order)
        self._choose_what_to_keep()
        evaluations_before = self._runner.block_evaluations
        with self._runner.ready():
            if self._statistics is not None:
                self._estimate(paths, self._statistics)
            scores = {path: tally.score() for path, tally in self._race(paths, bar, progress).items()}
        # Of several equally good plans the first that was asked for stays the best.
        for path in dict.fromkeys(asked):
            score = scores[path]
            if score.images == self.images and (score.value, path) not in self._best:
                self._best.append((score.value, path))
        self._best = sorted(self._best, key=lambda scored: -scored[0])[:_BEST]
        images = self.images + sum(len(batch) for batch in self._statistics or ())
        self.cost = Cost(
            plans=self.cost.plans + len(paths),
            dropped=self.cost.dropped + sum(score.images != self.images for score in scores.values()),
            block_evaluations=self.cost.block_evaluations + self._runner.block_evaluations - evaluations_before,
            plain_block_evaluations=self.cost.plain_block_evaluations
            + images * sum(self._runner.blocks_run(path) for path in paths),
            seconds=self.cost.seconds + time.perf_counter() - started,
        )
        return [scores[path] for path in asked]

    @property
    def kept_bytes(self) -> int:
        """How many bytes the activations take that are kept for the next call."""
        for_statistics = itertools.chain.from_iterable(self._kept_for_statistics.values())
        for_images = itertools.chain.from_iterable(kept.values() for kept in self._kept)
        return sum(activation.nbytes for activation in itertools.chain(for_images, for_statistics))

    def _race(self, paths: list[Path], bar: float, progress: Progress) -> dict[Path, Tally]:
        """Runs the paths batch by batch, and counts for each until it is dropped."""
        tallies = {path: (DistanceTally if self._distance else Tally)(self.images) for path in paths}
        racing = paths
        done, total = 0, len(paths) * len(self._batches)
        for index, (images, labels) in enumerate(self._batches):
            labels = labels.to(self._device)
            # One block of memory for the results of all plans: small pieces between the activations that come and go
            # would keep the memory of these from being used again.
            top1 = torch.empty(len(racing), len(labels), dtype=torch.int64, device=self._device)
            nats = torch.empty(len(racing), device=self._device)
            places = {path: place for place, path in enumerate(racing)}
            walked = racing if index in self._baseline_top1 else self._beside_the_baseline(racing)
            start = Flow.of(images.to(self._device))
            for path, behind in walk(walked, start, self._runner.run, self._kept[index], self._wanted):
                logits = behind.only
                if path == self._baseline:
                    # It is the first of all paths, because `keep` is the first choice of every block.
                    self._baseline_top1[index] = _top1(logits, _NO_CLASS_OF_BASELINE)
                    if self._distance is not None:
                        self._baseline_outputs[index] = logits
                if path in places:
                    top1[places[path]] = _top1(logits, _NO_CLASS)
                    nats[places[path]] = self._nats(logits, labels, index)
                    done += 1
                    progress(done, total, f"{len(racing)} plans in the race")
            hits = (top1 == labels).sum(dim=1).tolist()
            agreed = (top1 == self._baseline_top1[index]).sum(dim=1).tolist()
            for path, *figures in zip(racing, hits, agreed, nats.tolist(), strict=True):
                tallies[path].add(len(labels), *figures)
            left = len(self._batches) - index - 1
            if left:
                done += left * sum(tallies[path].bound < bar for path in racing)
                racing = [path for path in racing if tallies[path].bound >= bar]
            if not racing:
                break
        return tallies

    def _nats(self, logits: Tensor, labels: Tensor, index: int) -> Tensor:
        """The sum over a batch of the cross-entropies, or of the distances from the uncut network's outputs."""
        if self._distance is None:
            return functional.cross_entropy(logits, labels, reduction="sum")
        return self._distance(logits, self._baseline_outputs[index]).sum()

    def _estimate(self, paths: list[Path], statistics: Sequence[Tensor]) -> None:
        """Estimates the BatchNorm statistics for every prefix of `paths`."""
        start = [Flow.of(images.to(self._device)) for images in statistics]
        if len(self._baseline_top1) < len(self._batches):
            paths = self._beside_the_baseline(paths)
        self._runner.expect(paths)
        for _ in walk(paths, start, self._runner.estimate, self._kept_for_statistics, self._wanted):
            pass

    def _beside_the_baseline(self, paths: list[Path]) -> list[Path]:
        return sorted({*paths, self._baseline}, key=self._runner.order)

    def _choose_what_to_keep(self) -> None:
        """Chooses the prefixes whose activations are kept, those of the best plans so far, and forgets all others."""
        images = self.images + sum(len(batch) for batch in self._statistics or ())
        sizes = [images * size for size in self._runner.sizes]
        paths = [path for _, path in self._best]
        self._wanted = worth_keeping(paths, sizes, self._cache_bytes) if all(sizes) else frozenset()
        for kept in self._kept:
            _keep_only(self._wanted, kept)
        _keep_only(self._wanted, self._kept_for_statistics)
        self._runner.forget_estimates_but_for(self._kept_for_statistics)


def _top1(logits: Tensor, otherwise: int) -> Tensor:
    """The class of the largest logit, (images,); `otherwise` where a logit is NaN, which is never a right answer."""
    return logits.argmax(dim=1).masked_fill(logits.isnan().any(dim=1), otherwise)


def _keep_only(wanted: Set[Path], kept: dict[Path, State]) -> None:
    for prefix in kept.keys() - wanted:
        del kept[prefix]
