"""Test suites for a device, a family, a sampler, a strategy or a criterion of your own. The built-in ones pass them.

Each suite is a class of pytest tests. Inherit from it, and give the fixture that it asks for:

    import pytest
    from depthfinder.testing import SamplerSuite

    class TestMine(SamplerSuite):
        @pytest.fixture
        def sampler(self):
            return Mine()
"""

from depthfinder.testing.criteria import CriterionSuite
from depthfinder.testing.devices import DeviceSuite
from depthfinder.testing.families import FamilySuite
from depthfinder.testing.samplers import SamplerSuite
from depthfinder.testing.strategies import StrategySuite

__all__ = ["CriterionSuite", "DeviceSuite", "FamilySuite", "SamplerSuite", "StrategySuite"]
