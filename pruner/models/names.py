"""Names of networks as the ecosystem writes them: timm's architecture, the tag of its weights, the hub's prefixes."""

import re
from dataclasses import dataclass
from typing import Final

_HUB: Final = re.compile(r"hf[-_]hub:", re.IGNORECASE)
_OWNER: Final = "timm/"


@dataclass(frozen=True)
class ModelName:
    """The architecture, which says the structure and is what plans and tables are of; and the tag of published weights,
    empty for timm's default ones."""

    architecture: str
    tag: str = ""

    @classmethod
    def parse(cls, text: str) -> "ModelName":
        """'resnet18', 'resnet18.a1_in1k', 'timm/resnet18.a1_in1k', 'hf-hub:timm/resnet18.a1_in1k' and 'hf_hub:...'."""
        name = _HUB.sub("", text.strip(), count=1) if _HUB.match(text.strip()) else text.strip()
        architecture, _, tag = name.removeprefix(_OWNER).partition(".")
        return cls(architecture, tag)

    def __str__(self) -> str:
        return f"{self.architecture}.{self.tag}" if self.tag else self.architecture
