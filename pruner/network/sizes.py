"""How many parameters are left of each block for each of its choices."""

from torch import nn

from pruner.network.surgery import OpenNetwork


def parameters_by_choice(network: OpenNetwork) -> dict[tuple[str, str], float]:
    """Returns how many parameters each block has when it is merged as each of its choices.

    Blocks of equal signature are merged once.

    Returns:
        (block, choice) -> the number of parameters; 0 where nothing is left of the block.

    Example:
        >>> from depthfinder.testing.samples import small_network
        >>> from pruner.network.sizes import parameters_by_choice
        >>> from pruner.network.surgery import supernet
        >>> counts = parameters_by_choice(supernet(small_network()))
        >>> counts["blocks.0.mlp", "keep"], counts["blocks.0.mlp", "merge"], counts["blocks.0.mlp", "drop"]
        (4776.0, 600.0, 0.0)
    """
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
