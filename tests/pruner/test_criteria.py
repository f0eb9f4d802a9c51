"""What every criterion promises, asked of each: a harm for every cut, none for keeping, the same whenever asked."""

import math

import pytest

from networks import made
from pruner.choices import DROP, KEEP
from pruner.criteria import CRITERIA, Criterion, criterion, known_criterion
from pruner.criterion_names import CRITERION_NAMES
from pruner.errors import SettingsError
from pruner.surgery import supernet


def test_criteria_are_called_like_their_files() -> None:
    assert tuple(CRITERIA) == CRITERION_NAMES
    assert all(CRITERIA[name].name == name for name in CRITERIA)
    with pytest.raises(SettingsError, match="no criterion is called 'dimp'; nearest: dimap"):
        known_criterion("dimp")
    with pytest.raises(ValueError, match="there is a criterion 'dimap' already"):

        @criterion
        class Another(Criterion):
            name = "dimap"

            def harm_of_cuts(self, network: object) -> dict[tuple[str, str], float]:
                return {}


@pytest.mark.parametrize("name", CRITERION_NAMES)
@pytest.mark.parametrize("shape", ["deit", "basic", "convnext", "inverted residual"])
def test_every_cut_is_held_to_do_some_harm(name: str, shape: str) -> None:
    network = supernet(made(shape, seed=0))
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    harm = known_criterion(name).harm_of_cuts(network)
    assert harm.keys() == {(block.name, choice) for block in network.chain.blocks for choice in block.choices}
    assert all(math.isfinite(lost) and lost >= 0 for lost in harm.values())
    assert all(lost > 0 for (_, choice), lost in harm.items() if choice == DROP)
    assert all(lost == 0 for (_, choice), lost in harm.items() if choice == KEEP)
    assert known_criterion(name).harm_of_cuts(network) == harm
    assert all(tensor.equal(before[key]) for key, tensor in network.state_dict().items())
