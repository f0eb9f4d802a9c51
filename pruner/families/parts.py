"""Steps for the modules that occur in the blocks of several families."""

from collections.abc import Iterable
from typing import Final, TypeVar

from torch import Tensor, nn

from pruner._timm import BatchNormAct2d, DropBlock2d, DropPath, LayerNorm2d
from pruner.algebra.modules import does_nothing
from pruner.algebra.oddities import oddity, why_not_plain
from pruner.algebra.steps import Activation, BatchNorm, Convolution, Linear, Noise, Opaque, Step, SwitchedNorm
from pruner.choices.site import Site, kept_site

_NOISE: Final = (nn.Dropout, nn.Dropout2d, DropPath, DropBlock2d)

BatchNorms = TypeVar("BatchNorms", nn.BatchNorm1d, nn.BatchNorm2d)


def conv_step(conv: nn.Module) -> Step:
    """Returns the step of a convolution; an opaque step where another module stands in its place."""
    if isinstance(conv, nn.Conv2d):
        return Convolution(conv)
    return Opaque(conv, f"its {type(conv).__name__} is no plain convolution")


def linear_step(linear: nn.Module, over_channels: bool = False) -> Step:
    """Returns the step of a linear layer; an opaque step where another module stands in its place."""
    if isinstance(linear, nn.Linear):
        return Linear(linear, over_channels)
    return Opaque(linear, f"its {type(linear).__name__} is no plain linear layer", over_channels=over_channels)


def norm_steps(norm: nn.Module, switched: list[nn.Module]) -> tuple[Step, ...]:
    """Returns the steps of a norm of images, with the activation that timm may have built into it.

    Args:
        norm: A BatchNorm, which folds; a GroupNorm or a LayerNorm, which gets a new BatchNorm to switch to; an
            identity, which has no steps; or any other module, which is opaque.
        switched: Takes the new BatchNorm.
    """
    if isinstance(norm, nn.BatchNorm2d) and why_not_plain(norm, "BatchNorm", nn.BatchNorm2d, BatchNormAct2d) is None:
        act = getattr(norm, "act", nn.Identity())
        return (BatchNorm(norm), *noise(getattr(norm, "drop", None)), *activation(act))
    if isinstance(norm, (nn.GroupNorm, LayerNorm2d)) and not hasattr(norm, "act") and norm.weight is not None:
        batch_norm = twin(norm, nn.BatchNorm2d)
        switched.append(batch_norm)
        return (SwitchedNorm(norm, batch_norm),)
    return () if does_nothing(norm) else (Opaque(norm, oddity(norm) or f"its {type(norm).__name__} does not fold"),)


def twin(norm: nn.LayerNorm | nn.GroupNorm, kind: type[BatchNorms]) -> BatchNorms:
    """Returns a BatchNorm of class `kind` with the factors and offsets of another norm, to switch to."""
    batch_norm = batch_norm_like(norm.weight, kind)
    factors = {name: tensor for name, tensor in norm.state_dict().items() if name in ("weight", "bias")}
    batch_norm.load_state_dict(factors, strict=False)
    return batch_norm


def batch_norm_like(weight: Tensor, kind: type[BatchNorms]) -> BatchNorms:
    """Returns a new BatchNorm of class `kind` with as many channels as the first axis of `weight` is long.

    It has the dtype of `weight` and stands on the same device.
    """
    return kind(len(weight), device=weight.device, dtype=weight.dtype)


def activation(act: nn.Module) -> tuple[Step, ...]:
    """Returns the step of an activation; nothing for an identity."""
    return () if does_nothing(act) else (Activation(act),)


def noise(module: nn.Module | None) -> tuple[Step, ...]:
    """Returns the step of a dropout or a stochastic depth; nothing where there is none."""
    if module is None or does_nothing(module):
        return ()
    why = why_not_plain(module, "dropout", *_NOISE)
    return (Noise(module),) if why is None else (Opaque(module, why),)


def attention_step(module: nn.Module | None) -> tuple[Step, ...]:
    """Returns the opaque step of a channel attention, such as a squeeze-and-excitation; nothing where there is none."""
    if module is None or does_nothing(module):
        return ()
    return (Opaque(module, f"its {type(module).__name__} weighs channels by the image itself and cannot fold"),)


def blur_step(module: nn.Module | None) -> tuple[Step, ...]:
    """Returns the opaque step of an anti-aliasing layer; nothing where there is none."""
    if module is None or does_nothing(module):
        return ()
    return (Opaque(module, f"its {type(module).__name__} resamples and does not fold"),)


def projection_steps(module: nn.Module | None, switched: list[nn.Module]) -> tuple[Step, ...]:
    """Returns the steps of a shortcut, none where it is the identity; new BatchNorms are added to `switched`."""
    if module is None:
        return ()
    why = why_not_plain(module, "row of layers", nn.Sequential)
    return steps_of(module.children(), switched) if why is None else (Opaque(module, why),)


def steps_of(modules: Iterable[nn.Module], switched: list[nn.Module]) -> tuple[Step, ...]:
    """Returns the steps of convolutions, norms and opaque layers in a row; new BatchNorms are added to `switched`."""
    steps: list[Step] = []
    for module in modules:
        if isinstance(module, nn.Conv2d):
            steps.append(Convolution(module))
        elif isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)):
            steps += norm_steps(module, switched)
        elif not does_nothing(module):
            steps.append(Opaque(module, f"its {type(module).__name__} does not fold"))
    return tuple(steps)


def unknown_site(name: str, kind: str, block: nn.Module) -> Site:
    """Returns the site of a block that can only be kept, because its class is unknown or something about it is odd."""
    reason = oddity(block) or f"a {type(block).__name__} is no block this family knows"
    return kept_site(name, kind, block, reason)
