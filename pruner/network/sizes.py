"""How many parameters a network has left for every way of cutting it."""

from torch import nn

from pruner.network.surgery import OpenNetwork


def parameters_by_choice(network: OpenNetwork) -> dict[tuple[str, str], float]:
    """(block, choice) -> the parameters of what becomes of the block, merged. Blocks that are alike are merged once."""
    counted: dict[tuple[str, str], float] = {}
    found: dict[tuple[str, str], float] = {}
    for name, site in network.sites.items():
        for choice in site.block.choices:
            key = (site.block.signature, choice)
            if key not in counted:
                counted[key] = _parameters(site.merged(choice))
            found[name, choice] = counted[key]
    return found


def _parameters(module: nn.Module | None) -> float:
    return 0.0 if module is None else float(sum(parameter.numel() for parameter in module.parameters()))
