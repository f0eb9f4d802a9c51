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
"""Every fifth image is held out of the fits, and their ridge is chosen on it."""


@torch.no_grad()
def fit_at_once(
    network: OpenNetwork,
    choices: Mapping[str, Sequence[str]],
    batches: Iterable[Tensor],
    images: int,
    progress: Progress = silent,
) -> Fits:
    """Fits the layers of many blocks in one pass of the uncut network over images without labels.

    Each layer is fitted to what the uncut network computes there, on the inputs that the uncut network has there. So a
    fit does not depend on what becomes of the other blocks. A layer is fitted for its block alone and for
    every span of blocks that begins with it (`pruner/fitting/spans.py`).

    Args:
        network: The opened network.
        choices: Block -> those of its choices whose layers are to be fitted.
        batches: Training images (B, C, H, W), normalised as the network is given them.
        images: How many images there are in all batches together.
        progress: Told of the images that were run and of the blocks that were solved.

    Returns:
        The fit of every block, choice and span.

    Raises:
        FitError: when the network gives numbers that are not finite, or there are fewer than five images.

    Example:
        >>> from depthfinder.testing.samples import small_network, some_images
        >>> from pruner.fitting.at_once import fit_at_once
        >>> from pruner.network.surgery import OpenNetwork
        >>> network = OpenNetwork(small_network(), ["fit"])
        >>> fits = fit_at_once(network, {"blocks.3.mlp": ["fit"]}, [some_images(10)], images=10)
        >>> list(fits)
        [Key(block='blocks.3.mlp', choice='fit', span=1)]
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
    """Fits every layer that the blocks of `network` offer, and loads its weights into the network.

    The training of a supernet with such layers starts from these weights. Each layer is fitted for its block alone.

    Args:
        network: The opened network, whose layers get the weights.
        batches: Training images (B, C, H, W), normalised as the network is given them.
        images: How many images there are in all batches together.
        progress: Told of the images that were run and of the blocks that were solved.

    Raises:
        FitError: when the network gives numbers that are not finite, or there are fewer than five images.
    """
    choices = {block.name: tuple(c for c in block.choices if c in OWN_WEIGHTS) for block in network.chain.blocks}
    if any(choices.values()):
        for key, fit in fit_at_once(network, choices, batches, images, progress).items():
            if key.span == 1:
                fit.put_into(network.sites[key.block].layer(key.choice))


def works_of(network: OpenNetwork, choices: Mapping[str, Sequence[str]], images: int) -> "list[Work]":
    """The empty sums that the layers of `choices` are fitted by, before any image was run.

    Args:
        network: The opened network.
        choices: Block -> those of its choices whose layers are to be fitted.
        images: How many images will be run.
    """
    followers = followers_of(network)
    return [
        work
        for block, ways in choices.items()
        for work in works_of_site(network.sites[block], ways, followers.get(block, ()), images)
    ]


def works_of_site(site: Site, choices: Sequence[str], behind: tuple[str, ...], images: int) -> "list[Work]":
    """The empty sums that the layers of one block are fitted by.

    Args:
        site: The block.
        choices: The choices of the block whose layers are to be fitted.
        behind: The blocks right behind it that a layer may replace too. A narrower block replaces its own block alone.
        images: How many images will be run.

    Returns:
        One for each layer, and one for all narrower widths together.
    """
    shares = tuple(choice for choice in choices if choice in SHARES)
    layers = [way_of(choice, site.layer(choice)) for choice in choices if choice not in SHARES]
    works = [Work.of(site, way, behind, images) for way in layers]
    return [*works, Work.of(site, narrower_way(site, shares), (), images)] if shares else works


@dataclass
class Work:
    """The sums that one kind of layer in the place of a block is fitted by, for all spans that begin with the block.

    Attributes:
        block: The name of the block.
        blocks: The block and those behind it that the layer may replace too.
        way: How the layer is fitted.
        wanted: How many places (tokens or pixels) of each image are used at the most.
        seen: The sums over the images that the layer is fitted to.
        apart: The sums over the held-out images.
    """

    block: str
    blocks: tuple[str, ...]
    way: Way
    wanted: int
    seen: Sums
    apart: Sums

    @classmethod
    def of(cls, site: Site, way: Way, behind: tuple[str, ...], images: int) -> "Work":
        """The empty sums for one kind of layer.

        Args:
            site: The block.
            way: How the layer is fitted.
            behind: The blocks right behind it that the layer may replace too.
            images: How many images will be run.
        """
        blocks = (site.block.name, *behind)
        targets = site.channels * len(blocks)
        sums = [Sums.empty(way.features, targets, next(site.parameters()).device) for _ in range(2)]
        return cls(site.block.name, blocks, way, -(-rows_wanted(way.features) // images), *sums)

    def add(self, x: Tensor, before_end: Sequence[Tensor], counts: Tensor, start: int) -> None:
        """Adds a batch to the sums.

        Args:
            x: The block's input, (B, N, C) of tokens or (B, C, H, W) of images.
            before_end: What each of `blocks` computes, up to the activation that ends it.
            counts: How much the network's answer depends on each place of the output, (B, N) or (B, H, W).
            start: The number of the batch's first image among all images.
        """
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
        """Solves for the layers, one for every choice and span.

        Raises:
            FitError: when numbers were added that are not finite, or no image was held out.
        """
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
        """mean(w y^2) mean(w) over all rows, with targets y and row weights w: see `Fit.added`."""
        rows, counts = self.seen.rows + self.apart.rows, self.seen.inner[-1, -1] + self.apart.inner[-1, -1]
        squares = self.seen.square[group].sum() + self.apart.square[group].sum()
        return float(squares / rows * counts / rows)
