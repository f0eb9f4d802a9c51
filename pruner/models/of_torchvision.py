"""Networks by torchvision's names: `torchvision/resnet50`."""

import difflib
from collections.abc import Sequence
from typing import Any, Final

from torch import nn

from pruner._timm import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, torchvision_models
from pruner.errors import CheckpointError, UnknownModelError
from pruner.models.names import TORCHVISION
from pruner.models.weights_fit import LoadedWeights

_CLASSES: Final = 1_000
_SIDES: Final = (224, 224)


def torchvision_network(
    name: str, sides: Sequence[int] | None, *, pretrained: bool, **kwargs: Any
) -> tuple[nn.Module, LoadedWeights | None]:
    """Returns a network of torchvision's, and which weights it was given.

    Args:
        name: Its name behind the prefix, such as `torchvision/resnet50`.
        sides: (height, width) of its images; 224 x 224 by default. Networks that fix their size are made for it.
        pretrained: Whether it gets the weights that torchvision publishes, which are fetched then.
        **kwargs: Arguments of the network, such as `num_classes`.

    Raises:
        UnknownModelError: when there is no such classifier, with the nearest names, or it takes no such arguments.
        CheckpointError: when the published weights are for other classes, or cannot be had.

    Example:
        >>> network, weights = torchvision_network("torchvision/mnasnet0_5", None, pretrained=False, num_classes=10)
        >>> network.pretrained_cfg["architecture"], network.classifier[1].out_features
        ('torchvision/mnasnet0_5', 10)
    """
    entry = name.removeprefix(TORCHVISION)
    known = torchvision_models.list_models(module=torchvision_models)
    if entry not in known:
        near = ", ".join(TORCHVISION + other for other in difflib.get_close_matches(entry, known, n=3, cutoff=0.0))
        raise UnknownModelError(f"torchvision has no classifier called {entry!r}; nearest: {near}")
    if pretrained and kwargs.get("num_classes", _CLASSES) != _CLASSES:
        raise CheckpointError(
            f"torchvision's weights of {entry} are for {_CLASSES:,} classes, not {kwargs['num_classes']}: give weights "
            "for these with --checkpoint"
        )
    size = _SIDES if sides is None else tuple(sides)
    fixed: dict[str, Any] = {}
    if entry.startswith("vit_"):
        fixed = {"image_size": size[0]}
    elif entry.startswith("maxvit"):
        fixed = {"input_size": size}
    try:
        network: Any = torchvision_models.get_model(entry, weights="DEFAULT" if pretrained else None, **fixed, **kwargs)
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise CheckpointError(
            f"torchvision's weights of {entry} could not be had ({error}); try --checkpoint"
        ) from error
    except (TypeError, ValueError) as error:
        raise UnknownModelError(f"torchvision makes no {entry} of the arguments {kwargs}: {error}") from error
    linears = [path for path, module in network.named_modules() if isinstance(module, nn.Linear)]
    network.pretrained_cfg = {
        "architecture": name,
        "input_size": (3, *size),
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "num_classes": _CLASSES,
        "classifier": linears[-1] if linears else None,
    }
    loaded = LoadedWeights(f"torchvision {entry}", len(network.state_dict()), False) if pretrained else None
    return network.eval(), loaded
