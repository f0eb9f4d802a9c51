"""Which of timm's and torchvision's networks can be cut, and that those which can are cut exactly.

    python benchmarks/coverage.py --output coverage-out    # about 45 minutes of two cores

`described` opens every name without weights and without any memory for them. A network is *cut whole* when every block
may become something besides being kept, on request too, *in part* when only some may, and *refused*, with the reason,
when none may.
`checked` takes the smallest network of each of timm's files, and torchvision's, and cuts it by three random plans in
float64: at lambda 1 the output has to be the baseline's bit for bit, and the merged network's within 1e-10 of the
unmerged one's; the merged network in ONNX Runtime within 1e-4 of it in PyTorch, in float32. Typed again, it goes on
from where it was. The tables go to `benchmarks/results/`.
"""

import argparse
import json
import signal
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any, Final

import torch
from torch import nn

import depthfinder as df
from pruner._timm import list_models, torchvision_models
from pruner.algebra.answer import answer_of
from pruner.errors import OddModelError, UnknownModelError
from pruner.models.names import TORCHVISION
from pruner.network.calibration import calibrate, estimate_batch_norm
from pruner.network.image_size import input_size_of
from shared.tables import markdown_table, write_results

PLANS: Final = 3
EXACT: Final = 1e-10
LIMIT_S: Final = 240
_TOLD: Final = 90


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("coverage-out"))
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--names", nargs="+", help="these names alone; all by default")
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    names = asked.names or every_name()
    if "described" in asked.only:
        found = in_two_processes(described, names, asked.output / "described.jsonl")
        summary, table = summary_of(found), by_file(found)
        print(*summary, *table, sep="\n")
        if asked.names is None:
            write_results("coverage", summary)
            write_results("coverage_files", table)
    if "checked" in asked.only:
        chosen = asked.names or smallest_of_each_file(asked.output / "described.jsonl")
        found = in_two_processes(checked, chosen, asked.output / "checked.jsonl")
        lines = lines_of_checked(found, "the smallest of each file")
        print(*lines, sep="\n")
        if asked.names is None:
            write_results("coverage_checked", lines)


def every_name() -> list[str]:
    """timm's networks, and torchvision's classifiers."""
    own = torchvision_models.list_models(module=torchvision_models)
    return [*list_models(), *(f"{TORCHVISION}{name}" for name in own)]


def in_two_processes(task: Callable[[str], Any], names: Sequence[str], file: Path) -> list[Any]:
    """What a task finds of every name, those first that a file has from before."""
    known = (
        {record["name"]: record for record in map(json.loads, file.read_text().splitlines())} if file.exists() else {}
    )
    left = [name for name in names if name not in known]
    with (
        ProcessPoolExecutor(2, get_context("forkserver")) as pool,
        file.open("a", encoding="utf-8") as written,
    ):
        for record in pool.map(task, left):
            known[record["name"]] = record
            written.write(json.dumps(record) + "\n")
            written.flush()
            print(
                record["name"], record.get("kind", record.get("error")), record["text"][:_TOLD], sep=" | ", flush=True
            )
    return [known[name] for name in names]


def described(name: str) -> dict[str, Any]:
    """What became of one network, and why."""
    found = {"name": name, "file": "", "parameters": 0, "kind": "refused", "text": ""}
    try:
        with time_limit(LIMIT_S):
            network = built(name)
            found |= {"file": file_of(network), "parameters": sum(one.numel() for one in network.parameters())}
            chain = df.describe(network)
            can_be_cut = sum(len(block.choices) > 1 or bool(block.on_request) for block in chain.blocks)
            kind = "cut whole" if can_be_cut == len(chain.blocks) else "in part"
            found |= {"kind": kind, "text": f"{chain.family}: {can_be_cut} of {len(chain.blocks)} blocks"}
    except (UnknownModelError, OddModelError) as error:
        found["text"] = str(error).partition("\n")[0]
    except Exception as error:  # noqa: BLE001 - whatever else a network raises is a fault of ours, to be counted as one
        found |= {"kind": "failed", "text": f"{type(error).__name__}: {error}".partition("\n")[0]}
    return found


def checked(name: str) -> dict[str, Any]:
    """How exactly one network is cut."""
    return exactness(name, lambda: df.load_model(name))


def exactness(name: str, made: Callable[[], nn.Module], size: tuple[int, int, int] | None = None) -> dict[str, Any]:
    """How exactly a network is cut.

    Args:
        name: What it is called.
        made: Makes it, with weights drawn at random.
        size: (channels, height, width) of its images; by default what the network says.
    """
    torch.set_num_threads(1)
    found: dict[str, Any] = {"name": name, "one": None, "merged": 0.0, "onnx": None, "text": ""}
    try:
        with time_limit(LIMIT_S), torch.no_grad():
            torch.manual_seed(0)
            network = made().eval().double()
            size = input_size_of(network, size)
            images = torch.randn(2, *size, dtype=torch.float64)
            estimate_batch_norm(network, [images])
            chain, expected = df.describe(network, input_size=size), answer_of(network(images))
            can_be_cut = sum(len(block.choices) > 1 or bool(block.on_request) for block in chain.blocks)
            found["blocks"] = f"{can_be_cut} of {len(chain.blocks)}"
            for seed in range(PLANS):
                cut = df.apply(network, chain.random_plan(0.5, Random(seed)), input_size=size).eval()
                found["one"] = found["one"] is not False and torch.equal(cut(images), expected)
                calibrate(cut, [images])
                cut.set_lambda(0.0)
                estimate_batch_norm(cut, [images])
                there = cut(images)
                error = float((answer_of(df.merge(cut)(images)) - there).abs().max() / there.abs().max())
                found["merged"] = max(found["merged"], error)
            found["onnx"] = in_onnx(df.merge(cut.float()), size)
    except Exception as error:  # noqa: BLE001 - as above
        found["text"] = f"{type(error).__name__}: {error}".partition("\n")[0]
        if found["one"] and found["onnx"] is None and not exports_uncut(made, size):
            found["text"] = f"the uncut network fails too: {found['text']}"
    return found


def in_onnx(network: nn.Module, size: tuple[int, int, int]) -> float:
    """The largest difference between its logits in ONNX Runtime and in PyTorch."""
    with tempfile.TemporaryDirectory() as folder, torch.enable_grad():
        return df.export(network, Path(folder) / "network.onnx", input_size=size).largest_difference


def exports_uncut(made: Callable[[], nn.Module], size: tuple[int, int, int]) -> bool:
    """Whether the uncut network is the same in ONNX Runtime as in PyTorch."""
    try:
        with time_limit(LIMIT_S):
            torch.manual_seed(0)
            network = made()
            estimate_batch_norm(network, [torch.randn(2, *size)])
            in_onnx(network.eval(), size)
    except Exception as error:  # noqa: BLE001 - as above
        print(f"the uncut network: {error}")
        return False
    return True


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raises `TimeoutError` within when it takes longer."""

    def over(*_: object) -> None:
        raise TimeoutError(f"it took more than {seconds} s")

    signal.signal(signal.SIGALRM, over)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def built(name: str) -> nn.Module:
    """The network without any memory for its weights, where it can be built so."""
    try:
        with torch.device("meta"):
            return df.load_model(name)
    except (NotImplementedError, RuntimeError):  # some read a value while they are built, which needs real tensors
        return df.load_model(name)


def file_of(network: nn.Module) -> str:
    """The file that its class is written in: 'timm swin_transformer', 'torchvision resnet'."""
    package, *_, module = type(network).__module__.split(".")
    return f"{package} {module}"


def smallest_of_each_file(file: Path) -> list[str]:
    """By the records of `described`: the smallest network of each file that can be cut."""
    found: dict[str, Any] = {}
    for record in map(json.loads, file.read_text().splitlines()):
        before = found.get(record["file"])
        if record["kind"] in CUT and (before is None or record["parameters"] < before["parameters"]):
            found[record["file"]] = record
    return sorted(record["name"] for record in found.values())


CUT: Final = ("cut whole", "in part")
PARTS: Final = ("described", "checked")


def summary_of(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """What became of the networks of each package."""
    lines: list[str] = []
    for package in ("timm", "torchvision"):
        own = [one for one in found if one["name"].startswith(TORCHVISION) == (package == "torchvision")]
        kinds = Counter(one["kind"] for one in own)
        share = sum(kinds[kind] for kind in CUT) / max(1, len(own))
        files = defaultdict(Counter)
        for one in own:
            files[one["file"]][one["kind"]] += 1
        with_some = sum(any(counts[kind] for kind in CUT) for counts in files.values())
        lines.append(
            f"Of {package}'s {len(own)} names {share:.1%} can be cut: {kinds['cut whole']} whole, {kinds['in part']} "
            f"in part; {kinds['refused']} are refused and {kinds['failed']} fail. Of its {len(files)} files "
            f"{with_some} have one that can."
        )
    return [" ".join(lines)]


def by_file(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table by file, with the first reason why a network of it was refused."""
    rows = []
    for file in sorted({one["file"] for one in found}):
        own = [one for one in found if one["file"] == file]
        kinds = Counter(one["kind"] for one in own)
        why = next((one["text"] for one in own if one["kind"] not in CUT), "")
        rows.append([file, *(str(kinds[kind]) for kind in (*CUT, "refused", "failed")), why[:_TOLD].replace("|", "/")])
    return markdown_table(["file", *CUT, "refused", "failed", "the first reason"], rows)


def lines_of_checked(found: Sequence[Mapping[str, Any]], which: str) -> list[str]:
    """What was exact, and the table."""
    exact = [one for one in found if one["one"] and one["merged"] <= EXACT and one["onnx"] is not None]
    head = (
        f"{len(exact)} of {len(found)} networks, {which}, each cut by {PLANS} random plans, are the "
        "baseline bit for bit at lambda 1, merge within 1e-10 in float64, and are in ONNX Runtime within 1e-4."
    )
    rows = [
        [
            one["name"],
            one.get("blocks", ""),
            {True: "yes", False: "no", None: ""}[one["one"]],
            f"{one['merged']:.0e}",
            "" if one["onnx"] is None else f"{one['onnx']:.0e}",
            one["text"][:_TOLD].replace("|", "/"),
        ]
        for one in found
    ]
    return [
        head,
        "",
        *markdown_table(["network", "blocks", "bit for bit at 1", "merged", "ONNX", "what went wrong"], rows),
    ]


if __name__ == "__main__":
    main()
