"""Latency tables of devices that nobody here can measure on, from published figures: every row says `modelled`.

A piece is the sum of the operators that it runs. An operator takes an overhead, and then what its device's peak rates
allow at an efficiency; overheads and efficiencies were fitted to published timings of operators.
"""

import copy
import datetime
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

import profiles
from latency.design import designed_plans
from latency.mode import Mode
from latency.pieces import Pieces
from latency.profiler import compile_pieces, study_of
from latency.roofline import Peak, Work
from latency.study import Kind, key_of
from profiles.descriptions import Description, load_description
from profiles.errors import ProfileError
from profiles.profile import Pair, Profile, Row, Setting
from pruner.progress import Progress, silent

FLOAT_BYTES: Final = 4
_BYTES: Final = {"fp32": 4, "fp16": 2, "bf16": 2}
_RUNTIME: Final = "roofline 1"
_OPERATORS: Final = Path(profiles.__file__).parent / "operators.json"
# Whose fits stand in where a device has no published timings: its own maker's, then anyone's.
_STAND_INS: Final = {"rocm": ("mi210", "mi100"), "cuda": ("a100", "v100", "t4")}
_BORROWED: Final = 1.5  # times as wide an interval, on a logarithmic scale, for another device's fit
_NO_WORK: Final = {
    "view", "_unsafe_view", "expand", "permute", "transpose", "t", "unsqueeze", "squeeze", "select", "slice", "split",
    "unbind", "detach", "alias", "as_strided", "empty", "chunk", "split_with_sizes",
}  # fmt: skip
_NORMALISE: Final = {"native_layer_norm", "native_group_norm", "_softmax", "native_batch_norm", "mean"}


@dataclass(frozen=True)
class OperatorModel:
    """What one kind of operator reaches of a device: an overhead in ms, shares of its peak rates; and the factors
    between which nine in ten published timings lie."""

    overhead_ms: float
    compute: float
    memory: float
    low: float
    high: float


def operator_ms(model: OperatorModel, work: Work, peak: Peak) -> float:
    """overhead + max(operations / (compute * peak), bytes / (memory * bandwidth))"""
    by_compute = work.flops / (model.compute * peak.flops_per_ms)
    return model.overhead_ms + max(by_compute, work.traffic_bytes / (model.memory * peak.bytes_per_ms))


@dataclass(frozen=True)
class Operator:
    """One operator that a piece runs: its kind (matmul, conv, normalise, elementwise) and its work."""

    kind: str
    work: Work


def operators_of(module: nn.Module, example: Tensor) -> list[Operator]:
    """The operators that `module` runs on an input like `example`: PyTorch's, attention as products and softmax."""
    plain = copy.deepcopy(module).eval()
    for part in plain.modules():
        if hasattr(part, "fused_attn"):
            part.fused_attn = False  # type: ignore[assignment]
    with _Listener() as listener, torch.no_grad():
        plain(example)
    found: list[Operator] = listener.operators
    return found


class _Listener(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators: list[Operator] = []

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name not in _NO_WORK:
            outputs = result[:1] if isinstance(result, (tuple, list)) else [result]
            tensors = [one for one in (*args, *outputs) if isinstance(one, Tensor)]
            traffic = sum(tensor.numel() for tensor in tensors) * FLOAT_BYTES
            count = flop_registry.get(func.overloadpacket)
            flops = int(count(*args, **(kwargs or {}), out_val=result)) if count else 0
            self.operators.append(Operator(_kind(name, flops), Work(flops, traffic)))
        return result


def _kind(name: str, flops: int) -> str:
    if "conv" in name:
        return "conv"
    if flops:
        return "matmul"
    return "normalise" if name in _NORMALISE else "elementwise"


def modelled_profile(
    model: nn.Module,
    device: str,
    mode: Mode,
    *,
    batch_size: int = 1,
    seed: int = 0,
    model_kwargs: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> Profile:
    """The table of `model` on a device that is described, by published figures alone; its rows are `modelled`.

    Raises `ProfileError` for a device that is not described, and for a dtype that it has no rate for.
    """
    started = datetime.datetime.now(datetime.timezone.utc)
    try:
        description = load_description(device)
    except KeyError as error:
        raise ProfileError(f"{device} cannot be modelled: {error.args[0]}") from error
    progress(0, 1, "counting operations")
    bench = Pieces(model, operators_of, batch_size)
    designed = designed_plans(bench.chain, 12, 0, seed)
    compile_pieces(bench, designed)
    study = study_of(bench, [], model_kwargs or {})
    peak = _peak(description, mode)
    costs = {key: _cost(bench.fragment(key), description, mode, peak) for key in study.kinds}
    single = {kind.whats[0]: kind for kind in study.kinds.values() if len(kind.whats) == 1}
    rows = []
    for what, blocks in study.blocks.items():
        low, middle, high = costs[single[what].key]
        floor_ms = peak.floor_ms(_scaled(single[what].work, mode))
        rows.append(Row(*what, blocks, middle, low, high, None, floor_ms, "modelled"))
    widest = max((high / middle - 1 for _, middle, high in costs.values()), default=0.0)
    now = datetime.datetime.now(datetime.timezone.utc)
    return Profile(
        model=study.model,
        model_kwargs=study.model_kwargs,
        fingerprint=study.fingerprint,
        setting=Setting(device, description.title, _RUNTIME, mode.dtype, batch_size, mode.threads),
        segments=study.segments,
        vanishing=study.vanishing,
        rows=tuple(rows),
        pairs=tuple(_pair(kind, costs) for kind in study.kinds.values() if len(kind.whats) == 2),
        anchors=(),
        relative_error=widest,
        conditions=None,
        origin="modelled",
        seconds=(now - started).total_seconds(),
        created=now.isoformat(timespec="seconds"),
    )


def _pair(kind: Kind, costs: Mapping[str, tuple[float, float, float]]) -> Pair:
    first, second = kind.whats
    return Pair(first, second, costs[kind.key][1] - costs[key_of([first])][1] - costs[key_of([second])][1])


def _peak(description: Description, mode: Mode) -> Peak:
    tflops = description.peak_tflops["fp32_matrix" if mode.dtype == "fp32" else mode.dtype]
    if tflops is None:
        raise ProfileError(f"{description.title} has no published rate for {mode.dtype}")
    return Peak(tflops * 1e9, description.memory_gb_s * 1e6)


def _scaled(work: Work, mode: Mode) -> Work:
    return Work(work.flops, work.traffic_bytes * _BYTES[mode.dtype] // FLOAT_BYTES)


def _cost(
    operators: Sequence[Operator], description: Description, mode: Mode, peak: Peak
) -> tuple[float, float, float]:
    """(low, in the middle, high) in ms. Errors of operators of one kind go together, so that bounds add up."""
    bounds = []
    for operator in operators:
        model = operator_model(description, operator.kind)
        middle = operator_ms(model, _scaled(operator.work, mode), peak)
        bounds.append((model.low * middle, middle, model.high * middle))
    low, middle, high = (math.fsum(column) for column in zip(*bounds, strict=True))
    return low, middle, high


def operator_model(description: Description, kind: str) -> OperatorModel:
    """The fit for a kind of operator on a device; for want of published timings, that of its nearest kin, with a wider
    interval."""
    fits = _fits()
    own = fits.get(description.name, {}).get(kind)
    if own is not None:
        return own
    kin = (*_STAND_INS[description.runtime], *_STAND_INS["cuda"])
    found = next(fits[name][kind] for name in kin if kind in fits[name])
    return OperatorModel(found.overhead_ms, found.compute, found.memory, found.low**_BORROWED, found.high**_BORROWED)


@cache
def _fits() -> dict[str, dict[str, OperatorModel]]:
    devices = json.loads(_OPERATORS.read_text(encoding="utf-8"))["devices"]
    return {
        name: {kind: OperatorModel(**figures) for kind, figures in kinds.items()} for name, kinds in devices.items()
    }
