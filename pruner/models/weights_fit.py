"""Fits the weights of a file to a network: wrappers' prefixes, other image sizes, another number of classes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from pruner._timm import weights_filter
from pruner.errors import CheckpointError
from pruner.models.names import ModelName
from pruner.models.positions import fitted_positions
from pruner.models.weights_file import FoundWeights, Which, find_weights, put_into, read_weights

# DistributedDataParallel and AveragedModel, torch.compile, Lightning, this package's training state, and backbones.
_PREFIXES: Final = ("module.", "_orig_mod.", "model.", "network.", "backbone.")
_MOSTLY: Final = 0.9
_SHOWN: Final = 4


@dataclass(frozen=True)
class LoadedWeights:
    """Which weights a network was given, and what had to be done to them.

    Attributes:
        source: The file, or the weights' place on the hub.
        tensors: How many tensors the network was given.
        new_head: Whether the classifier was left as it was drawn, so that the network is not trained for its classes.
        ema: Whether the weights are the moving average of their training.
        stripped_prefix: The prefix that was taken off the tensors' names.
        resized: The names of the tensors that were resampled, for images or patches of another size.
        positions: Which grid the position embeddings were resampled from, or assumed to be of; empty for neither.
    """

    source: str
    tensors: int
    new_head: bool
    ema: bool = False
    stripped_prefix: str = ""
    resized: tuple[str, ...] = ()
    positions: str = ""

    @property
    def text(self) -> str:
        """All of this in one line."""
        notes = [f"{self.tensors} tensors from {self.source}"]
        if self.ema:
            notes.append("the average (EMA) of their training")
        if self.stripped_prefix:
            notes.append(f"without the prefix {self.stripped_prefix!r}")
        if self.resized:
            notes.append(f"resized: {', '.join(self.resized)}")
        if self.positions:
            notes.append(self.positions)
        if self.new_head:
            notes.append("the classifier is new and untrained")
        return "; ".join(notes)


def load_weights(model: nn.Module, path: Path) -> None:
    """Puts the weights of a file into `model`, name by name.

    Raises `CheckpointError` when the weights cannot be read or do not fit exactly.
    """
    weights = read_weights(path)
    try:
        put_into(model, weights)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit the model: {error}") from error


def fit_weights(
    model: nn.Module, path: Path, which: Which | None = None, img_size: Sequence[int] | None = None
) -> LoadedWeights:
    """Puts the weights of a checkpoint into a timm model, and says what had to be done to them.

    The weights take the model's dtype. Where the checkpoint has no classifier, or one for another number of classes,
    the model keeps its own.

    Args:
        model: The network, with a `pretrained_cfg` that names its architecture. It is changed in place, but only if the
            weights fit.
        path: A safetensors or torch file.
        which: Which weights of a file that has both: "ema", the moving average, or "raw". The average by default.
        img_size: The (height, width) of the images that the weights are for, where the caller knows it.

    Raises:
        CheckpointError: when the file cannot be read, does not fit apart from the classifier, or has weights that are
            not finite.
    """
    found = find_weights(path, which)
    own = model.state_dict()
    named, prefix = _without_prefix(found.tensors, own.keys())
    positions = fitted_positions(model, named, found, img_size)
    placed = named if positions is None else named | {positions.name: positions.tensor}
    converted = _as_timm_has_it(model, placed, found)
    fresh = _head_of_its_own(model, own, converted)
    left_out = head_names(model) if fresh or not head_names(model) & own.keys() else frozenset()
    fitted = {name: tensor for name, tensor in converted.items() if name not in left_out}
    expected = {name: tensor for name, tensor in own.items() if name not in fresh}
    _check_fit(expected, fitted, found, model)
    _check_values(expected, fitted, path)
    put_into(model, fitted, strict=False)
    moved = positions.name if positions is not None and positions.is_resampled else None
    resized = tuple(n for n in fitted if n in named and (n == moved or named[n].shape != fitted[n].shape))
    said = "" if positions is None else positions.text
    return LoadedWeights(str(path), len(fitted), bool(fresh), found.ema, prefix, resized, said)


def _without_prefix(tensors: Mapping[str, Tensor], own: Set[str]) -> tuple[dict[str, Tensor], str]:
    """The tensors under the names that the network has for them, and the prefix that wrappers had put before these.

    Tensors outside the wrapped network (a loss, a count of steps) are left out, unless the model has them as well: a
    head beside a backbone.
    """
    inside, stripped = dict(tensors), ""
    outside: dict[str, Tensor] = {}
    while True:
        prefix = next((prefix for prefix in _PREFIXES if _is_wrapped(prefix, inside, own)), None)
        if prefix is None:
            kept = {name: tensor for name, tensor in outside.items() if name in own}
            return kept | inside, stripped
        outside |= {name: tensor for name, tensor in inside.items() if not name.startswith(prefix)}
        inside = {name.removeprefix(prefix): tensor for name, tensor in inside.items() if name.startswith(prefix)}
        stripped += prefix


def _is_wrapped(prefix: str, names: Iterable[str], own: Set[str]) -> bool:
    shares = [name.startswith(prefix) for name in names]
    return sum(shares) >= _MOSTLY * len(shares) and not any(name.startswith(prefix) for name in own)


def _as_timm_has_it(model: nn.Module, tensors: dict[str, Tensor], found: FoundWeights) -> dict[str, Tensor]:
    convert = weights_filter(model)
    if convert is None:
        return tensors
    try:
        with torch.no_grad():
            return convert(dict(tensors), model)
    except Exception as error:  # made for timm's own files: on any other they fail in whatever way comes first
        said = (
            _said_otherwise(model, found) or "They seem to be of another architecture, or for images of another shape"
        )
        reason = str(error).partition("\n")[0]
        raise CheckpointError(
            f"{found.path} does not fit the model: it cannot be converted ({type(error).__name__}: {reason!r}). {said}"
        ) from error


def _head_of_its_own(model: nn.Module, own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> Set[str]:
    """The names of the model's classifier, if the file has no classifier or one for another number of classes."""
    head = head_names(model) & own.keys()
    if all(name in tensors and not _is_of_other_classes(own[name], tensors[name]) for name in head):
        return frozenset()
    return head


def head_names(model: nn.Module) -> Set[str]:
    """Returns the names that the tensors of a timm model's classifier, or classifiers, may have."""
    configuration: Any = model.pretrained_cfg
    named = configuration.get("classifier") or ()
    modules = (named,) if isinstance(named, str) else named
    return {f"{module}.{leaf}" for module in modules for leaf in ("weight", "bias")}


def _is_of_other_classes(own: Tensor, other: Tensor) -> bool:
    return own.shape != other.shape and own.shape[1:] == other.shape[1:]


def _missing(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[str]:
    """The names that the model has and the file has not.

    Counts of batches are left out: PyTorch before 0.4.1 did not count, and only a BatchNorm without momentum needs it.
    """
    return [name for name in own if name not in tensors and not name.endswith(".num_batches_tracked")]


def _misshapen(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[str]:
    return [name for name in own if name in tensors and tensors[name].shape != own[name].shape]


def _check_fit(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], found: FoundWeights, model: nn.Module) -> None:
    missing, misshapen = _missing(own, tensors), _misshapen(own, tensors)
    unexpected = [name for name in tensors if name not in own]
    shapes = [f"{name!r} {tuple(tensors[name].shape)} not {tuple(own[name].shape)}" for name in misshapen]
    faults = {"missing": [*map(repr, missing)], "unexpected": [*map(repr, unexpected)], "of another shape": shapes}
    if any(faults.values()):
        listed = "; ".join(f"{len(names)} {fault}: {_first(names)}" for fault, names in faults.items() if names)
        raise CheckpointError(
            f"{found.path} does not fit the model: {listed}. "
            + (_said_otherwise(model, found) or _explanation(len(own), missing, unexpected))
        )


def _first(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _said_otherwise(model: nn.Module, found: FoundWeights) -> str | None:
    configuration: Any = model.pretrained_cfg
    asked = configuration.get("architecture")
    if found.architecture is None or ModelName.parse(found.architecture).architecture == asked:
        return None
    return f"The file says that it is of {found.architecture!r}, and the model is {asked!r}"


def _explanation(size: int, missing: list[str], unexpected: list[str]) -> str:
    """The most likely reason that weights do not fit a network of `size` tensors."""
    wanted = set(missing)
    ends = [(name[: -len(end)], end) for name in unexpected for end in _ends(name) if end in wanted]
    prefixes = Counter(prefix for prefix, _ in ends).most_common(1)
    if prefixes and prefixes[0][1] >= len(missing) / 2:
        return f"The names have {prefixes[0][0]!r} before them: take that off"
    if len(missing) > size / 2:
        return "It seems to be of another architecture"
    if missing or unexpected:
        return "It seems to be of a deeper or shallower network, or of another variant of this one"
    return "It seems to be of a network of another width, or for other images"


def _ends(name: str) -> list[str]:
    """a.b.c -> b.c, c."""
    parts = name.split(".")
    return [".".join(parts[start:]) for start in range(1, len(parts))]


def _check_values(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raises `CheckpointError` for weights that are not finite, or that are the codes of a quantized network."""
    for name, tensor in tensors.items():
        if not own[name].is_floating_point():
            continue
        if not tensor.is_floating_point() or tensor.layout != torch.strided or tensor.is_meta:
            kind = f"{tensor.dtype}, {tensor.layout}, {tensor.device}"
            raise CheckpointError(f"{path}: {name!r} is not made of plain floating-point numbers ({kind})")
        if not torch.isfinite(tensor.float()).all():
            raise CheckpointError(
                f"{path}: {name!r} holds NaN or infinite values, as a training leaves that has diverged; "
                "take a checkpoint from before"
            )
