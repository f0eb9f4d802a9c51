"""Networks by torchvision's names."""

import pytest
import torch

from pruner.errors import CheckpointError, UnknownModelError
from pruner.models.load import load_model
from pruner.models.names import ModelName
from pruner.network.image_size import input_size_of


def test_a_classifier_is_made_by_its_name_for_its_classes_and_its_size() -> None:
    network = load_model("torchvision/mnasnet0_5", num_classes=7, img_size=(64, 96))
    assert not network.training
    assert input_size_of(network) == (3, 64, 96)
    assert network(torch.zeros(1, 3, 64, 96)).shape == (1, 7)
    assert network.pretrained_cfg["architecture"] == str(ModelName.parse("torchvision/mnasnet0_5"))


def test_one_that_fixes_its_size_is_made_for_it() -> None:
    network = load_model("torchvision/vit_b_32", num_classes=2, img_size=64)
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 2)


@pytest.mark.parametrize(
    ("name", "settings", "answer"),
    [
        ("torchvision/resnet19", {}, "no classifier called 'resnet19'; nearest: torchvision/resnet1"),
        ("torchvision/fasterrcnn_resnet50_fpn", {}, "no classifier called 'fasterrcnn_resnet50_fpn'"),
        ("torchvision/resnet18", {"depth": 3}, r"torchvision makes no resnet18 of the arguments \{'depth': 3\}"),
    ],
)
def test_what_there_is_not_is_refused(name: str, settings: dict[str, int], answer: str) -> None:
    with pytest.raises(UnknownModelError, match=answer):
        load_model(name, **settings)


def test_published_weights_are_for_their_own_classes() -> None:
    with pytest.raises(CheckpointError, match="are for 1,000 classes, not 5: give weights for these with --checkpoint"):
        load_model("torchvision/resnet18", pretrained=True, num_classes=5)
