"""The inner width of a block, that is, the channels between two of its layers; and narrower copies of the block.

A branch mixes its channels in one layer, treats each of them alone (an activation, a BatchNorm, a depthwise
convolution, a squeeze-and-excitation) and mixes them again in a second layer. Some of the channels between the two may
be removed: in an FFN, an inverted residual, a basic block, the last two layers of a bottleneck, a ConvNeXt block. An
attention loses whole heads in the same way (`pruner/families/heads.py`).
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from pruner._timm import SqueezeExcite
from pruner.algebra.branch import batch_norm_pairs
from pruner.algebra.modules import BatchNormPair
from pruner.algebra.oddities import first_oddity
from pruner.algebra.steps import Activation, BatchNorm, Convolution, Linear, Noise, Opaque, Scale, Step
from pruner.choices.choice import SHARES
from pruner.choices.forms import Residual

_ROUND_TO: Final = 8


@dataclass(frozen=True)
class Hidden(ABC):
    """The units that a block may lose: the channels, or the heads, that one of its layers reads.

    Attributes:
        reader: The layer that reads the units and mixes them.
        behind: The steps from the reader to the end of the branch. They only scale the channels of the output and add
            an offset to them.
    """

    reader: nn.Linear | nn.Conv2d
    behind: tuple[Step, ...]

    @property
    @abstractmethod
    def units(self) -> int:
        """How many units there are."""

    @abstractmethod
    def kept_count(self, choice: str) -> int:
        """Returns how many units a choice keeps."""

    @abstractmethod
    def by_weights(self) -> Tensor:
        """Returns the indices of the units from the most to the least important, by the norms of their weights.

        The importance of a unit is the norm of the weights that make it, times the norm of those that read it.
        """

    @abstractmethod
    def replacements(self, units: Tensor) -> Mapping[nn.Module, nn.Module]:
        """Returns the modules of the block that change when only these units are left, each with its narrower copy.

        The reader is one of them, or stands in one of them.
        """

    @property
    def side(self) -> int:
        """The side of the reader's kernel; 1 for a linear layer."""
        return 1 if isinstance(self.reader, nn.Linear) else self.reader.kernel_size[0]

    def reader_name(self, kept: nn.Module) -> str:
        """Returns the module path of the reader in the block `kept`, which is the same in a narrowed copy of it."""
        names: dict[nn.Module, str] = {module: name for name, module in kept.named_modules()}
        return names[self.reader]

    @property
    def features(self) -> int:
        """How many numbers the reader reads for one place of its output."""
        reader = self.reader
        inputs = reader.in_features if isinstance(reader, nn.Linear) else reader.in_channels
        return inputs * self.side**2

    @property
    def taps(self) -> int:
        """How many of the features belong to one unit; they lie side by side."""
        return self.features // self.units

    @property
    def offered(self) -> tuple[str, ...]:
        """The choices that make the block narrower, only the first of those that keep the same number of units."""
        found: dict[int, str] = {}
        for choice in SHARES:
            found.setdefault(self.kept_count(choice), choice)
        return tuple(choice for count, choice in found.items() if count < self.units)


@dataclass(frozen=True)
class HiddenChannels(Hidden):
    """The channels between two layers.

    Attributes:
        maker: The layer that makes the channels.
        between: The modules between maker and reader, which treat each channel alone.
    """

    maker: nn.Module
    between: tuple[nn.Module, ...]

    @property
    def units(self) -> int:
        """How many channels the reader reads."""
        return self.reader.in_features if isinstance(self.reader, nn.Linear) else self.reader.in_channels

    def kept_count(self, choice: str) -> int:
        """Returns the choice's share of the channels, rounded to a multiple of eight and at least eight."""
        return max(_ROUND_TO, _ROUND_TO * round(SHARES[choice] * self.units / _ROUND_TO))

    @torch.no_grad()
    def by_weights(self) -> Tensor:
        """Returns the indices of the channels from the most to the least important, by the weights on both sides."""
        made: Any = self.maker
        into = made.weight.flatten(1).double().norm(dim=1)
        out_of = self.reader.weight.transpose(0, 1).flatten(1).double().norm(dim=1)
        order: Tensor = (into * out_of).argsort(descending=True, stable=True)
        return order

    def replacements(self, units: Tensor) -> Mapping[nn.Module, nn.Module]:
        """Returns maker, reader and the modules between, each with a copy that has these channels alone."""
        made = {module: sliced(module, outputs=units) for module in (self.maker, *self.between)}
        return made | {self.reader: sliced(self.reader, inputs=units)}


def hidden_of(anatomy: Residual) -> Hidden | None:
    """Returns the last inner width of a block; None where the block has none that can be narrowed."""
    branch = anatomy.branch
    mixing = [place for place, step in enumerate(branch) if _mixes(step)]
    if len(mixing) < 2:
        return None
    first, last = mixing[-2:]
    maker, reader = branch[first], branch[last]
    between, behind = branch[first + 1 : last], branch[last + 1 :]
    if any(step.why_not is not None or _groups(step) > 1 for step in (maker, reader)) or not _keeps_size(reader):
        return None
    if not all(map(_treats_each_for_itself, between)) or not all(
        isinstance(s, BatchNorm | Scale | Noise) for s in behind
    ):
        return None
    norms = [step for step in behind if isinstance(step, BatchNorm)]
    if any(norm.why_not is not None for norm in norms) or (norms and any(isinstance(step, Scale) for step in behind)):
        return None
    found = HiddenChannels(
        reader.linear if isinstance(reader, Linear) else reader.conv,  # type: ignore[attr-defined]
        behind,
        maker.modules()[0],
        tuple(module for step in between for module in step.modules()),
    )
    # What ends the block is taken out of a narrowed copy, which it would be twice if it stood between as well.
    return None if anatomy.end is not None and anatomy.end.act in found.between else found


def narrowed(
    kept: nn.Module, anatomy: Residual, hidden: Hidden, units: Tensor
) -> tuple[nn.Module, list[BatchNormPair]]:
    """Returns a copy of a block with fewer units in its inner width, without the activation that ends the block.

    A layer scale is multiplied into the reader's weights. A reader that no BatchNorm follows is given a bias.

    Args:
        kept: The block.
        anatomy: What the block computes.
        hidden: Its inner width.
        units: The indices of the units that stay.

    Returns:
        The copy, and its BatchNorms, each with the convolution before it.
    """
    replaced: dict[int, Any] = {id(module): new for module, new in hidden.replacements(units).items()}
    owners = [step.owner for step in hidden.behind if isinstance(step, Scale)]
    replaced |= {id(owner): nn.Identity() for owner in owners if owner is not kept}
    if anatomy.end is not None:
        replaced[id(anatomy.end.act)] = nn.Identity()
    steps = [anatomy.branch, anatomy.shortcut or ()]
    pairs = [pair for some in steps for pair in batch_norm_pairs(some)]
    # What is replaced is not copied.
    layer: Any
    layer, own_pairs = copy.deepcopy((kept, pairs), replaced)
    reader: Any = layer.get_submodule(hidden.reader_name(kept))
    if reader.bias is None and not any(isinstance(step, BatchNorm) for step in hidden.behind):
        reader.bias = nn.Parameter(reader.weight.new_zeros(len(reader.weight)))
    with torch.no_grad():
        for owner in owners:  # the reader's rows take the factors in
            reader.weight.mul_(owner.gamma.view(-1, *[1] * (reader.weight.dim() - 1)))
            if reader.bias is not None:
                reader.bias.mul_(owner.gamma)
    if any(owner is kept for owner in owners):
        layer.gamma = None
    return layer, own_pairs


def _mixes(step: Step) -> bool:
    if isinstance(step, Convolution):
        return not _is_depthwise(step.conv)
    return isinstance(step, Linear) or not (
        isinstance(step, BatchNorm | Scale | Noise | Activation) or _is_excitation(step)
    )


def _treats_each_for_itself(step: Step) -> bool:
    if isinstance(step, Activation):
        return not list(step.act.parameters())
    if isinstance(step, Convolution):
        return step.why_not is None and _is_depthwise(step.conv)
    return isinstance(step, Noise) or _is_excitation(step) or (isinstance(step, BatchNorm) and step.why_not is None)


def _is_depthwise(conv: nn.Conv2d) -> bool:
    return conv.groups == conv.in_channels == conv.out_channels > 1


def _is_excitation(step: Step) -> bool:
    return isinstance(step, Opaque) and type(step.module) is SqueezeExcite and first_oddity(step.module) is None


def _groups(step: Step) -> int:
    return step.conv.groups if isinstance(step, Convolution) else 1


def _keeps_size(step: Step) -> bool:
    """Whether a place of the output is a place of the input."""
    if not isinstance(step, Convolution):
        return isinstance(step, Linear)
    conv, side = step.conv, step.conv.kernel_size[0]
    return side % 2 == 1 and (conv.kernel_size, conv.padding, conv.stride, conv.dilation) == (
        (side, side),
        (side // 2, side // 2),
        (1, 1),
        (1, 1),
    )


def sliced(module: Any, outputs: Tensor | None = None, inputs: Tensor | None = None) -> Any:
    """Returns a copy of a layer with only these outputs, or only these inputs.

    Args:
        module: A linear layer, a convolution, a BatchNorm, a module without weights, or a squeeze-and-excitation.
        outputs: The indices of the output channels that stay; None for all.
        inputs: The indices of the input channels that stay; None for all.
    """
    layer = copy.deepcopy(module)
    if isinstance(module, SqueezeExcite):
        layer.conv_reduce = sliced(module.conv_reduce, inputs=outputs)
        layer.conv_expand = sliced(module.conv_expand, outputs=outputs)
        return layer
    for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
        if tensor.dim() == 0:
            continue
        some = tensor.detach()
        if outputs is not None:
            some = some[outputs.to(some.device)]
        if inputs is not None and some.dim() > 1:
            some = some[:, inputs.to(some.device)]
        is_weight = isinstance(tensor, nn.Parameter)
        setattr(layer, name, nn.Parameter(some.clone(), tensor.requires_grad) if is_weight else some.clone())
    _renumber(layer, None if outputs is None else len(outputs), None if inputs is None else len(inputs))
    return layer


def _renumber(layer: Any, outputs: int | None, inputs: int | None) -> None:
    """Sets the attributes that say how wide a layer is."""
    depthwise = isinstance(layer, nn.Conv2d) and layer.groups > 1
    names: dict[str, int | None] = {"out_features": outputs, "out_channels": outputs, "num_features": outputs}
    names |= {"in_features": inputs, "in_channels": outputs if depthwise else inputs}
    names |= {"groups": outputs} if depthwise else {}
    for name, count in names.items():
        if count is not None and hasattr(layer, name):
            setattr(layer, name, count)
