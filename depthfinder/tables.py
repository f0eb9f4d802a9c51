"""Tables for the terminal."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from depthfinder.result import RunResult
from profiles.profile import Profile
from pruner.chain import Block, Chain

_NARROWEST = 100  # what does not fit a terminal is wrapped by it; a pipe gets whole lines


def show(table: Table) -> None:
    """Prints a table to stdout."""
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, _NARROWEST)
    console.print(table)


def result_table(result: RunResult) -> Table:
    """Baseline and pruned network side by side."""
    setting = result.setting
    title = f"{result.model} on {setting.device}, batch {setting.batch_size}, threads {setting.threads}"
    table = Table("", "baseline", "pruned", title=escape(title))
    for row in result.rows:
        table.add_row(*row)
    return table


def profile_table(profile: Profile) -> Table:
    """What each distinct block costs, alone and in context, and how far the table was off on networks held out."""
    setting = profile.setting
    baseline = profile.baseline
    title = f"{profile.model} on {setting.device} ({setting.runtime}, {setting.hardware}), batch {setting.batch_size}"
    caption = (
        f"{profile.model}: {baseline.median_ms:.3f} ms measured ({baseline.p10_ms:.3f} to {baseline.p90_ms:.3f}), "
        f"outside the blocks {profile.fixed_ms:.3f} ms; {profile.relative_error:.1%} off on networks that were held out"
    )
    table = Table(
        "block", "choice", "blocks", "in context, ms", "alone, ms", "quality", title=escape(title), caption=caption
    )
    for row in profile.rows:
        figures = (f"{row.in_context_ms:.4f}", f"{row.alone.median_ms:.4f}")
        table.add_row(escape(row.signature), row.choice, str(row.blocks), *figures, row.alone.quality)
    return table


def chain_table(chain: Chain) -> Table:
    """Where a network can be cut and in which ways; blocks that cost the same share a row."""
    title = f"{chain.model}: {len(chain.blocks)} blocks of the {chain.family} family, {chain.num_plans:.3g} plans"
    table = Table("blocks", "what they do", "choices", title=escape(title), show_lines=True)
    alike: dict[Block, list[str]] = {}
    for block in chain.blocks:
        alike.setdefault(dataclasses.replace(block, name=""), []).append(block.name)
    for block, names in alike.items():
        requested = f" (on request: {', '.join(block.on_request)})" if block.on_request else ""
        cells = (", ".join(names), block.signature, ", ".join(block.choices) + requested)
        table.add_row(*map(escape, cells))
    return table


def refusals(chain: Chain) -> list[str]:
    """What cannot be had of which blocks, and why."""
    refused: dict[tuple[str, str], list[str]] = {}
    for block in chain.blocks:
        for pair in block.refused:
            refused.setdefault(pair, []).append(block.name)
    return [f"no {choice} for {', '.join(names)}: {why}" for (choice, why), names in refused.items()]


def finalists_table(search: Mapping[str, Any]) -> Table:
    """The candidates that were measured, the winner first."""
    title = f"measured beside the baseline, for {search['budget_ms']:.3f} ms"
    table = Table("blocks cut", "score", "predicted, ms", "measured, ms", "of the baseline", "fits", title=title)
    for finalist in search["finalists"]:
        table.add_row(
            str(len(finalist["choices"])),
            f"{finalist['score']:.4f}",
            f"{finalist['predicted_ms']:.3f}",
            f"{finalist['measured']['median_ms']:.3f}",
            f"{finalist['ratio']:.3f}",
            "yes" if finalist["fits"] else "no",
        )
    return table
