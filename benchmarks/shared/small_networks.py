"""Four small networks for the digit relations, one of each family.

Here stands what they are, how their baselines are trained, and the plan that each is cut by. A baseline takes a few
minutes on one core. The plans take activations and norms away: what is left of a cut block is a linear map, or one
convolution with its activation where the block ends with one.
"""

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import nn

from pruner.choices.chain import Chain
from pruner.choices.choice import DROP, MERGE, SEPARABLE, SHRINK
from pruner.choices.plan import Plan
from pruner.data.images import ImageData
from pruner.models.checkpoint import CheckpointFile
from pruner.models.load import load_model
from pruner.progress import Progress
from pruner.training.loop import fit
from pruner.training.objective import Supervised
from pruner.training.settings import Optimizing, TrainSettings


@dataclass(frozen=True)
class Growth:
    """One part of a baseline's training: how many blocks of a transformer there are, or None for a network that is
    whole from the start; and how they are trained."""

    blocks: int | None
    settings: TrainSettings


@dataclass(frozen=True)
class SmallNetwork:
    """A timm entry point and its arguments, the parts of its baseline's training, and what becomes of its blocks."""

    entry: str
    kwargs: Mapping[str, Any]
    training: tuple[Growth, ...]
    choices: Mapping[str, str]

    def untrained(self, seed: int, **other_kwargs: Any) -> nn.Module:
        """The network with random weights that follow from `seed`."""
        torch.manual_seed(seed)
        return load_model(self.entry, **{**self.kwargs, **other_kwargs})

    def plan(self, chain: Chain) -> Plan:
        return chain.plan(dict(self.choices))

    def plan_of_drops(self, chain: Chain) -> Plan:
        """The plan with its blocks dropped instead; a block that cannot be dropped stays as the plan has it."""
        droppable = {block.name for block in chain.blocks if DROP in block.choices}
        return chain.plan({name: DROP if name in droppable else choice for name, choice in self.choices.items()})


def train_baseline(network: SmallNetwork, data: ImageData, folder: Path, seed: int, progress: Progress) -> nn.Module:
    """The trained baseline, in evaluation mode. Its checkpoints lie in `folder`: called again, it goes on from them.

    A transformer learns slowly from nothing, so depth is grown: few blocks are trained, then each stands twice in a row
    (progressive stacking, Gong et al., ICML 2019).
    """
    model: nn.Module | None = None
    for part, growth in enumerate(network.training):
        depth = {} if growth.blocks is None else {"depth": growth.blocks}
        grown = network.untrained(seed, **depth)
        if model is not None:
            _stack(model, grown)
        model = grown
        settings = dataclasses.replace(growth.settings, seed=seed + part)
        identity = f"{network.entry} {dict(network.kwargs)} {data} part {part} {settings}"
        fit(Supervised(model), data, settings, CheckpointFile(folder / f"part-{part}.safetensors", identity), progress)
    assert model is not None, "a baseline is trained in one part at least"
    return model


def _stack(small: nn.Module, large: nn.Module) -> None:
    """Gives `large` the weights of `small`, each of whose blocks stands several times in a row."""
    weights = {name: tensor for name, tensor in small.state_dict().items() if not name.startswith("blocks.")}
    large.load_state_dict(weights, strict=False)
    few, many = small.get_submodule("blocks"), large.get_submodule("blocks")
    assert isinstance(few, nn.Sequential)
    assert isinstance(many, nn.Sequential)
    for index, block in enumerate(many):
        block.load_state_dict(copy.deepcopy(few[index * len(few) // len(many)].state_dict()))


def _whole(epochs: int, learning_rate: float) -> tuple[Growth, ...]:
    return (Growth(None, TrainSettings(epochs=epochs, optimizing=Optimizing(lr=learning_rate))),)


_VIT_BLOCKS: Final = 6
NETWORKS: Final[Mapping[str, SmallNetwork]] = MappingProxyType(
    {
        "vit": SmallNetwork(
            "deit_tiny_patch16_224",
            {
                "img_size": 32,
                "patch_size": 8,
                "embed_dim": 96,
                "depth": _VIT_BLOCKS,
                "num_heads": 3,
                "num_classes": 10,
            },
            (
                Growth(3, TrainSettings(epochs=12, optimizing=Optimizing(lr=1.5e-3))),
                Growth(6, TrainSettings(epochs=24, optimizing=Optimizing(lr=1.5e-3))),
            ),
            # Without its FFNs a transformer still has its attentions, and forgives much: two of these go too.
            {f"blocks.{index}.mlp": MERGE for index in range(_VIT_BLOCKS)}
            | {f"blocks.{index}.attn": DROP for index in (1, 3)},
        ),
        "convnext": SmallNetwork(
            "convnext_atto",
            {
                "img_size": 32,
                "patch_size": 2,
                "depths": (2, 2, 2, 1),
                "dims": (24, 48, 64, 64),
                # At timm's 1e-6 a block adds nothing for the first minutes, and there would be nothing to cut.
                "ls_init_value": 1.0,
                "num_classes": 10,
            },
            _whole(epochs=18, learning_rate=3e-3),
            # With none kept, too little is left that is not linear.
            {f"stages.{place}.blocks.{index}": SEPARABLE for place, index in ((0, 1), (1, 0), (1, 1), (2, 0), (3, 0))},
        ),
        "mobilenet": SmallNetwork(
            "mobilenetv2_050",
            # At its own stride the last stages would see images of one pixel.
            {"img_size": 32, "output_stride": 16, "num_classes": 10},
            _whole(epochs=26, learning_rate=3e-3),
            # The first block of a stage, which changes the width or the resolution, is kept.
            {
                f"blocks.{stage}.{block}": MERGE
                for stage, count in enumerate((1, 2, 3, 4, 3, 3, 1))
                for block in range(1, count)
            },
        ),
        "resnet": SmallNetwork(
            "resnet18",
            {"img_size": 32, "layers": (3, 3, 1, 1), "channels": (32, 64, 96, 96), "num_classes": 10},
            _whole(epochs=14, learning_rate=2e-3),
            {f"layer{place}": SHRINK for place in ("1.1", "1.2", "2.1", "2.2", "3.0", "4.0")},
        ),
    }
)
