"""The suite that other people's families are held to, on one network of each of ours."""

import pytest
from torch import nn

from depthfinder.testing import FamilySuite
from networks import disturbed
from pruner.models.load import load_model

NETWORKS = {
    "resnet10t": {"img_size": 32},
    "mobilenetv2_035": {"img_size": 32},
    "convnext_atto": {"img_size": 32, "depths": (1, 1, 2, 1)},
    "deit_tiny_patch16_224": {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 2},
}


class TestOurFamilies(FamilySuite):
    @pytest.fixture(params=list(NETWORKS))
    def network(self, request: pytest.FixtureRequest) -> nn.Module:
        return disturbed(load_model(request.param, **NETWORKS[request.param], num_classes=10), seed=0)
