"""Steps for the modules that blocks of several families are made of."""

from collections.abc import Iterable
from typing import TypeVar

from torch import Tensor, nn

from pruner._timm import BatchNormAct2d, LayerNorm2d
from pruner.chain import Block
from pruner.forms import Residual
from pruner.plan import DROP, KEEP, MERGE
from pruner.site import Site
from pruner.steps import Activation, BatchNorm, Convolution, Noise, Opaque, Step, SwitchedNorm

BatchNorms = TypeVar("BatchNorms", nn.BatchNorm1d, nn.BatchNorm2d)


def conv_step(conv: nn.Module) -> Step:
    """A convolution, or what stands in place of one."""
    if isinstance(conv, nn.Conv2d):
        return Convolution(conv)
    return Opaque(conv, f"its {type(conv).__name__} is no plain convolution")


def norm_steps(norm: nn.Module, switched: list[nn.Module]) -> tuple[Step, ...]:
    """A norm of images, with the activation that timm may have built in. A norm that no fixed map can stand for gets a
    BatchNorm to switch to, which is added to `switched`."""
    if isinstance(norm, nn.BatchNorm2d) and type(norm) in (BatchNormAct2d, nn.BatchNorm2d):
        act = getattr(norm, "act", nn.Identity())
        return (BatchNorm(norm), *noise(getattr(norm, "drop", None)), *activation(act))
    if isinstance(norm, (nn.GroupNorm, LayerNorm2d)) and not hasattr(norm, "act") and norm.weight is not None:
        batch_norm = twin(norm, nn.BatchNorm2d)
        switched.append(batch_norm)
        return (SwitchedNorm(norm, batch_norm),)
    return () if isinstance(norm, nn.Identity) else (Opaque(norm, f"its {type(norm).__name__} does not fold"),)


def twin(norm: nn.LayerNorm | nn.GroupNorm, kind: type[BatchNorms]) -> BatchNorms:
    """A BatchNorm with the factors of another norm, to switch to."""
    batch_norm = batch_norm_like(norm.weight, kind)
    factors = {name: tensor for name, tensor in norm.state_dict().items() if name in ("weight", "bias")}
    batch_norm.load_state_dict(factors, strict=False)
    return batch_norm


def batch_norm_like(weight: Tensor, kind: type[BatchNorms]) -> BatchNorms:
    """A new BatchNorm for the channels that `weight` begins with, of its kind of number and on its device."""
    return kind(len(weight), device=weight.device, dtype=weight.dtype)


def activation(act: nn.Module) -> tuple[Step, ...]:
    return () if isinstance(act, nn.Identity) else (Activation(act),)


def noise(module: nn.Module | None) -> tuple[Step, ...]:
    """Dropout, stochastic depth and their kin, where there are any."""
    return () if module is None or isinstance(module, nn.Identity) else (Noise(module),)


def attention_step(module: nn.Module | None) -> tuple[Step, ...]:
    """What weighs channels or places by the image itself, where there is such a thing."""
    if module is None or isinstance(module, nn.Identity):
        return ()
    return (Opaque(module, f"its {type(module).__name__} weighs channels by the image itself and cannot fold"),)


def blur_step(module: nn.Module | None) -> tuple[Step, ...]:
    """Anti-aliasing, where there is any."""
    if module is None or isinstance(module, nn.Identity):
        return ()
    return (Opaque(module, f"its {type(module).__name__} resamples and does not fold"),)


def shortcut_steps(modules: Iterable[nn.Module], switched: list[nn.Module]) -> tuple[Step, ...]:
    """A projection: pooling, convolution, norm."""
    steps: list[Step] = []
    for module in modules:
        if isinstance(module, nn.Conv2d):
            steps.append(Convolution(module))
        elif isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)):
            steps += norm_steps(module, switched)
        elif not isinstance(module, nn.Identity):
            steps.append(Opaque(module, f"its {type(module).__name__} does not fold"))
    return tuple(steps)


def unknown_site(name: str, kind: str, block: nn.Module) -> Site:
    """The site of a block of a kind that is not known: it can only be kept."""
    reason = f"a {type(block).__name__} is no block this family knows"
    anatomy = Residual((Opaque(block, reason),), None)
    refused = ((MERGE, reason), (DROP, reason))
    return Site(Block(name, kind, anatomy.text, (KEEP,), refused=refused), block, anatomy, {}, [])
