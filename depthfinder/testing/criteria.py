"""What every criterion promises: a harm for every cut, none for keeping, and the network left as it was."""

import math

from depthfinder.testing.samples import small_network
from pruner.choices.choice import DROP, KEEP
from pruner.criteria.criterion import Criterion
from pruner.network.surgery import Supernet, supernet


class CriterionSuite:
    """Give the fixture `criterion`: the one that is to keep these promises."""

    def network(self) -> Supernet:
        """What it is tried on; give another to try it on that."""
        return supernet(small_network())

    def test_every_cut_is_held_to_do_some_harm(self, criterion: Criterion) -> None:
        """Finite, never below nothing, and more than nothing for a block that goes."""
        network = self.network()
        harm = criterion.harm_of_cuts(network)
        assert harm.keys() == {(block.name, choice) for block in network.chain.blocks for choice in block.choices}
        assert all(math.isfinite(lost) and lost >= 0 for lost in harm.values())
        assert all(lost > 0 for (_, choice), lost in harm.items() if choice == DROP)
        assert all(lost == 0 for (_, choice), lost in harm.items() if choice == KEEP)

    def test_the_same_network_has_the_same_harms_and_is_left_alone(self, criterion: Criterion) -> None:
        """Bit for bit."""
        network = self.network()
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        assert criterion.harm_of_cuts(network) == criterion.harm_of_cuts(network)
        assert all(tensor.equal(before[name]) for name, tensor in network.state_dict().items())
