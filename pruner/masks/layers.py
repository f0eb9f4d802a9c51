"""The layers of a network that may be masked."""

from typing import Any

from torch import nn

from pruner._timm import Conv2dSame

_CONVOLUTIONS = (nn.Conv2d.forward, Conv2dSame.forward)


def maskable(network: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    """Finds the layers of a network whose weights may be masked.

    These are convolutions of one group and linears, without the first convolution and the classifier. A layer that
    standardises its weight before it uses it is left out, because it would bring back what a mask takes away.

    Returns:
        Path -> layer, in the order in which the network holds them.
    """
    left_out = set(unmasked(network))
    return {
        path: module
        for path, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
        and module not in left_out
        and uses_its_weight(module)
        and getattr(module, "groups", 1) == 1
    }


def unmasked(network: nn.Module) -> list[nn.Module]:
    """The layers that are never masked: the first convolution, the last linear, and what timm calls the classifier."""
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    linears = [module for module in network.modules() if isinstance(module, nn.Linear)]
    asked: Any = getattr(network, "get_classifier", tuple)()
    classifiers = asked if isinstance(asked, tuple) else (asked,)
    return [*convolutions[:1], *linears[-1:], *classifiers]


def uses_its_weight(module: nn.Module) -> bool:
    """Whether a module is a convolution or a linear that computes with its weight as it is."""
    return (isinstance(module, nn.Conv2d) and type(module).forward in _CONVOLUTIONS) or (
        isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward
    )
