"""The stage that fits layers in the blocks' places, so that plans can be scored without any training."""

from collections.abc import Mapping, Sequence
from typing import Final

from torch import Tensor

from depthfinder.console import log
from depthfinder.pipeline.plan_space import check_budget, limits_of, space_of
from depthfinder.pipeline.reuse import copy_from, made_before
from depthfinder.pipeline.run import Run
from pruner.choices.choice import DROP, FOLDS, KEEP
from pruner.errors import CheckpointError
from pruner.fitting.at_once import fit_at_once
from pruner.fitting.cost import expected_cost
from pruner.fitting.fits import Fits, as_checkpoint, expected_harms, from_checkpoint
from pruner.network.surgery import OpenNetwork
from search.limits import Limit
from search.space import Space

_EPOCH: Final = 1 << 20  # that no training comes to
_PIXELS_AT_ONCE: Final = 1 << 18
_FEWEST_AT_ONCE: Final = 4


def fit_stage(run: Run) -> None:
    """One pass of the uncut network over training images, and a layer for every way of fitting that saves anything."""
    has_budget = run.config.measure.has_budget
    if has_budget:
        check_budget(run)
    space = space_of(run, limits_of(run) if has_budget else [])
    network = OpenNetwork(run.model, run.extra_choices).to(run.world.device)
    choices = fitted_choices(space, network)
    settings, wanted = run.train_settings(0), {(block, c) for block, ways in choices.items() for c in ways}
    for other, file in made_before(run, "fits", settings):
        found = file.load()
        if found is not None and wanted <= {(key.block, key.choice) for key in from_checkpoint(found)}:
            copy_from(run, "fits", other)
            log.info("fits: as made in %s, not fitted again", other.path)
            return
    images = fit_images(run)
    count = sum(map(len, images))
    cost = expected_cost(network, choices, images[0].to(run.world.device), count)
    layers = sum(map(len, choices.values()))
    log.info("fitting %d layers on %s images, without labels: %s", layers, f"{count:,}", cost.text)
    fits = fit_at_once(network, choices, (batch.to(run.world.device) for batch in images), count, run.watch)
    poor = [key for key, fit in fits.items() if key.span == 1 and fit.is_worse_than_dropping]
    poor = [key for key in poor if DROP in space.choices[key.block]]
    if poor:
        named = ", ".join(f"{key.block} {key.choice}" for key in poor)
        log.info("no better than dropping the block, so not offered: %s", named)
    run.checkpoint("fits", settings).save(as_checkpoint(fits))


def fitted_choices(space: Space, network: OpenNetwork) -> Mapping[str, tuple[str, ...]]:
    """Block -> those of its choices that have a layer which is fitted."""
    fitted = {block: site.fitted_choices for block, site in network.sites.items()}
    found = {block: tuple(c for c in ways if c in fitted[block]) for block, ways in space.choices.items()}
    return {block: ways for block, ways in found.items() if ways}


def fit_images(run: Run) -> list[Tensor]:
    """The training images that layers are fitted on, in batches; the same whichever trainings a run has. The larger
    they are the fewer are run at once, for gradients are taken through the whole network."""
    settings, left = run.train_settings(0), run.config.search.fit_images
    found: list[Tensor] = []
    for images, _ in run.data.train_batches(epoch=_EPOCH, batch_size=settings.batch_size, seed=settings.seed):
        found.append(images[:left])
        left -= len(found[-1])
        if left <= 0:
            break
    _, height, width = run.chain.input_size
    at_once = max(_FEWEST_AT_ONCE, min(settings.batch_size, _PIXELS_AT_ONCE // (height * width)))
    return [some for images in found for some in images.split(at_once)]


def load_fits(run: Run) -> Fits:
    """What the stage has left."""
    checkpoint = run.checkpoint("fits", run.train_settings(0)).load()
    if checkpoint is None:
        raise CheckpointError(
            f"{run.folder.checkpoint('fits')} is gone; remove {run.folder['state.json']} to fit again"
        )
    return from_checkpoint(checkpoint)


def searched_space(run: Run, limits: Sequence[Limit]) -> Space:
    """The plans that the search may propose: where plans are scored by fits, without those that were not made, unless
    they fold and were named, and those that keep no more of a block than dropping it does."""
    space = space_of(run, limits)
    if not run.config.search.by_fits:
        return space
    fits = load_fits(run)
    alone = {(key.block, key.choice): fit for key, fit in fits.items() if key.span == 1}
    as_it_is = {KEEP, DROP} if run.config.search.named_choices is None else {KEEP, DROP, *FOLDS}
    cuts = {(block, choice) for block, ways in space.choices.items() for choice in ways if choice not in as_it_is}
    poor = {cut for cut, fit in alone.items() if fit.is_worse_than_dropping and DROP in space.choices[cut[0]]}
    return space.without((cuts - alone.keys()) | poor).expecting(expected_harms(fits))
