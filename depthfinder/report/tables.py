"""Makes and prints the tables of the terminal."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from depthfinder.folder.result import RunResult
from profiles.difference import Difference
from profiles.profile import Profile, Setting
from profiles.two_sums import Bound
from pruner.choices.chain import Block, Chain
from pruner.choices.choice import CHOICES, KEEP
from pruner.choices.plan import Plan

if TYPE_CHECKING:
    # What is printed here is printed without what it was measured and predicted with: torch and scikit-learn.
    from latency.device import Device
    from latency.predictor.expected import Judged
    from latency.predictor.judging import Judgement
    from latency.timing import Timings

_NARROWEST = 140  # what does not fit a terminal is wrapped by it; a pipe gets whole lines


_FITS: Final = {True: "yes", False: "no", None: "by the table"}


def show(table: Table) -> None:
    """Prints a table to stdout, with room for 140 columns at least where that is no terminal."""
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, _NARROWEST)
    console.print(table)


def result_table(result: RunResult) -> Table:
    """Returns the table of a run's result: the baseline and the pruned network side by side."""
    setting = result.setting
    title = f"{result.model} on {setting.device}, batch {setting.batch_size}, threads {setting.threads}"
    table = Table("", "baseline", "pruned", title=escape(title))
    for row in result.rows:
        table.add_row(*row)
    return table


def profile_table(profile: Profile) -> Table:
    """Returns the rows of a latency table: each distinct block's cost in context, alone, and as a share of peak."""
    where = f"{profile.setting.device} ({profile.setting.runtime}, {profile.setting.hardware})"
    title = f"{profile.model} on {where}, batch {profile.setting.batch_size}, {profile.setting.dtype}: {profile.origin}"
    took = "kernels, ms" if profile.has_host else "in context, ms"
    table = Table(
        "block", "choice", "blocks", took, "90 % interval", "alone, ms", "of peak", "quality",
        title=escape(title), caption=escape("\n".join([_summary(profile), *(one.text for one in profile.judged)])),
    )  # fmt: skip
    if profile.has_host:
        table.add_column("host, ms")
    for row in profile.rows:
        interval = f"{row.low_ms:.4f} to {row.high_ms:.4f}"
        alone = f"{row.alone.latency_ms:.4f}" if row.alone else ""
        share = "" if row.efficiency is None else f"{row.efficiency:.0%}"
        cells = [str(row.blocks), f"{row.in_context_ms:.4f}", interval, alone, share, row.quality]
        cells += [] if row.host_ms is None else [f"{row.host_ms:.4f}"]
        table.add_row(escape(row.signature), escape(row.choice), *cells)
    return table


def _summary(profile: Profile) -> str:
    outside = f"outside the blocks {profile.fixed_ms:.3f} ms"
    baseline = next((anchor.measured for anchor in profile.anchors if not anchor.choices), None)
    if baseline is None:
        low_ms, high_ms = profile.interval_ms(Plan(profile.model))
        took = f"{profile.model}: {profile.baseline_ms:.3f} ms {profile.origin} ({low_ms:.3f} to {high_ms:.3f})"
        return f"{took}, {Bound.of(profile).text}" if profile.has_host else f"{took}, {outside}"
    if profile.is_predicted:
        counted = sum(row.origin != "modelled" for row in profile.rows)
        return (
            f"{profile.model}: {baseline.latency_ms:.3f} ms measured, {outside}; {counted} of {len(profile.rows)} rows "
            f"measured, the others modelled (within {profile.relative_error:.0%}), in {profile.seconds:.0f} s"
        )
    places = sum(row.blocks for row in profile.rows)
    return (
        f"{profile.model}: {baseline.latency_ms:.3f} ms {profile.origin} (median {baseline.median_ms:.3f}, 90th "
        f"percentile {baseline.p90_ms:.3f}), {outside}; {profile.relative_error:.1%} off on networks held out; "
        f"{len(profile.rows)} distinct rows for {places} places, in {profile.seconds:.0f} s"
    )


def measured_table(setting: Setting, timings: "Timings", names: Sequence[str]) -> Table:
    """Returns the table of networks that were measured side by side, each compared with the first.

    Args:
        setting: Where and how they were measured.
        timings: The readings.
        names: The names of the networks in `timings`.
    """
    title = (
        f"measured on {setting.device} ({setting.runtime}, {setting.hardware}), batch {setting.batch_size}, "
        f"{setting.dtype}, threads {setting.threads}"
    )
    table = Table(
        "network", "latency, ms", "95 % interval", "median", "p10 to p90", "CPU", "n", "of the first",
        "by processor time", "quality", title=escape(title), caption="latency and CPU: lower quartile of the readings",
    )  # fmt: skip
    table.columns[0].overflow = "fold"  # a path that is cut short names nothing
    for name in names:
        found, ratio = timings.measurement(name), timings.ratio(name, names[0])
        processor = timings.processor_ratio(name, names[0])
        table.add_row(
            escape(name),
            f"{found.latency_ms:.3f}",
            f"{found.low_ms:.3f} to {found.high_ms:.3f}",
            f"{found.median_ms:.3f}",
            f"{found.p10_ms:.3f} to {found.p90_ms:.3f}",
            f"{found.cpu_ms:.3f}",
            str(found.n),
            f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})",
            "" if processor is None else f"{processor.value:.3f}",
            found.quality,
        )
    return table


def devices_table(devices: "Mapping[str, tuple[type[Device[Any]], str | None]]") -> Table:
    """Returns the table of devices: which are here, and why the others are not.

    Args:
        devices: Name -> (its class, why it is not here; None where it is).
    """
    table = Table("device", "here", "runs", "what it is, or why it is not here")
    for name, (device, absence) in devices.items():
        first = (device.__doc__ or "").partition("\n")[0]
        table.add_row(name, "no" if absence else "yes", " ".join(device.dtypes), escape(absence or first))
    return table


def profiles_table(found: Sequence[tuple[Path, Profile]]) -> Table:
    """Returns the table of latency tables and their files: of which network, device and mode each is."""
    table = Table("model", "device", "dtype", "batch", "threads", "baseline, ms", "within", "origin", "made", "file")
    table.columns[-1].overflow = "fold"
    for path, profile in found:
        setting = profile.setting
        where = (setting.device, setting.dtype, str(setting.batch_size), str(setting.threads))
        judged = f"{profile.relative_error:.1%}" if profile.anchors else ""
        what = (f"{profile.baseline_ms:.3f}", judged, profile.origin, profile.created[:10])
        table.add_row(*map(escape, (profile.model, *where, *what, str(path))))
    return table


def difference_table(found: Difference) -> Table:
    """Returns the comparison of two latency tables of one network, row by row."""
    title = f"{found.model}: {found.before_ms:.3f} ms before, {found.after_ms:.3f} ms after ({found.whole:.3f})"
    caption = "; ".join(found.settings) or "both in the same setting"
    table = Table("block", "choice", "before, ms", "after, ms", "ratio", title=escape(title), caption=escape(caption))
    for row in found.rows:
        both = row.before_ms and row.after_ms
        figures = ["" if ms is None else f"{ms:.4f}" for ms in (row.before_ms, row.after_ms)]
        ratio = f"{row.after_ms / row.before_ms:.3f}" if both and row.after_ms and row.before_ms else ""
        table.add_row(escape(row.signature), escape(row.choice), *figures, ratio)
    return table


def chain_table(chain: Chain) -> Table:
    """Returns the table of where and how a network can be cut; blocks that cost the same share a row."""
    size = "x".join(str(side) for side in chain.input_size)
    kind = "read from what it computes" if chain.family == "traced" else f"of the {chain.family} family"
    what = f"{len(chain.blocks)} blocks {kind}, {chain.num_plans:.3g} plans"
    title = f"{chain.model} for images of {size}: {what}"
    offered = {choice for block in chain.blocks for choice in block.choices} - {KEEP}
    without = "; ".join(f"{one.name}: without {one.removes}" for one in CHOICES.values() if one.name in offered)
    table = Table(
        "blocks", "what they do", "choices", title=escape(title), caption=escape(without) or None, show_lines=True
    )
    alike: dict[Block, list[str]] = {}
    for block in chain.blocks:
        alike.setdefault(dataclasses.replace(block, name=""), []).append(block.name)
    for block, names in alike.items():
        requested = f" (on request: {', '.join(block.on_request)})" if block.on_request else ""
        cells = (", ".join(names), block.signature, ", ".join(block.choices) + requested)
        table.add_row(*map(escape, cells))
    return table


def refusals(chain: Chain) -> list[str]:
    """Returns a sentence for each choice that blocks cannot offer, and for each reason why modules were left alone."""
    refused: dict[tuple[str, str], list[str]] = {}
    for block in chain.blocks:
        for pair in block.refused:
            refused.setdefault(pair, []).append(block.name)
    left: dict[str, list[str]] = {}
    for path, why in chain.left_alone:
        left.setdefault(why, []).append(path or "the network itself")
    return [
        *(f"no {choice} for {', '.join(names)}: {why}" for (choice, why), names in refused.items()),
        *(f"left alone: {', '.join(paths)}: {why}" for why, paths in left.items()),
    ]


def finalists_table(search: Mapping[str, Any]) -> Table:
    """Returns the table of the plans that were measured, the winner first.

    Args:
        search: The content of `search.json`.
    """
    measured = [finalist["measured"] for finalist in search["finalists"]]
    how = "measured beside the baseline" if any(measured) else "by the table, not measured"
    title = f"{how}, for {search['budget_ms']:.3f} ms"
    table = Table("blocks cut", "score", "predicted, ms", "measured, ms", "of the baseline", "fits", title=title)
    for finalist, took in zip(search["finalists"], measured, strict=True):
        table.add_row(
            str(len(finalist["choices"])),
            f"{finalist['score']:.4f}",
            f"{finalist['predicted_ms']:.3f}",
            f"{took['latency_ms']:.3f}" if took else "",
            f"{finalist['ratio']:.3f}",
            _finding(finalist),
        )
    return table


def _finding(finalist: Mapping[str, Any]) -> str:
    """Whether a finalist fits, in words that say where this is undecided."""
    if finalist["answer"] != "undecided" or finalist["fits"] is None:
        return _FITS[finalist["fits"]]
    return "undecided, taken for fitting" if finalist["fits"] else "undecided"


def front_table(record: Mapping[str, Any]) -> Table:
    """Returns the table of the Pareto front, fastest plan first.

    Args:
        record: The content of `front.json`.
    """
    title = f"the front of {len(record['evaluated'])} plans that were evaluated"
    by_labels = all(plan["accuracy"] is not None for plan in record["front"])
    share = "accuracy" if by_labels else "agreement"
    table = Table("blocks cut", share, "predicted, ms", "measured, ms", "of the baseline", title=title)
    for plan in record["front"]:
        measured = plan["measured"]
        table.add_row(
            str(len(plan["choices"])),
            f"{plan[share]:.2%}",
            f"{plan['latency_ms']:.3f}",
            f"{measured['latency_ms']:.3f}" if measured else "",
            f"{measured['ratio']:.3f}" if measured else "",
        )
    return table


def predictor_table(device: str, judged: "Mapping[str, Judged]") -> Table:
    """Returns the table of a predictor's errors by kind of operator, on shapes that took no part in the fit."""
    table = Table("operator", "rows", "mean error", "within 10 %", title=escape(f"predictor of {device}"))
    for kind, found in judged.items():
        table.add_row(kind, str(found.rows), f"{found.error:.1%}", f"{found.within_10_percent:.0%}")
    return table


def judgements_table(device: str, judged: "Mapping[str, Judgement]") -> Table:
    """Returns the table of a predictor's errors and intervals by kind of operator, against timings."""
    table = Table(
        "operator", "rows", "mean error", "within 10 %", "in the 90 % interval", "its width",
        title=escape(f"predictions for {device}"),
    )  # fmt: skip
    for kind, found in judged.items():
        shares = (f"{share:.1%}" for share in (found.error, found.within_10_percent, found.covered, found.width))
        table.add_row(kind, str(found.rows), *shares)
    return table
