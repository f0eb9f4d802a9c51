"""Gates on the choices of blocks, learned with the weights that they choose among, and the exact solver for them."""

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
    """A supernet whose blocks are mixtures of their choices; what the gates have learned is what cuts gain."""

    name = "gate"
    scored_by = ("supernet",)

    def scoring_network(self, ground: Ground) -> Supernet:
        """With gates that are told what cuts save."""
        from pruner.gates.gated import GatedSupernet
        from search.gate_costs import gate_costs

        return GatedSupernet(ground.model, gate_costs(ground.space()), ground.extra_choices)

    def objective(self, ground: Ground, network: Supernet, draw: Draw) -> Objective:
        """The gates draw the plans of a step themselves."""
        from pruner.gates.gated import GatedSupernet
        from pruner.gates.objective import Annealing, GateObjective

        assert isinstance(network, GatedSupernet), "the network that this strategy made"
        network.pace(ground.lr, ground.steps)
        return GateObjective(network, Annealing(ground.gate_form), *ground.learning)

    def sampler(self, ground: Ground) -> Sampler:
        """By what the trained gates hold every cut to gain."""
        from pruner.gates.gated import GatedSupernet
        from pruner.gates.latency_gates import GATE_FORMS
        from pruner.gates.objective import Annealing
        from search.samplers import ByGains

        network = self.scoring_network(ground)
        assert isinstance(network, GatedSupernet), "the network that this strategy made"
        ground.load(network)
        annealing = Annealing(ground.gate_form)
        return ByGains(network.gains(GATE_FORMS[annealing.form], annealing.coldest), self.name)
