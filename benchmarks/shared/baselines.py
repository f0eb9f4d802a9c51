"""The trained networks that several studies cut, the demo's and four small ones, and the images that each sees.

The small ones are trained on scenes of two digits where a folder has none yet, and cut on few scenes that stay the
same, as somebody would who has a network and few images.
"""

from pathlib import Path
from typing import Final

from torch import Tensor, nn

from pruner.data.digits import DigitScenes
from pruner.data.images import ImageData
from pruner.models.load import load_model
from pruner.progress import silent
from pruner.training.accuracy import accuracy
from shared.digit_relations import DigitRelations, FewRelations
from shared.small_networks import NETWORKS, train_baseline

MANY, FEW = DigitRelations(), FewRelations()
DEMO: Final = "demo"
BASELINE_SEED: Final = 0
IMAGES: Final = 1_024
"""Without labels, to fit layers on."""
EPOCHS: Final = 8
LEARNING_RATE: Final = 1e-3
"""How a small network that was cut is trained."""


def baseline(family: str, output: Path) -> nn.Module:
    """A small network, trained in a folder of its own if that was not done before."""
    folder = output / family
    folder.mkdir(exist_ok=True)
    return train_baseline(NETWORKS[family], MANY, folder, BASELINE_SEED, silent).eval()


def network_of(name: str, output: Path) -> nn.Module:
    return load_model("deit_digits", pretrained=True).eval() if name == DEMO else baseline(name, output)


def data_of(name: str) -> ImageData:
    return DigitScenes() if name == DEMO else FEW


def images_of(data: ImageData, count: int = IMAGES, size: int = 64) -> list[Tensor]:
    """Training images without their labels."""
    batches = data.train_batches(epoch=0, batch_size=size, seed=0)
    return [images for _, (images, _) in zip(range(count // size), batches, strict=False)]


def test_accuracy(network: nn.Module) -> float:
    """Of a small network, on scenes of digits that no training saw."""
    return accuracy(network, FEW.test_batches(batch_size=250))
