"""The stage that fits layers in place of blocks, so that plans can be scored without any training."""

from collections.abc import Mapping, Sequence

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


def fit_stage(run: Run) -> None:
    """Fits a layer for every choice that saves latency, by one pass of the uncut network over training images."""
    has_budget = run.config.measure.has_budget
    if has_budget:
        check_budget(run)
    space = space_of(run, limits_of(run.targets) if has_budget else [])
    network = OpenNetwork(run.model, run.offer.extra_choices).to(run.world.device)
    choices = fitted_choices(space, network)
    settings, wanted = run.train_settings(0), {(block, c) for block, ways in choices.items() for c in ways}
    for other, file in made_before("fits", run.checkpoint("fits", settings), run.folder):
        found = file.load()
        if found is not None and wanted <= {(key.block, key.choice) for key in from_checkpoint(found)}:
            copy_from("fits", other, run.folder)
            log.info("fits: as made in %s, not fitted again", other.path)
            return
    images = run.trainer.images_without_labels()
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
    """Returns block -> the choices of the space that put a fitted layer in its place."""
    fitted = {block: site.fitted_choices for block, site in network.sites.items()}
    found = {block: tuple(c for c in ways if c in fitted[block]) for block, ways in space.choices.items()}
    return {block: ways for block, ways in found.items() if ways}


def load_fits(run: Run) -> Fits:
    """Returns the fits that the stage left. Raises `CheckpointError` when their file is gone."""
    checkpoint = run.checkpoint("fits", run.train_settings(0)).load()
    if checkpoint is None:
        raise CheckpointError(
            f"{run.folder.checkpoint('fits')} is gone; remove {run.folder['state.json']} to fit again"
        )
    return from_checkpoint(checkpoint)


def searched_space(run: Run, limits: Sequence[Limit]) -> Space:
    """Returns the plans that the search may propose.

    Where plans are scored by fits, choices without a fit are left out, but for folds that were named; and so are fits
    that are no better than dropping the block.
    """
    space = space_of(run, limits)
    if not run.config.search.by_fits:
        return space
    fits = load_fits(run)
    alone = {(key.block, key.choice): fit for key, fit in fits.items() if key.span == 1}
    as_it_is = {KEEP, DROP} if run.config.search.named_choices is None else {KEEP, DROP, *FOLDS}
    cuts = {(block, choice) for block, ways in space.choices.items() for choice in ways if choice not in as_it_is}
    poor = {cut for cut, fit in alone.items() if fit.is_worse_than_dropping and DROP in space.choices[cut[0]]}
    return space.without((cuts - alone.keys()) | poor).expecting(expected_harms(fits))
