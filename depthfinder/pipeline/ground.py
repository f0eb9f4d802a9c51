"""Makes from a run what its strategy is given."""

from typing import Final

from depthfinder.pipeline.plan_space import limits_of, space_of
from depthfinder.pipeline.run import Run, load_trained
from depthfinder.strategies import Ground, Strategy, known_strategy
from search.samplers.sampler import Sampler

_AFTER_SINGLE_SCORES: Final = 8


def strategy_of(run: Run) -> Strategy:
    """Returns the strategy that was asked for."""
    return known_strategy(run.config.search.strategy)


def ground_of(run: Run) -> Ground:
    """Returns what the strategy is given. The space and the weights are made only when they are asked for."""
    learning, search = run.config.train, run.config.search
    settings = run.train_settings(learning.supernet_epochs)
    return Ground(
        model=run.model,
        extra_choices=run.offer.extra_choices,
        space=lambda: space_of(run, limits_of(run.targets)),
        sampler=search.sampler,
        gate_form=search.gate_form,
        learning=(learning.kd_temperature, learning.distill_loss_weight, learning.mixing.smoothing),
        lr=settings.optimizing.lr,
        steps=settings.epochs * run.data.steps_per_epoch(settings.batch_size),
        load=lambda network: load_trained(network, run.checkpoint("supernet", settings)),
    )


def evaluations_of(run: Run, sampler: Sampler) -> int:
    """Returns how many plans are evaluated at the most: those asked for, or more where the sampler begins with more."""
    space = space_of(run, limits_of(run.targets))
    return max(run.config.search.n_trials, sampler.opening(space, run.config.search.n_trials) + _AFTER_SINGLE_SCORES)
