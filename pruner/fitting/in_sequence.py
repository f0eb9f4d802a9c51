"""Fits for the blocks of one plan, each on the inputs that it gets behind the blocks cut before it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pruner.algebra.flow import Flow, Part
from pruner.algebra.modules import only_training
from pruner.choices.site import Site
from pruner.fitting.at_once import works_of_site
from pruner.fitting.fits import Fit, Fits, Key
from pruner.fitting.spans import followers_of, span_of
from pruner.fitting.uncut_run import run_uncut
from pruner.network.surgery import Cut
from pruner.progress import Progress, silent


@torch.no_grad()
def fit_in_sequence(cut: Cut, batches: Sequence[Tensor], progress: Progress = silent) -> Fits:
    """Fits the layers of a plan one after another, and loads their weights into `cut`.

    Each layer gets its inputs from the cut network and its targets from the uncut one, so it makes up for the cuts
    before it. The activations of all images are held in memory twice: those of the uncut network and those of the cut
    one.

    Args:
        cut: The network of the plan. It is left at lambda 0, with the fitted weights.
        batches: Training images (B, C, H, W), normalised as the network is given them.
        progress: Told of the parts of the network that were done.

    Returns:
        The fit of every layer of the plan.

    Raises:
        FitError: when the network gives numbers that are not finite, or there are fewer than five images.

    Example:
        >>> from depthfinder.testing.samples import small_network, some_images
        >>> from pruner.choices.plan import Plan
        >>> from pruner.fitting.in_sequence import fit_in_sequence
        >>> from pruner.network.surgery import apply
        >>> plan = Plan("deit_tiny_patch16_224", {"blocks.1.attn": "fit", "blocks.1.mlp": "drop"})
        >>> list(fit_in_sequence(apply(small_network(), plan), [some_images(10)]))
        [Key(block='blocks.1.attn', choice='fit', span=2)]
    """
    followers = followers_of(cut)
    parts = cut.parts()
    images = sum(map(len, batches))
    cut.set_lambda(0.0)
    layers = cut.layers
    counts = _counts(cut, batches)
    whole = flowing = [Flow.of(images) for images in batches]
    found: dict[Key, Fit] = {}
    with only_training(cut, []):
        place = 0
        while place < len(parts):
            name, site = parts[place].name, parts[place].module
            span = span_of(cut.plan, name, followers) or int(name in layers)
            if not (isinstance(site, Site) and span):
                whole, flowing = _onwards(parts[place], whole, flowing)
                place += 1
            else:
                key, blocks = Key(name, cut.plan.choice_of(name), span), parts[place : place + span]
                targets, whole = _uncut(blocks, whole)
                inputs = [x for flow in flowing for x in parts[place].wire.taken(flow)]
                found[key] = _fit(site, key, inputs, targets, counts[name], images)
                for part in blocks:
                    flowing = [part.run(flow) for flow in flowing]
                place += span
            progress(place, len(parts), name)
    return found


def _onwards(part: Part, whole: list[Flow], flowing: list[Flow]) -> tuple[list[Flow], list[Flow]]:
    """What flows in the uncut and in the cut network behind a part. Up to the first cut it is the same."""
    after = [part.run(flow) for flow in flowing]
    if isinstance(part.module, Site):
        return _uncut([part], whole)[1], after
    return (after, after) if whole is flowing else ([part.run(flow) for flow in whole], after)


def _uncut(blocks: Sequence[Part], whole: list[Flow]) -> tuple[list[Tensor], list[Flow]]:
    """What the uncut network computes up to the end of these blocks, without the last activation and with it."""
    targets: list[Tensor] = []
    for part in blocks:
        site = part.module
        assert isinstance(site, Site), f"{part.name} is no block"
        both = [site.before_end(*part.wire.taken(flow)) for flow in whole]
        targets = [before for before, _ in both]
        whole = [part.wire.behind(flow, after) for flow, (_, after) in zip(whole, both, strict=True)]
    return targets, whole


def _counts(cut: Cut, batches: Sequence[Tensor]) -> dict[str, list[Tensor]]:
    """How much the answer of the uncut network depends on each place, batch by batch, for every fitted block."""
    found: dict[str, list[Tensor]] = {name: [] for name in cut.layers}
    with only_training(cut, []):
        start = 0
        for images in batches if found else []:
            run = run_uncut(cut, images, seed=start)
            start += len(images)
            for name, kept in found.items():
                kept.append(run.counts[name])
    return found


def _fit(
    site: Site,
    key: Key,
    flowing: Sequence[Tensor],
    targets: Sequence[Tensor],
    counts: Sequence[Tensor],
    images: int,
) -> Fit:
    (work,) = works_of_site(site, [key.choice], (), images)
    start = 0
    for x, y, count in zip(flowing, targets, counts, strict=True):
        work.add(x, [y], count, start)
        start += len(x)
    (fit,) = work.fits().values()
    fit.put_into(site.layer(key.choice))
    return fit
