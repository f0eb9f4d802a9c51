"""Settings of the network, and of the weights that it begins with."""

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BeforeValidator, model_validator
from pydantic.dataclasses import dataclass

from depthfinder.config.words import height_and_width, model_arguments, sides
from profiles.option import CHECKED, Option
from pruner.models.names import ModelName

DEMO_MODEL: Final = "deit_digits"
_IMG_SIZE: Final = "img_size"


def _as_timm_writes_it(name: str) -> str:
    return str(ModelName.parse(name))


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class ArchitectureConfig:
    """The structure of a network. An `img_size` among the model's arguments becomes the setting `img_size`."""

    PANEL: ClassVar = "Network"

    model: Annotated[
        str,
        Option(
            "A timm model, with or without the tag of its weights (resnet18.a1_in1k); torchvision/resnet50 for one of "
            "torchvision's; package.module:function for code of your own; or deit_digits, which ships trained.",
            ("--model", "-m"),
            is_first=True,
            default_text="the demo's, deit_digits",
        ),
        AfterValidator(_as_timm_writes_it),
    ] = DEMO_MODEL
    model_kwargs: Annotated[
        Mapping[str, Any],
        Option("Arguments of the model, name=value; may be given again.", typed_as=list[str]),
        BeforeValidator(model_arguments),
    ] = field(default_factory=dict)
    img_size: Annotated[
        int | tuple[int, int] | None,
        Option(
            "Side of the images, or height and width (160x320 or 160,320), where the model allows others.",
            typed_as=str,
        ),
        BeforeValidator(sides),
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _one_size(cls, given: Any) -> dict[str, Any]:
        """Moves `img_size` out of the model's arguments; a size that was given by itself comes first."""
        values: dict[str, Any] = dict(given.kwargs or {})
        arguments = values.get("model_kwargs") or {}
        if isinstance(arguments, Mapping):
            size = arguments.get(_IMG_SIZE)
            rest: Any = {name: value for name, value in arguments.items() if name != _IMG_SIZE}
        else:
            pairs = [str(pair).partition("=") for pair in arguments]
            size = next((value for name, _, value in reversed(pairs) if name == _IMG_SIZE), None)
            rest = [pair for pair in arguments if not str(pair).startswith(f"{_IMG_SIZE}=")]
        values["model_kwargs"] = rest
        if values.get(_IMG_SIZE) is None:
            values[_IMG_SIZE] = size
        return values

    @property
    def kwargs(self) -> dict[str, Any]:
        """The arguments that timm makes the model with, and `img_size` among them if one was asked for."""
        if self.img_size is None:
            return dict(self.model_kwargs)
        size = list(self.img_size) if isinstance(self.img_size, tuple) else self.img_size
        return dict(self.model_kwargs) | {_IMG_SIZE: size}


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class ModelConfig(ArchitectureConfig):
    """A network with its weights."""

    pretrained: Annotated[
        bool,
        Option(
            "Start from the model's published weights, those of its tag if it has one.",
            default_text="for the demo alone",
        ),
    ] = False
    checkpoint: Annotated[
        str | None, Option("Start from the weights in this file (safetensors, or tensors that torch saved).")
    ] = None
    checkpoint_img_size: Annotated[
        tuple[int, int] | None,
        Option(
            "The images that the checkpoint's weights are for: a side, or height and width, where it cannot be known.",
            typed_as=str,
        ),
        BeforeValidator(height_and_width),
    ] = None
