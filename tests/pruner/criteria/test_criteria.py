"""What every criterion promises, asked of each: a harm for every cut, none for keeping, the same whenever asked."""

import pytest

from depthfinder.testing import CriterionSuite
from networks import made
from pruner.criteria import CRITERIA, Criterion, criterion, known_criterion
from pruner.criterion_names import CRITERION_NAMES
from pruner.errors import SettingsError
from pruner.network.surgery import Supernet, supernet


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


class TestEveryCriterion(CriterionSuite):
    """Of networks of every family."""

    shape = "deit"

    @pytest.fixture(params=CRITERION_NAMES)
    def criterion(self, request: pytest.FixtureRequest) -> Criterion:
        return known_criterion(request.param)

    def network(self) -> Supernet:
        return supernet(made(self.shape, seed=0))


class TestOfResNets(TestEveryCriterion):
    shape = "basic"


class TestOfConvNeXts(TestEveryCriterion):
    shape = "convnext"


class TestOfMobileNets(TestEveryCriterion):
    shape = "inverted residual"
