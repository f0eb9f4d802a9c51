"""Finds the described device that a name means, and its peak rates in a dtype."""

import re
from typing import Final

import numpy as np

from latency.errors import PredictorError
from latency.predictor.kinds import KINDS
from latency.predictor.rows import OperatorRows
from latency.predictor.tiles import FLOAT_BYTES
from latency.roofline import Peak
from profiles.descriptions import Description, description_names, load_description

BYTES: Final = {"fp32": 4, "fp16": 2, "bf16": 2}
"""The bytes of a number in each dtype that timings may be of."""


def description_of(device: str) -> Description | None:
    """Returns the description that a device's name fits, such as mi100, MI100 or AMD Instinct MI100; None if none."""
    described = [load_description(name) for name in description_names()]
    named = (d for d in described if device in (d.name, d.title))
    return next(named, None) or next((d for d in described if fits(d, device)), None)


def fits(description: Description, name: str) -> bool:
    """Whether a name, as PyTorch or a vendor's tools give it, means the described device.

    The name of an architecture will do if the description has no other devices of it to be told from.
    """
    words = (description.title, description.name, *description.matches)
    alone = () if description.matches else (description.arch,)
    return any(re.search(rf"(?<![\w-]){re.escape(word)}(?!\w)", name, re.IGNORECASE) for word in (*words, *alone))


def peak_described(description: Description, dtype: str = "fp32") -> Peak:
    """Returns the peak rates of a described device in a dtype.

    The rate in fp32 is that of matrix products at full precision. Work is always counted in bytes of fp32, so the
    bandwidth is doubled for numbers of half the size.

    Raises:
        PredictorError: when the device has no rate for the dtype.
    """
    tflops = description.peak_tflops["fp32_matrix" if dtype == "fp32" else dtype]
    if tflops is None:
        known = " or ".join(name for name in BYTES if description.peak_tflops.get(name) is not None)
        raise PredictorError(f"{description.title} has no published rate for {dtype}; take --dtype {known}")
    bytes_per_ms = description.memory_gb_s * 1e6 * FLOAT_BYTES / BYTES[dtype]
    return Peak(tflops * 1e9, bytes_per_ms, float(description.compute_units))


def peak_seen(rows: OperatorRows) -> Peak:
    """Returns the best rates that any row reached, as the peak rates of a device that is not described."""
    rates = np.array([[0.0, 0.0]])
    for kind, (numbers, dims) in rows.by_kind.items():
        work = np.column_stack([KINDS[kind].flops(dims), KINDS[kind].traffic_bytes(dims)])
        rates = np.vstack([rates, (work / rows.latency_ms[numbers, None]).max(axis=0)])
    flops_per_ms, bytes_per_ms = rates.max(axis=0)
    return Peak(float(flops_per_ms), float(bytes_per_ms))


def device_in(rows: OperatorRows, device: str, dtype: str = "fp32") -> tuple[tuple[str, ...], Peak]:
    """Finds a device's rows in a table, and its peak rates.

    If no row names a device, all rows are the device's. If rows name the device exactly, it is those. Otherwise it is
    all rows whose device fits the description.

    Args:
        rows: The table.
        device: The device, by a name that its description fits or as the rows name it.
        dtype: The dtype of the operators.

    Returns:
        The names that the device's rows have, and its peak rates: the described ones, or else the best that its rows
        reached.

    Raises:
        PredictorError: when no rows are of the device, or none in the dtype, or the device has no rate for it.
    """
    there = sorted(set(rows.devices))
    found = description_of(device)
    if there == [""]:
        names = [""]
    elif device in there:
        names = [device]
    else:
        names = [name for name in there if found is not None and fits(found, name)]
    if not names:
        known = ", ".join(name or "(no name)" for name in there)
        raise PredictorError(f"{rows.origin} has no timings of {device}; it has those of {known}")
    peak = peak_described(found, dtype) if found else None
    own = rows.of(names, dtype)
    if not len(own):
        dtypes = ", ".join(sorted(set(rows.of(names).dtypes)))
        raise PredictorError(f"{rows.origin} has no timings of {device} in {dtype}; it has those in {dtypes}")
    return tuple(names), peak or peak_seen(own)
