"""Names of networks as they are written: timm's architecture, the tag of its weights, the hub's prefixes."""

import os
import re
from dataclasses import dataclass
from typing import Final

_HUB: Final = re.compile(r"hf[-_]hub:", re.IGNORECASE)
_OWNER: Final = "timm/"
_CODE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
OWN_CODE_VARIABLE: Final = "DEPTHFINDER_OWN_NETWORK"
"""The environment variable that says which code of the user's may be run as a network."""
TORCHVISION: Final = "torchvision/"
"""What names of torchvision's networks begin with."""


def is_own(name: str) -> bool:
    """Whether a network's name names code, as `package.module:function` does.

    Example:
        >>> from pruner.models.names import is_own
        >>> is_own("nets.small:make"), is_own("hf-hub:timm/resnet18")
        (True, False)
    """
    return _CODE.fullmatch(name) is not None


def trust(name: str) -> None:
    """Lets this process, and those that it starts, run the code of that name: somebody typed it."""
    os.environ[OWN_CODE_VARIABLE] = name


@dataclass(frozen=True)
class ModelName:
    """The name of a network, in its parts.

    Attributes:
        architecture: timm's name of the structure, which plans and latency tables are of.
        tag: The tag of published weights; empty for timm's default ones.
    """

    architecture: str
    tag: str = ""

    @classmethod
    def parse(cls, text: str) -> "ModelName":
        """Reads a name in any of its spellings, with or without the hub's prefixes and the tag.

        Args:
            text: 'resnet18', 'resnet18.a1_in1k', 'timm/resnet18.a1_in1k', 'hf-hub:timm/resnet18.a1_in1k' or
                'hf_hub:...'; or 'torchvision/resnet18'; or code, 'package.module:function'.

        Example:
            >>> from pruner.models.names import ModelName
            >>> ModelName.parse("hf-hub:timm/resnet18.a1_in1k")
            ModelName(architecture='resnet18', tag='a1_in1k')
        """
        if text.strip().startswith(TORCHVISION) or is_own(text.strip()):
            return cls(text.strip())
        name = _HUB.sub("", text.strip(), count=1) if _HUB.match(text.strip()) else text.strip()
        architecture, _, tag = name.removeprefix(_OWNER).partition(".")
        return cls(architecture, tag)

    def __str__(self) -> str:
        return f"{self.architecture}.{self.tag}" if self.tag else self.architecture
