"""Every strategy keeps what strategies promise; and one that is new is a file."""

import pytest

from depthfinder.strategies import STRATEGIES, Ground, Strategy, known_strategy, strategy
from depthfinder.testing import StrategySuite
from pruner.criterion_names import CRITERION_NAMES
from pruner.errors import SettingsError
from search.samplers import known_sampler
from search.samplers.sampler import Sampler


class TestEveryStrategy(StrategySuite):
    @pytest.fixture(params=list(STRATEGIES))
    def strategy(self, request: pytest.FixtureRequest) -> Strategy:
        return known_strategy(request.param)


class OnlyTpe(Strategy):
    """One of somebody else's."""

    name = "only-tpe"

    def sampler(self, ground: Ground) -> Sampler:
        return known_sampler("tpe")


class TestAnother(StrategySuite):
    @pytest.fixture
    def strategy(self) -> Strategy:
        return OnlyTpe()


def test_there_is_a_strategy_for_every_criterion() -> None:
    assert set(STRATEGIES) >= {"optuna", "scores", "gate", *CRITERION_NAMES}


def test_a_name_is_taken_once_and_an_unknown_one_brings_the_nearest() -> None:
    with pytest.raises(ValueError, match="there is a strategy 'gate' already"):
        strategy(type("Another", (OnlyTpe,), {"name": "gate"}))
    with pytest.raises(SettingsError, match="no strategy is called 'gates'; nearest: gate, "):
        known_strategy("gates")
