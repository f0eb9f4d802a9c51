"""Networks of the user's own code: `package.module:function`, called to make the network."""

import importlib
import inspect
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from torch import nn

from pruner._timm import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from pruner.errors import UnknownModelError
from pruner.models.names import OWN_CODE_VARIABLE

_OFFERED: Final = ("num_classes", "in_chans")
_SIDES: Final = (224, 224)


def own_network(name: str, sides: Sequence[int] | None, **kwargs: Any) -> nn.Module:
    """Imports and calls the code of that name, from the current folder or from what is installed.

    Args:
        name: Module and function, such as `nets.small:make`; a class of networks will do.
        sides: (height, width) of its images; 224 x 224 by default, unless its `pretrained_cfg` says.
        **kwargs: What it is called with. `num_classes` and `in_chans` are left out where it takes no such argument.

    Raises:
        UnknownModelError: when nobody typed the name (a file alone is not believed), there is no such function, or it
            makes no network of these arguments.
    """
    if os.environ.get(OWN_CODE_VARIABLE) != name:
        raise UnknownModelError(
            f"{name} is code, which is not run because a file names it: type it, as `--model {name}`, or as "
            f"{OWN_CODE_VARIABLE}={name} before the command"
        )
    module_name, _, path = name.partition(":")
    here = str(Path.cwd())
    try:
        sys.path.insert(0, here)
        function: Any = importlib.import_module(module_name)
        for part in path.split("."):
            function = getattr(function, part)
    except (ImportError, AttributeError) as error:
        raise UnknownModelError(f"there is no {name} here: {error}") from error
    finally:
        sys.path.remove(here)
    try:
        taken = inspect.signature(function).parameters
        is_open = any(one.kind is one.VAR_KEYWORD for one in taken.values())
        asked = {key: value for key, value in kwargs.items() if is_open or key in taken or key not in _OFFERED}
        network: Any = function(**asked)
    except Exception as error:  # whatever code raises that is not ours
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UnknownModelError(f"{name} makes no network of the arguments {kwargs}: {reason}") from error
    if not isinstance(network, nn.Module):
        raise UnknownModelError(f"{name} returns a {type(network).__name__}, not a torch.nn.Module")
    linears = [path for path, module in network.named_modules() if isinstance(module, nn.Linear)]
    known: dict[str, Any] = dict(getattr(network, "pretrained_cfg", None) or {})
    channels, *usual = known.get("input_size", (3, *_SIDES))
    network.pretrained_cfg = {  # type: ignore[assignment]
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "classifier": linears[-1] if linears else None,
        **known,
        "architecture": name,
        "input_size": (channels, *(usual if sides is None else sides)),
    }
    return network.eval()
