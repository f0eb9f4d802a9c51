"""Fits for many blocks from one pass of the uncut network over images without labels."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from pruner.algebra.modules import only_training
from pruner.choices.choice import OWN_WEIGHTS, SHARES
from pruner.choices.site import Site
from pruner.errors import FitError
from pruner.fitting.fits import Fit, Fits, Key
from pruner.fitting.layers import Way, way_of
from pruner.fitting.narrower import narrower_way
from pruner.fitting.rows import places_of, rows_wanted, values
from pruner.fitting.spans import followers_of
from pruner.fitting.sums import Sums
from pruner.fitting.uncut_run import run_uncut
from pruner.network.surgery import OpenNetwork
from pruner.progress import Progress, silent

_APART: Final = 5
"""Every so many-th image takes no part in the fits, and chooses their ridge."""


@torch.no_grad()
def fit_at_once(
    network: OpenNetwork,
    choices: Mapping[str, Sequence[str]],
    batches: Iterable[Tensor],
    images: int,
    progress: Progress = silent,
) -> Fits:
    """The layers of `choices`, block -> those of its choices that are fitted, each for the block alone and for every
    span that begins there; from `batches` of training images (B, C, H, W), `images` of them in all.

    Each is fitted to what the uncut network computes there, for the inputs that the uncut network has there: they are
    the same whichever of them stand together.

    Raises `FitError` where the network gives no numbers, and where there are too few images.
    """
    works = works_of(network, choices, images)
    done = 0
    with only_training(network, []):
        for batch in batches:
            run = run_uncut(network, batch, seed=done)
            for work in works:
                targets = [run.before_end[name] for name in work.blocks]
                work.add(run.inputs[work.block], targets, run.counts[work.block], done)
            done += len(batch)
            progress(min(done, images), images, "images")
    found: dict[Key, Fit] = {}
    for number, work in enumerate(works, start=1):
        found |= work.fits()
        progress(number, len(works), f"solving {work.block}")
    return found


def fit_own_layers(network: OpenNetwork, batches: Iterable[Tensor], images: int, progress: Progress = silent) -> None:
    """Fits every layer that the blocks of `network` offer, each for its block alone, and puts it there: a training that
    all plans share begins so. Raises `FitError` as `fit_at_once` does."""
    choices = {block.name: tuple(c for c in block.choices if c in OWN_WEIGHTS) for block in network.chain.blocks}
    if any(choices.values()):
        for key, fit in fit_at_once(network, choices, batches, images, progress).items():
            if key.span == 1:
                fit.put_into(network.sites[key.block].layer(key.choice))


def works_of(network: OpenNetwork, choices: Mapping[str, Sequence[str]], images: int) -> "list[Work]":
    """The sums that the layers of `choices` are fitted by, before any image was seen."""
    followers = followers_of(network)
    return [
        work
        for block, ways in choices.items()
        for work in works_of_site(network.sites[block], ways, followers.get(block, ()), images)
    ]


def works_of_site(site: Site, choices: Sequence[str], behind: tuple[str, ...], images: int) -> "list[Work]":
    """Those of one block's choices; a layer may stand in for the blocks `behind` it too, a narrower block not."""
    shares = tuple(choice for choice in choices if choice in SHARES)
    layers = [way_of(choice, site.layer(choice)) for choice in choices if choice not in SHARES]
    works = [Work.of(site, way, behind, images) for way in layers]
    return [*works, Work.of(site, narrower_way(site, shares), (), images)] if shares else works


@dataclass
class Work:
    """The sums of what is fitted in one way, and of the same for all the spans that begin where it stands."""

    block: str
    blocks: tuple[str, ...]
    way: Way
    wanted: int
    seen: Sums
    apart: Sums

    @classmethod
    def of(cls, site: Site, way: Way, behind: tuple[str, ...], images: int) -> "Work":
        blocks = (site.block.name, *behind)
        targets = site.channels * len(blocks)
        sums = [Sums.empty(way.features, targets, next(site.parameters()).device) for _ in range(2)]
        return cls(site.block.name, blocks, way, -(-rows_wanted(way.features) // images), *sums)

    def add(self, x: Tensor, before_end: Sequence[Tensor], counts: Tensor, start: int) -> None:
        """A batch: what came to the block, what it and each of those behind it computed, and what each place counts
        for. `start` is the number of the batch's first image."""
        places = places_of(before_end[0], self.wanted, torch.Generator().manual_seed(start))
        counts = counts.flatten(1)[:, places]
        apart = (torch.arange(start, start + len(x)) % _APART == _APART - 1).to(x.device)
        for which, sums in ((~apart, self.seen), (apart, self.apart)):
            if which.any():
                given = x[which]
                beside = self.way.beside(given)
                targets = [values(y[which], places) for y in before_end]
                if beside is not None:
                    base = values(beside, places)
                    targets = [target - base for target in targets]
                sums.add(self.way.rows(given, places), torch.cat(targets, dim=1), counts[which].flatten())

    def fits(self) -> dict[Key, Fit]:
        """One for every choice and span."""
        if not (self.seen.is_finite and self.apart.is_finite):
            raise FitError(
                f"{self.block} gives numbers that are not finite on these images: nothing can be fitted there"
            )
        if not self.apart.rows:
            raise FitError(
                f"{_APART} images are the fewest that a layer can be fitted by: one in {_APART} judges the fit"
            )
        channels = len(self.seen.square) // len(self.blocks)
        groups = [slice(place * channels, (place + 1) * channels) for place in range(len(self.blocks))]
        solved = self.way.solved(self.seen, self.apart, groups)
        return {
            Key(self.block, choice, span): dataclasses.replace(fit, added=self._added(groups[span - 1]))
            for choice, by_span in solved.items()
            for span, fit in enumerate(by_span, start=1)
        }

    def _added(self, group: slice) -> float:
        """The mean over all rows of what the targets' squares count for, by the square of what a place does."""
        rows, counts = self.seen.rows + self.apart.rows, self.seen.inner[-1, -1] + self.apart.inner[-1, -1]
        squares = self.seen.square[group].sum() + self.apart.square[group].sum()
        return float(squares / rows * counts / rows)
