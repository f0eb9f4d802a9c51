"""The strategy of gates: they are learned together with the supernet, and the exact solver finds the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from depthfinder.strategies.strategy import Ground, Strategy, strategy

if TYPE_CHECKING:
    from pruner.network.surgery import Supernet
    from pruner.training.objective import Objective
    from pruner.training.supernet import Draw
    from search.samplers.sampler import Sampler


@strategy
class Gate(Strategy):
    """A supernet whose blocks are mixtures of their choices. The trained gates say how much each cut gains."""

    name = "gate"
    scored_by = ("supernet",)

    def scoring_network(self, ground: Ground) -> Supernet:
        """Returns a supernet with gates, which know the latency that every cut saves."""
        from pruner.gates.gated import GatedSupernet
        from search.gate_costs import gate_costs

        return GatedSupernet(ground.model, gate_costs(ground.space()), ground.extra_choices)

    def objective(self, ground: Ground, network: Supernet, draw: Draw) -> Objective:
        """Returns the objective of weights and gates. `draw` is not used: the gates draw the plans of a step."""
        from pruner.gates.gated import GatedSupernet
        from pruner.gates.objective import Annealing, GateObjective

        assert isinstance(network, GatedSupernet), "the network that this strategy made"
        network.pace(ground.lr, ground.steps)
        return GateObjective(network, Annealing(ground.gate_form), *ground.learning)

    def sampler(self, ground: Ground) -> Sampler:
        """Returns the exact solver over the gain of every cut by the trained gates."""
        from pruner.gates.gated import GatedSupernet
        from pruner.gates.latency_gates import GATE_FORMS
        from pruner.gates.objective import Annealing
        from search.samplers import ByGains

        network = self.scoring_network(ground)
        assert isinstance(network, GatedSupernet), "the network that this strategy made"
        ground.load(network)
        annealing = Annealing(ground.gate_form)
        return ByGains(network.gains(GATE_FORMS[annealing.form], annealing.coldest), self.name)
