"""The tests of a criterion: every cut has a harm, keeping a block has none, and the network is left alone."""

import math

from depthfinder.testing.samples import small_network
from pruner.choices.choice import DROP, KEEP
from pruner.criteria.criterion import Criterion
from pruner.network.surgery import Supernet, supernet


class CriterionSuite:
    """Tests a criterion, which the fixture `criterion` gives.

    Example:
        >>> from pruner.criteria import known_criterion
        >>> suite = CriterionSuite()
        >>> suite.test_every_cut_is_held_to_do_some_harm(known_criterion("dimap"))
    """

    def network(self) -> Supernet:
        """Returns the network that the criterion is tried on. Override this to try it on another."""
        return supernet(small_network())

    def test_every_cut_is_held_to_do_some_harm(self, criterion: Criterion) -> None:
        """Every harm is finite and at least 0; it is 0 for `keep`, and above 0 for `drop`."""
        network = self.network()
        harm = criterion.harm_of_cuts(network)
        assert harm.keys() == {(block.name, choice) for block in network.chain.blocks for choice in block.choices}
        assert all(math.isfinite(lost) and lost >= 0 for lost in harm.values())
        assert all(lost > 0 for (_, choice), lost in harm.items() if choice == DROP)
        assert all(lost == 0 for (_, choice), lost in harm.items() if choice == KEEP)

    def test_the_same_network_has_the_same_harms_and_is_left_alone(self, criterion: Criterion) -> None:
        """The criterion gives equal harms twice, and the weights of the network stay as they are, bit for bit."""
        network = self.network()
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        assert criterion.harm_of_cuts(network) == criterion.harm_of_cuts(network)
        assert all(tensor.equal(before[name]) for name, tensor in network.state_dict().items())
