"""Everything that Depthfinder uses of timm and of torchvision, for two repairs that are made on the way.

timm imports torchvision, whose import fails where its compiled operators do not load: where it was built for another
torch, as PyPI's is beside some CPU builds of torch. It then lacks the schemas of two operators, and declaring them is
enough, since no image classifier calls them. This is done only where the import fails: where the operators load, a
second schema of the same name would end the process. From then on the user's own `import timm` works too; before this
file is imported it fails, as it does without Depthfinder.

timm's augmentation policies posterize images down to 0 bits now and then, which makes them black; Pillow 13 raises an
error instead. Here such images are black again.
"""

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

_DETECTION_OPERATORS = ("nms", "qnms")


def _import_torchvision() -> torch.library.Library | None:
    """Imports torchvision. Returns the library of the schemas that were declared for it, which have to stay alive as
    long as torchvision is used; None where none were needed."""
    try:
        import torchvision
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    else:
        return None
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # torchvision is only half imported
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in _DETECTION_OPERATORS:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision  # noqa: F401

    return library


_library = _import_torchvision()

from timm import create_model, list_models  # noqa: E402
from timm.data import (  # noqa: E402
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    Mixup,
    create_dataset,
    create_transform,
    resolve_data_config,
)
from timm.data.auto_augment import NAME_TO_OP, posterize  # noqa: E402
from timm.data.readers import create_reader  # noqa: E402
from timm.layers import (  # noqa: E402
    BatchNormAct2d,
    Conv2dSame,
    ConvNormAct,
    DropBlock2d,
    DropPath,
    LayerNorm2d,
    LayerScale,
    LayerScale2d,
    Mlp,
)
from timm.models import get_pretrained_cfg  # noqa: E402
from timm.models._efficientnet_blocks import (  # noqa: E402
    ConvBnAct,
    DepthwiseSeparableConv,
    EdgeResidual,
    InvertedResidual,
    SqueezeExcite,
    UniversalInvertedResidual,
)
from timm.models.convnext import ConvNeXt, ConvNeXtBlock  # noqa: E402
from timm.models.efficientnet import EfficientNet  # noqa: E402
from timm.models.mobilenetv3 import MobileNetV3  # noqa: E402
from timm.models.resnet import BasicBlock, Bottleneck, ResNet  # noqa: E402
from timm.models.vision_transformer import Attention, VisionTransformer  # noqa: E402
from timm.models.vision_transformer import Block as TimmBlock  # noqa: E402
from timm.optim import create_optimizer_v2  # noqa: E402
from timm.scheduler import create_scheduler_v2  # noqa: E402
from timm.utils import ModelEmaV3, dispatch_clip_grad, distribute_bn  # noqa: E402
from timm.utils.misc import natural_key  # noqa: E402
from torchvision import models as torchvision_models  # noqa: E402


def _posterize(image: Image.Image, bits_to_keep: int, **settings: Any) -> Any:
    return posterize(image, bits_to_keep, **settings) if bits_to_keep > 0 else Image.new(image.mode, image.size)


NAME_TO_OP.update({name: _posterize for name, operation in NAME_TO_OP.items() if operation is posterize})

__all__ = [
    "IMAGENET_DEFAULT_MEAN",
    "IMAGENET_DEFAULT_STD",
    "Attention",
    "BasicBlock",
    "BatchNormAct2d",
    "Bottleneck",
    "Conv2dSame",
    "ConvBnAct",
    "ConvNeXt",
    "ConvNeXtBlock",
    "ConvNormAct",
    "DepthwiseSeparableConv",
    "DropBlock2d",
    "DropPath",
    "EdgeResidual",
    "EfficientNet",
    "InvertedResidual",
    "LayerNorm2d",
    "LayerScale",
    "LayerScale2d",
    "Mixup",
    "Mlp",
    "MobileNetV3",
    "ModelEmaV3",
    "ResNet",
    "SqueezeExcite",
    "TimmBlock",
    "UniversalInvertedResidual",
    "VisionTransformer",
    "create_dataset",
    "create_model",
    "create_optimizer_v2",
    "create_reader",
    "create_scheduler_v2",
    "create_transform",
    "dispatch_clip_grad",
    "distribute_bn",
    "get_pretrained_cfg",
    "list_models",
    "natural_key",
    "resolve_data_config",
    "torchvision_models",
    "weights_filter",
]

WeightsFilter = Callable[[dict[str, Tensor], nn.Module], dict[str, Tensor]]
"""(published weights by name, the model) -> the weights by the names, and in the sizes, that the model takes."""


def weights_filter(model: nn.Module) -> WeightsFilter | None:
    """Returns the function by which timm converts published weights for `model`; None where it needs no conversion.

    The function turns foreign names into timm's, and resizes position and patch embeddings to those of the model.
    """
    found: Any = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if found is not None and "adapt_layer_scale" in inspect.signature(found).parameters:
        return functools.partial(found, adapt_layer_scale=True)  # DeiT III's own names; no others are like them
    taken: WeightsFilter | None = found
    return taken
