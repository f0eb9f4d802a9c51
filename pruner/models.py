"""Networks by name: timm's, and the small trained one that ships with the package."""

import difflib
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
from torch import Tensor, nn

from pruner._timm import create_model, get_pretrained_cfg, list_models
from pruner.errors import CheckpointError, UnknownModelError

_WEIGHTS: Final = Path(__file__).parent / "weights"

# Name -> the timm entry point and the arguments that make it ours.
_BUILT_IN: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "deit_digits": (
        "deit_tiny_patch16_224",
        {"img_size": 32, "patch_size": 4, "embed_dim": 96, "depth": 12, "num_heads": 3, "num_classes": 10},
    ),
}


def load_model(name: str, *, pretrained: bool = False, checkpoint: Path | None = None, **timm_kwargs: Any) -> nn.Module:
    """A timm model by its name, in evaluation mode, with the given or no trained weights.

    `pretrained` takes the weights that timm's hub, or for `deit_digits` this package, holds; `checkpoint` takes those
    of a safetensors file or of a torch file that holds tensors alone. `img_size` is for every network: one that
    takes images of any size is described, measured and exported at this one.

    Raises `UnknownModelError` with the nearest names, and `CheckpointError` when the weights cannot be had or do not
    fit.
    """
    entry, kwargs = _BUILT_IN.get(name, (name, {}))
    if entry not in list_models():
        raise UnknownModelError(f"no model is called {name!r}; {_nearest(name)}")
    kwargs = kwargs | timm_kwargs
    size = _input_size(entry, kwargs)
    try:
        model: Any = create_model(entry, pretrained=pretrained and name not in _BUILT_IN, **kwargs)
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise CheckpointError(
            f"the pretrained weights of {name} could not be had ({error}); try --checkpoint"
        ) from error
    model.pretrained_cfg = {**model.pretrained_cfg, "architecture": name, "input_size": size}
    if pretrained and name in _BUILT_IN:
        checkpoint = checkpoint or _WEIGHTS / f"{name}.safetensors"
    if checkpoint is not None:
        load_weights(model, checkpoint)
    network: nn.Module = model.eval()
    return network


def _input_size(entry: str, kwargs: dict[str, Any]) -> tuple[int, int, int]:
    """(channels, height, width) of the images; takes `img_size` out of `kwargs` where timm's network has no such
    argument, since it takes images of any size."""
    known: Any = get_pretrained_cfg(entry)
    channels, *sides = (3, 224, 224) if known is None else known.input_size
    if "img_size" in kwargs:
        asked = kwargs["img_size"]
        sides = [asked, asked] if isinstance(asked, int) else list(asked)
        if known is not None and not known.fixed_input_size:
            del kwargs["img_size"]
    height, width = sides
    return kwargs.get("in_chans", channels), height, width


def load_weights(model: nn.Module, path: Path) -> None:
    """Puts the weights of a file into `model`. Raises `CheckpointError` when they cannot be read or do not fit."""
    weights = read_weights(path)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit the model: {error}") from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file, read without running anything it may hold. Raises `CheckpointError`."""
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no file {path}") from error
    except Exception as error:  # both readers raise many kinds for a damaged or hostile file; all mean the same here
        raise CheckpointError(f"{path} cannot be read as weights: {error}") from error
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(f"{path} does not hold a plain table of tensors")
    return weights


def _nearest(name: str) -> str:
    known = [*_BUILT_IN, *list_models()]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"nearest: {', '.join(near)}" if near else f"one of {len(known)} that exist: deit_tiny_patch16_224"
