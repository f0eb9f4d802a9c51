"""Is it worth keeping the activation on some inner channels and folding the rest into a linear layer beside them?

    python benchmarks/partial.py --baselines progressive-out

A block W2 act(W1 n) of an FFN or a ConvNeXt may keep a part of its inner channels and compute V act(W1' n) + A n, all
of it fitted by least squares on what W1 reads, n, and what the kept channels give; or keep some channels more, without
the layer A, at the same number of multiplications. Printed is the mean squared error of either on images that took no
part in the fit, as a share of what the blocks add, in the mean over the blocks of a network. Which channels stay is
found for either by itself (`pruner/fitting/narrower.py`). The table goes to `benchmarks/results/`.
"""

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from pruner.choices.hidden import HiddenChannels
from pruner.choices.site import Site
from pruner.fitting.least_squares import fitted
from pruner.fitting.narrower import nested_order
from pruner.fitting.sums import Sums
from pruner.network.surgery import OpenNetwork
from shared.baselines import DEMO, data_of, images_of, network_of
from shared.tables import markdown_row, markdown_table, write_results

NETWORKS: Final = (DEMO, "vit", "convnext")
PARTS: Final = (1 / 8, 1 / 4, 3 / 8, 1 / 2)
MORE: Final = 1 / 8
"""What the layer beside takes, as a part of what a block of four times its width does."""
RIDGE: Final = 1e-6
FEWEST: Final = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--baselines", type=Path, default=Path("progressive-out"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    heads, rows = ["network", "blocks"], []
    for part in PARTS:
        heads += [f"{part:.3g} and a layer", f"{part + MORE:.3g}"]
    for name in NETWORKS:
        blocks = [errors(*sums) for sums in sums_of(name, asked.baselines)]
        means = [f"{statistics.mean(column):.5f}" for column in zip(*blocks, strict=True)]
        rows.append((name, len(blocks), *means))
        print(markdown_row(rows[-1]), flush=True)
    title = "Errors as shares of what the blocks add, on images set apart."
    write_results("partial", [title, "", *markdown_table(heads, rows)])


def sums_of(name: str, baselines: Path) -> Iterator[tuple[int, Sums, Sums]]:
    """For each block its inner channels, and the sums over what these give and what the first layer reads."""
    network = OpenNetwork(network_of(name, baselines), ("narrow-50",)).eval()
    seen: dict[str, tuple[Sums, Sums]] = {}
    sites = {block: site for block, site in network.sites.items() if isinstance(site.hidden, HiddenChannels)}
    kept = {block: _Kept(site) for block, site in sites.items()}
    with torch.no_grad():
        for number, images in enumerate(images_of(data_of(name))):
            network(images)
            for block, one in kept.items():
                features, targets = one.rows()
                own = seen.setdefault(block, tuple(Sums.empty(features.shape[1], targets.shape[1]) for _ in range(2)))  # type: ignore[arg-type]
                own[number % 5 == 4].add(features, targets)
    for block, (fit, apart) in seen.items():
        hidden = sites[block].hidden
        assert hidden is not None
        yield hidden.units, fit, apart


class _Kept:
    """What went through a block last: its input and output, what its maker reads and what its reader reads."""

    def __init__(self, site: Site) -> None:
        hidden: Any = site.hidden
        self.is_linear = isinstance(hidden.reader, nn.Linear)
        self.last: dict[str, Tensor] = {}
        hidden.maker.register_forward_pre_hook(lambda _, inputs: self._note("made from", inputs[0]))
        hidden.reader.register_forward_pre_hook(lambda _, inputs: self._note("read", inputs[0]))
        site.register_forward_hook(lambda _, inputs, out: self._note("added", out - inputs[0]))

    def _note(self, what: str, tensor: Tensor) -> None:
        self.last[what] = tensor

    def rows(self) -> tuple[Tensor, Tensor]:
        """(places, channels + inputs), (places, outputs)"""
        of_images = self.last["added"].dim() == 4
        # Linears in a ConvNeXt see images with their channels last.
        first = {"added": of_images, "read": of_images and not self.is_linear}
        first["made from"] = first["read"]
        last = {what: self.last[what].movedim(1, -1) if first[what] else self.last[what] for what in first}
        rows = torch.cat([last["read"], last["made from"]], dim=-1)
        return rows.flatten(0, -2), last["added"].flatten(0, -2)


def errors(units: int, seen: Sums, apart: Sums) -> list[float]:
    """For each part: that of so many channels with a layer beside them, and that of as many more without one."""
    alone = nested_order(seen.of_features(torch.arange(units)), 1, FEWEST)
    beside = nested_order(_without_what_is_linear(seen, units), 1, FEWEST)
    inputs = torch.arange(units, seen.features)
    found = []
    for part in PARTS:
        some = torch.cat([beside[: round(part * units)], inputs])
        for places in (some, alone[: round((part + MORE) * units)]):
            (solution,) = fitted(seen.of_features(places), apart.of_features(places), [slice(None)])
            found.append(solution.error)
    return found


def _without_what_is_linear(sums: Sums, units: int) -> Sums:
    """The sums of what no layer on the first one's inputs can give (the Schur complement of these)."""
    linear = torch.arange(units, sums.features + 1)
    ridge = RIDGE * sums.inner.diagonal()[units:-1].mean()
    normal = sums.inner[linear][:, linear] + ridge * torch.eye(len(linear), dtype=torch.float64)
    shares = torch.linalg.solve(normal, sums.inner[linear][:, :units])
    left = Sums.empty(units, len(sums.square))
    left.inner[:-1, :-1] = sums.inner[:units, :units] - sums.inner[:units][:, linear] @ shares
    left.inner[-1, -1] = sums.inner[-1, -1]
    left.cross[:-1] = sums.cross[:units] - shares.T @ sums.cross[linear]
    left.square, left.rows = sums.square.clone(), sums.rows
    return left


if __name__ == "__main__":
    main()
