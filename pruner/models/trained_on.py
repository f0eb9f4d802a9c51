"""What images a network's weights were learnt from, as far as their file says, and how other images differ."""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torch import nn

from pruner.models.weights_file import metadata_of, read_content

ENTRY: Final = "depthfinder.images"
"""The entry of an exported network's metadata that says what it was trained on, as JSON."""
_OWN: Final = "depthfinder"
"""The entry of this package's training states and masked weights, of which `images` is a part."""

# How training scripts and hubs call the classes in their checkpoints, in the order of their labels or with them.
_CLASSES: Final = ("class_to_idx", "label_names", "class_names", "classes")
_ARGUMENTS: Final = ("args", "hyper_parameters")
# Weights that a hub's config.json lies beside.
_HUB_FILES: Final = ("model", "pytorch_model")

Classes = Mapping[str, int]
"""Name -> label."""
_FAR: Final = 1e-3


@dataclass(frozen=True)
class TrainedOn:
    """What is known of the images that a network was trained on.

    Attributes:
        classes: Name of a class -> its label; None where it is not known.
        sizes: The (height, width) that the network was trained at, and those that it is meant to be tested at; empty
            where they are not known.
        mean: The mean of each channel by which images were normalised; None where it is not known.
        std: The deviation of each channel by which images were normalised; None where it is not known.
    """

    classes: Classes | None = None
    sizes: tuple[tuple[int, int], ...] = ()
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def to_json(self) -> str:
        """Returns what is known as JSON."""
        return json.dumps(self.record())

    def record(self) -> dict[str, Any]:
        """Returns what is known as plain data that JSON can hold."""
        found = {
            "class_to_idx": None if self.classes is None else dict(self.classes),
            "sizes": [list(size) for size in self.sizes] or None,
            "mean": None if self.mean is None else list(self.mean),
            "std": None if self.std is None else list(self.std),
        }
        return {name: value for name, value in found.items() if value is not None}

    def completed(self, other: "TrainedOn") -> "TrainedOn":
        """Returns this record, with what is not known here taken from `other`."""
        return TrainedOn(
            self.classes or other.classes, self.sizes or other.sizes, self.mean or other.mean, self.std or other.std
        )


def trained_on(path: Path, model: nn.Module) -> TrainedOn:
    """Reads what a weights file says of the images that the weights were learnt from.

    A `config.json` that a hub has put beside the file completes it. A checkpoint of timm's `train.py` holds the
    arguments of the training: where they leave a size, mean or deviation open, timm's defaults for `model` hold.

    Args:
        path: The weights file.
        model: The network that the weights are for.
    """
    beside = path.with_name("config.json")
    if path.stem in _HUB_FILES and beside.is_file():
        return _in_file(path, model).completed(_configured(_json(beside.read_text(encoding="utf-8", errors="replace"))))
    return _in_file(path, model)


def published(model: nn.Module) -> TrainedOn:
    """Returns what timm says of the weights that it publishes for `model`."""
    # `pretrained_cfg` is made to say the size that this network is opened at; the other keeps what timm said.
    return _configured({"pretrained_cfg": getattr(model, "default_cfg", None)})


def _in_file(path: Path, model: nn.Module) -> TrainedOn:
    if path.suffix == ".safetensors":
        metadata = metadata_of(path)
        own = _json(metadata.get(ENTRY, "")) or _mapping(_json(metadata.get(_OWN, ""))).get("images")
        return _configured(own).completed(_configured({name: _json(text) for name, text in metadata.items()}))
    content = _mapping(read_content(path))
    return _configured(content).completed(_asked_for(content, model))


def _asked_for(content: Mapping[str, Any], model: nn.Module) -> TrainedOn:
    """What a training script's own arguments say."""
    found = next((content[name] for name in _ARGUMENTS if name in content), None)
    asked = vars(found) if isinstance(found, argparse.Namespace) else _mapping(found)
    said = _configured(asked)
    sizes = _sizes(asked.get("input_size")) or _sizes(asked.get("img_size"))
    told = TrainedOn(said.classes, sizes, said.mean, said.std)
    is_timms = {"img_size", "input_size", "mean", "std"} <= asked.keys()
    default = published(model)
    return told.completed(TrainedOn(None, default.sizes, default.mean, default.std)) if is_timms else told


def _configured(said: Any) -> TrainedOn:
    """What a table says under the names that timm and this package use."""
    table = _mapping(said)
    inner = _mapping(table.get("pretrained_cfg"))
    classes = (_classes(part[name]) for part in (table, inner) for name in _CLASSES if name in part)
    own = table.get("sizes")
    said_sizes = (inner.get("input_size"), inner.get("test_input_size"), *(own if isinstance(own, list) else ()))
    return TrainedOn(
        next((found for found in classes if found), None),
        tuple(dict.fromkeys(size for said_size in said_sizes for size in _sizes(said_size))),
        _figures(table.get("mean")) or _figures(inner.get("mean")),
        _figures(table.get("std")) or _figures(inner.get("std")),
    )


def _classes(said: Any) -> Classes | None:
    """Name -> label, from the names in the order of their labels, name -> label, or label -> name."""
    if isinstance(said, str | bytes):
        return None
    if isinstance(said, Sequence):
        said = dict(zip(map(str, said), range(len(said)), strict=True))
    table = _mapping(said)
    if all(type(label) is int for label in table.values()):
        return {str(name): label for name, label in table.items()} or None
    if all(str(label).isdecimal() and isinstance(name, str) for label, name in table.items()):
        return {name: int(label) for label, name in table.items()}
    return None


def _sizes(said: Any) -> tuple[tuple[int, int], ...]:
    """((height, width),) from 224, (height, width) or (channels, height, width); empty for anything else."""
    sides = [said, said] if type(said) is int else list(said) if isinstance(said, list | tuple) else []
    if len(sides) not in (2, 3) or not all(type(side) is int and side > 0 for side in sides):
        return ()
    height, width = sides[-2:]
    return ((height, width),)


def _figures(said: Any) -> tuple[float, ...] | None:
    if not isinstance(said, list | tuple) or not all(isinstance(figure, int | float) for figure in said):
        return None
    return tuple(float(figure) for figure in said) or None


def _mapping(said: Any) -> Mapping[str, Any]:
    return said if isinstance(said, Mapping) else {}


def _json(text: str) -> Any:
    """None for what is no JSON: others' metadata may be anything."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def differences(weights: TrainedOn, images: TrainedOn) -> list[str]:
    """Says in what the images at hand differ from those that the weights were learnt from.

    Args:
        weights: What is known of the images that the weights were learnt from.
        images: What is known of the images at hand. The first of its sizes is compared.

    Returns:
        One sentence for each difference, with what can be done about it. Nothing is said of what is not known of both.

    Example:
        >>> from pruner.models.trained_on import TrainedOn, differences
        >>> differences(TrainedOn(sizes=((224, 224),)), TrainedOn(sizes=((32, 32),)))
        ['the weights are for images of 224x224 pixels, and these are 32x32: see --img-size']
    """
    return [
        *_other_classes(weights.classes, images.classes),
        *_other_size(weights.sizes, images.sizes),
        *_other_figures("mean", weights.mean, images.mean),
        *_other_figures("std", weights.std, images.std),
    ]


def _other_classes(theirs: Classes | None, ours: Classes | None) -> Iterator[str]:
    if not theirs or not ours or theirs == ours:
        return
    there, here = _by_label(theirs), _by_label(ours)
    labels = sorted(there.keys() | here.keys())
    wrong = [label for label in labels if there.get(label) != here.get(label)]
    first = wrong[0]
    text = (
        f"label {first} is {there.get(first, 'no class')} in the weights and {here.get(first, 'no class')} in these "
        f"images, and {len(wrong)} of {len(labels)} labels differ"
    )
    if theirs.keys() == ours.keys():
        yield f"the classes stand in another order: {text}; --class-map FILE lists them in the weights' order"
    else:
        yield f"the classes have other names: {text}; if they stand in another order too, --class-map FILE lists them"


def _other_size(theirs: Sequence[tuple[int, int]], ours: Sequence[tuple[int, int]]) -> Iterator[str]:
    if theirs and ours and ours[0] not in theirs:
        sizes = " or ".join(f"{height}x{width}" for height, width in theirs)
        height, width = ours[0]
        yield f"the weights are for images of {sizes} pixels, and these are {height}x{width}: see --img-size"


def _other_figures(name: str, theirs: Sequence[float] | None, ours: Sequence[float] | None) -> Iterator[str]:
    if not theirs or not ours or len(theirs) != len(ours):
        return
    if max(abs(a - b) for a, b in zip(theirs, ours, strict=True)) > _FAR:
        there, here = (" ".join(f"{figure:g}" for figure in figures) for figures in (theirs, ours))
        yield f"the weights are for images normalised by the {name} {there}, and these are by {here}: --{name} {there}"


def _by_label(classes: Classes) -> dict[int, str]:
    found: dict[int, list[str]] = {}
    for name, label in classes.items():
        found.setdefault(label, []).append(repr(name))
    return {label: ", ".join(sorted(names)) for label, names in found.items()}
