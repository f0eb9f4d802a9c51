"""Reads weights files without running what they may hold, and finds a network's tensors in them."""

import argparse
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import safetensors
import torch
from torch import Tensor, nn

from pruner.choices.plan import PLAN_ENTRY
from pruner.errors import CheckpointError

Which = Literal["ema", "raw"]
"""Which of two tables of weights: the exponential moving average (EMA) of the training, or what was trained itself."""

# What training scripts call the tables in their checkpoints; timm's own names first.
_EMA: Final = ("state_dict_ema", "model_ema")
_RAW: Final = ("state_dict", "model", "model_state", "model_state_dict", "module")
_DEEPEST: Final = 4
"""Tables within tables; a hostile file can hold one that holds itself."""


@dataclass(frozen=True)
class FoundWeights:
    """The tensors of one network that were found in a file.

    Attributes:
        path: The file.
        tensors: The tensors, by the names that they have in the file.
        ema: Whether they are the moving average of a training.
        architecture: The architecture that the file says they are of; None where it does not say.
        img_size: The (height, width) of the images that the file says they are for; None where it does not say.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    ema: bool
    architecture: str | None
    img_size: tuple[int, int] | None = None


def put_into(network: nn.Module, weights: Mapping[str, Tensor], *, strict: bool = True) -> None:
    """Puts weights into a network as `load_state_dict` does.

    Some networks go by versions that their state dict has beside the weights, and that no file of weights keeps: those
    of the network itself hold.
    """
    own = network.state_dict()
    state: Any = OrderedDict(weights)
    state._metadata = getattr(own, "_metadata", None)
    network.load_state_dict(state, strict=strict)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Reads a file that holds a plain table of tensors and nothing else.

    Raises `CheckpointError` when the file cannot be read, or holds anything else.
    """
    content = read_content(path)
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path} does not hold a plain table of tensors")
    return content


def find_weights(path: Path, which: Which | None = None) -> FoundWeights:
    """Finds a network's tensors in a file.

    They are all that the file holds, or the table of weights among the other things that training scripts leave.

    Args:
        path: A safetensors or torch file.
        which: "ema" for the moving average, "raw" for the weights that were trained themselves. None takes the average
            where there is one, because the accuracy that a training reports is the average's.

    Raises:
        CheckpointError: when the file cannot be read, has none of the weights asked for, or is a merged network's.
    """
    content = read_content(path)
    _refuse_merged(path)
    table, ema = content, False
    for _ in range(_DEEPEST):
        inner = _inner_tables(table)
        names = [name for name in (*_EMA, *_RAW) if name in inner and (which != "raw" or name not in _EMA)]
        if not names:
            break
        table, ema = inner[names[0]], ema or names[0] in _EMA
    if which == "ema" and not ema:
        raise CheckpointError(
            f"{path} holds no EMA weights under {' or '.join(_EMA)}; ask for neither to take what it holds"
        )
    tensors = _tensors_of(table)
    if not tensors:
        raise CheckpointError(f"{path} holds no weights{_seen_in(content)}")
    return FoundWeights(path, tensors, ema, _architecture(content), _image_size(content))


def read_content(path: Path) -> Any:
    """Reads a file without running anything in it.

    Returns its tensors by name, or whatever else of plain values and tensors was saved. Raises `CheckpointError` when
    the file cannot be read.
    """
    if path.is_dir():
        raise CheckpointError(f"{path} is a directory; name the file in it that holds the weights")
    if not path.exists():
        raise CheckpointError(f"there is no file {path}")
    try:
        if path.stat().st_size == 0:
            raise CheckpointError(f"{path} cannot be read as weights: it is empty")
        if path.suffix == ".safetensors":
            with safetensors.safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        # timm's checkpoints hold their arguments as a Namespace, which runs nothing. Nothing else is let in.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # both readers raise many kinds for a damaged or hostile file; all mean the same here
        raise CheckpointError(f"{path} cannot be read as weights: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Why a file cannot be read, in one line. torch's own advice, to read it unsafely, is not passed on."""
    text = str(error)
    refused = re.search(r"GLOBAL (\S+)", text)
    if refused:
        return (
            f"it holds more than tensors ({refused[1]!r}), and anything else could run when it is read. Where you "
            "trust it, open it in Python and save the model.state_dict() in it with safetensors.torch.save_file"
        )
    if "weights_only" in text:
        return "it is not what torch.save leaves of a model.state_dict()"
    return text.partition("\n")[0] or type(error).__name__


def metadata_of(path: Path) -> dict[str, str]:
    """Returns the texts that a safetensors file holds beside its tensors, by name."""
    with safetensors.safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def _refuse_merged(path: Path) -> None:
    if path.suffix == ".safetensors" and PLAN_ENTRY in metadata_of(path):
        raise CheckpointError(
            f"{path} is a merged network, which has other layers than the model it was made of: "
            "df.load_merged(FOLDER) opens the one of a run's folder"
        )


def _inner_tables(table: Any) -> dict[str, Any]:
    """The tables in a table, where its own entries are not the tensors."""
    if not isinstance(table, dict):
        return {}
    return {name: value for name, value in table.items() if isinstance(value, dict) and value}


def _tensors_of(table: Any) -> dict[str, Tensor]:
    """The tensors of a state dict, which may have other entries too: what modules save of their own, a version."""
    if not isinstance(table, dict):
        return {}
    return {name: t.detach() for name, t in table.items() if isinstance(name, str) and isinstance(t, Tensor)}


def _seen_in(content: Any) -> str:
    if not isinstance(content, dict):
        return f": a {type(content).__name__} is not a table of tensors"
    names = ", ".join(repr(name) for name in list(content)[:6])
    return f" under {', '.join((*_RAW, *_EMA))}, but {names}" if names else ": its table is empty"


def _architecture(content: Any) -> str | None:
    said = content.get("arch", content.get("architecture")) if isinstance(content, dict) else None
    return said if isinstance(said, str) else None


def _image_size(content: Any) -> tuple[int, int] | None:
    """(height, width) of the images, from the arguments that a training script has left in its checkpoint.

    timm's script has them as `input_size`, as `img_size`, or as the `img_size` of `model_kwargs`.
    """
    if not isinstance(content, dict):
        return None
    for name in ("args", "hyper_parameters", "config"):
        arguments = content.get(name)
        table = vars(arguments) if isinstance(arguments, argparse.Namespace) else arguments
        if not isinstance(table, dict):
            continue
        model_kwargs = table.get("model_kwargs")
        within = model_kwargs.get("img_size") if isinstance(model_kwargs, dict) else None
        for size in (table.get("input_size"), table.get("img_size"), within):
            sides = [size, size] if isinstance(size, int) else size
            if not isinstance(sides, list | tuple) or len(sides) not in (2, 3):
                continue
            if all(isinstance(side, int) and side > 0 for side in sides):
                return sides[-2], sides[-1]
    return None
