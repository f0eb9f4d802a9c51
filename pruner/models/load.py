"""Opens networks by name: timm's, and the small trained one that ships with the package."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from torch import nn

from pruner._timm import create_model, get_pretrained_cfg, list_models
from pruner.errors import CheckpointError, UnknownModelError
from pruner.models.names import TORCHVISION, ModelName, is_own
from pruner.models.of_torchvision import torchvision_network
from pruner.models.own import own_network
from pruner.models.weights_file import Which
from pruner.models.weights_fit import LoadedWeights, fit_weights, head_names

_WEIGHTS: Final = Path(__file__).parent.parent / "weights"

# Name -> the timm entry point and the arguments that make the shipped network of it.
_BUILT_IN: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "deit_digits": (
        "deit_tiny_patch16_224",
        {"img_size": 32, "patch_size": 4, "embed_dim": 96, "depth": 12, "num_heads": 3, "num_classes": 10},
    ),
}


def load_model(
    name: str,
    *,
    pretrained: bool = False,
    checkpoint: Path | None = None,
    weights: Which | None = None,
    checkpoint_img_size: int | Sequence[int] | None = None,
    **timm_kwargs: Any,
) -> nn.Module:
    """Returns a timm model by its name, in evaluation mode, with trained weights where they are asked for.

    Weights that do not have the model's number of classes leave its classifier untrained: `load_model_and_source` says
    whether they do.

    Args:
        name: timm's name, with or without the tag of published weights and the hub's prefixes: `resnet18`,
            `resnet18.a1_in1k`, `hf-hub:timm/resnet18.a1_in1k`. The tag says which weights `pretrained` takes. Or
            `torchvision/resnet50` for a classifier of torchvision's; or `package.module:function` for code of your own,
            which has to be typed (`pruner.models.names.trust`).
        pretrained: Takes the weights that timm's hub or torchvision holds or, for `deit_digits`, this package.
        checkpoint: A safetensors or torch file to take the weights from, such as a training's checkpoint. It goes
            before `pretrained`.
        weights: Which weights of a file that has both: "ema", the average, or "raw". The average by default.
        checkpoint_img_size: The size of the images that the weights of the file are for, as a side in pixels or
            (height, width). It says which grid their position embeddings are of, where that cannot be known otherwise.
        **timm_kwargs: Arguments of timm's `create_model`. `img_size` goes with every network, as a side in pixels or
            (height, width): a network that takes images of any size is described, measured and exported at this one,
            and by default at the size in timm's configuration.

    Returns:
        The model. Its `pretrained_cfg` names the architecture, and the input size (channels, height, width).

    Raises:
        UnknownModelError: when there is no such network, with the nearest names, or timm cannot use the arguments.
        CheckpointError: when the weights cannot be had or do not fit.
        ValueError: when a size is neither a side in pixels nor (height, width).

    Example:
        >>> from pruner.models.load import load_model
        >>> model = load_model("deit_digits", pretrained=True)
        >>> len(model.blocks), model.num_classes, model.pretrained_cfg["input_size"]
        (12, 10, (3, 32, 32))
    """
    model, _ = load_model_and_source(
        name,
        pretrained=pretrained,
        checkpoint=checkpoint,
        weights=weights,
        checkpoint_img_size=checkpoint_img_size,
        **timm_kwargs,
    )
    return model


def load_model_and_source(
    name: str,
    *,
    pretrained: bool = False,
    checkpoint: Path | None = None,
    weights: Which | None = None,
    checkpoint_img_size: int | Sequence[int] | None = None,
    **timm_kwargs: Any,
) -> tuple[nn.Module, LoadedWeights | None]:
    """Returns a model as `load_model` does, and which weights it was given.

    It takes the same arguments as `load_model` and raises the same errors.

    Returns:
        (the model, which weights it was given); the latter None when it was given none.

    Example:
        >>> from pruner.models.load import load_model_and_source
        >>> model, loaded = load_model_and_source("deit_digits", pretrained=True)
        >>> loaded.tensors, loaded.new_head
        (152, False)
    """
    asked = ModelName.parse(name)
    if asked.architecture.startswith(TORCHVISION):
        size = timm_kwargs.pop("img_size", None)
        published = pretrained and checkpoint is None
        network, given = torchvision_network(
            asked.architecture, None if size is None else _sides(size), pretrained=published, **timm_kwargs
        )
        return network, given if checkpoint is None else fit_weights(network, checkpoint, weights)
    if is_own(asked.architecture):
        size = timm_kwargs.pop("img_size", None)
        if pretrained and checkpoint is None:
            raise CheckpointError(f"{asked} has no published weights: its code brings them, or --checkpoint does")
        network = own_network(asked.architecture, None if size is None else _sides(size), **timm_kwargs)
        return network, None if checkpoint is None else fit_weights(network, checkpoint, weights)
    entry, kwargs = _BUILT_IN.get(str(asked), (str(asked), {}))
    name = asked.architecture
    _check_known(asked, entry)
    kwargs = kwargs | timm_kwargs
    size = _input_size(entry, kwargs)
    if pretrained and checkpoint is None and name in _BUILT_IN:
        checkpoint, checkpoint_img_size = _WEIGHTS / f"{name}.safetensors", _BUILT_IN[name][1]["img_size"]
    at_hub = pretrained and checkpoint is None
    try:
        model: Any = create_model(entry, pretrained=at_hub, **kwargs)
    except Exception as error:  # whatever a network raises for arguments that it does not know or cannot use
        if at_hub and isinstance(error, (OSError, RuntimeError)):
            raise CheckpointError(
                f"the pretrained weights of {asked} could not be had ({error}); try --checkpoint"
            ) from error
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UnknownModelError(f"timm makes no {entry} of the arguments {kwargs}: {reason}") from error
    loaded = _from_hub(model) if at_hub else None
    model.pretrained_cfg = {**model.pretrained_cfg, "architecture": name, "input_size": size}
    if checkpoint is not None:
        of = None if checkpoint_img_size is None else _sides(checkpoint_img_size)
        loaded = fit_weights(model, checkpoint, weights, of)
    return model.eval(), loaded


def _input_size(entry: str, kwargs: dict[str, Any]) -> tuple[int, int, int]:
    """(channels, height, width) of the images.

    Takes `img_size` out of `kwargs` where timm's network has no such argument because it takes images of any size.
    """
    known: Any = get_pretrained_cfg(entry)
    channels, *sides = (3, 224, 224) if known is None else known.input_size
    asked = kwargs.get("img_size")
    if asked is not None:
        sides = _sides(asked)
        if known is not None and not known.fixed_input_size:
            del kwargs["img_size"]
    height, width = sides
    return kwargs.get("in_chans", channels), height, width


def _sides(asked: int | Sequence[int]) -> tuple[int, int]:
    """(height, width). Raises `ValueError` for what is no size."""
    sides = (asked, asked) if isinstance(asked, int) else tuple(asked)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(f"img_size is a side in pixels, or (height, width), not {asked!r}")
    return sides[0], sides[1]


def _from_hub(model: Any) -> LoadedWeights:
    """Which weights timm has given the model: all but a classifier for another number of classes than the published."""
    published = model.pretrained_cfg
    source = published.get("hf_hub_id") or published.get("url") or "timm's hub"
    new_head = model.num_classes not in (0, published["num_classes"])
    head = head_names(model) & model.state_dict().keys() if new_head else frozenset()
    return LoadedWeights(f"hub {source}", len(model.state_dict()) - len(head), new_head)


def _check_known(asked: ModelName, entry: str) -> None:
    """Raises `UnknownModelError` for an architecture, or a tag of its weights, that does not exist."""
    if "/" in str(asked):
        raise UnknownModelError(
            f"{str(asked)!r} is no network of timm's own: name its architecture, as timm calls it, and give its "
            "weights with --checkpoint"
        )
    if ModelName.parse(entry).architecture not in list_models():
        raise UnknownModelError(f"no model is called {str(asked)!r}; {_nearest(asked.architecture)}")
    if not asked.tag:
        return
    tags = [ModelName.parse(one).tag for one in list_models(f"{asked.architecture}.*", pretrained=True)]
    if asked.tag not in tags:
        near = difflib.get_close_matches(asked.tag, tags, n=3, cutoff=0.0)
        there = f"nearest: {', '.join(f'{asked.architecture}.{tag}' for tag in near)}" if near else "it has none"
        raise UnknownModelError(f"{asked.architecture} has no published weights called {asked.tag!r}; {there}")


def _nearest(name: str) -> str:
    known = [*_BUILT_IN, *list_models()]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"nearest: {', '.join(near)}" if near else f"one of {len(known)} that exist: deit_tiny_patch16_224"
