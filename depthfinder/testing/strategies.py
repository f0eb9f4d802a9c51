"""The tests of a strategy: its supernet can be trained, and its sampler comes to plans within the limits."""

import torch
from torch import nn

from depthfinder.strategies import STRATEGIES, Ground, Strategy
from depthfinder.testing.samplers import asked_in_rounds
from depthfinder.testing.samples import chain_and_table, small_network, some_images
from pruner.training.supernet import RandomPlans
from pruner.training.train_step import TrainStep
from search.limits import LatencyLimit
from search.space import Space

_STEPS = 4


class StrategySuite:
    """Tests a strategy, which the fixture `strategy` gives.

    Example:
        >>> from depthfinder.strategies import known_strategy
        >>> StrategySuite().test_it_says_what_scores_its_plans(known_strategy("gate"))
    """

    def ground(self) -> Ground:
        """Returns what the strategy is given: the small network, and a budget of 0.8 of its latency."""
        chain, table = chain_and_table()
        space = Space.of(chain, [LatencyLimit(table, 0.8 * table.uncut_ms)])
        return Ground(
            model=small_network(),
            extra_choices=(),
            space=lambda: space,
            sampler="random",
            gate_form="knapsack",
            learning=(2.0, 1.0, 0.0),
            lr=1e-3,
            steps=_STEPS,
            load=_nothing_was_trained,
        )

    def test_it_says_what_scores_its_plans(self, strategy: Strategy) -> None:
        """`scored_by` names known ways of scoring, and the registered strategy of this name has the same."""
        assert strategy.scored_by
        assert set(strategy.scored_by) <= {"fits", "supernet"}
        assert strategy.name not in STRATEGIES or STRATEGIES[strategy.name].scored_by == strategy.scored_by

    def test_its_scoring_network_begins_as_the_uncut_one_and_learns(self, strategy: Strategy) -> None:
        """The supernet begins as the uncut network. A training step has a finite loss and gradients."""
        ground = self.ground()
        network = strategy.scoring_network(ground).eval()
        network.select(network.chain.plan({}))
        with torch.no_grad():
            assert torch.equal(network(some_images()), ground.model(some_images()))
        objective = strategy.objective(ground, network.train(), RandomPlans(network.chain, 1))
        loss = objective(some_images(4), torch.tensor([0, 1, 2, 3]), TrainStep(0, _STEPS, 0))
        assert torch.isfinite(loss)
        loss.backward()
        assert any(weight.grad is not None and weight.grad.any() for weight in network.parameters())

    def test_the_plans_that_it_asks_for_are_within_the_limits_in_the_end(self, strategy: Strategy) -> None:
        """At least one plan fits, and a second search asks for the same plans. Others may serve learning alone."""
        ground = self.ground()
        space = ground.space()
        asked = strategy.sampler(ground)
        trials = asked.opening(space, 8) + 8
        history = asked_in_rounds(asked, space, trials)
        assert any(space.admits(entry.plan) for entry in history)
        assert [entry.plan for entry in asked_in_rounds(strategy.sampler(ground), space, trials)] == [
            entry.plan for entry in history
        ]


def _nothing_was_trained(network: nn.Module) -> None:
    """Leaves the weights as they are."""
