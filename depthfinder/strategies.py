"""How the plan is found: by evaluating many, by gates that learn, or by gains that are known and the exact solver."""

from typing import Final

from depthfinder.plan_space import limits_of, space_of
from depthfinder.run import Run, load_trained
from pruner.choices import KEEP
from pruner.criteria.dimap import harm_of_cuts
from pruner.masks.gated import GatedSupernet
from pruner.masks.latency_gates import GATE_FORMS
from pruner.surgery import Supernet, supernet
from pruner.training.gate import Annealing, GateObjective
from pruner.training.objective import Objective
from pruner.training.supernet import Draw, SupernetObjective
from search.gate_costs import gate_costs
from search.sampler import Sampler
from search.samplers import ByGains, BySingleScores, known_sampler

# Plans are scored together here: what begins like another costs less.
_SCORED_TOGETHER: Final = {"auto": "thrifty"}
_AFTER_SINGLE_SCORES: Final = 8


def weight_sharing_network(run: Run) -> Supernet:
    """The network that scores plans, with the weights of the uncut one; with gates, if it is to learn them."""
    if run.arguments.strategy == "gate":
        return GatedSupernet(run.model, gate_costs(space_of(run, limits_of(run))), run.also)
    return supernet(run.model, run.also)


def objective_of(run: Run, network: Supernet, draw: Draw) -> Objective:
    """What that network is trained for; `draw` gives the plans of a step where no gates do."""
    asked = run.arguments
    learning = (asked.kd_temperature, asked.distill_loss_weight, asked.smoothing)
    if isinstance(network, GatedSupernet):
        settings = run.train_settings(asked.supernet_epochs)
        network.pace(settings.optimizing.lr, settings.epochs * run.data.steps_per_epoch(settings.batch_size))
        return GateObjective(network, Annealing(asked.gate_form), *learning)
    return SupernetObjective(network, draw, *learning)


def sampler_of(run: Run) -> Sampler:
    """What proposes plans, when the weight-sharing network is trained."""
    asked = run.arguments
    if asked.strategy == "scores":
        return BySingleScores()
    if asked.strategy == "gate":
        network = weight_sharing_network(run)
        assert isinstance(network, GatedSupernet)
        load_trained(network, run, "supernet", run.train_settings(asked.supernet_epochs))
        annealing = Annealing(asked.gate_form)
        return ByGains(network.gains(GATE_FORMS[annealing.form], annealing.coldest), "gate")
    if asked.strategy == "dimap":
        harm = harm_of_cuts(supernet(run.model, run.also))
        return ByGains({cut: -lost for cut, lost in harm.items() if cut[1] != KEEP}, "dimap")
    return known_sampler(_SCORED_TOGETHER.get(asked.sampler, asked.sampler))


def evaluations_of(run: Run, sampler: Sampler) -> int:
    """How many plans are evaluated at the most: as many as were asked for, or as the strategy cannot do without."""
    space = space_of(run, limits_of(run))
    return max(run.arguments.n_trials, sampler.opening(space, run.arguments.n_trials) + _AFTER_SINGLE_SCORES)
