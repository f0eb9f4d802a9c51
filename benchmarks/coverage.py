"""Which of timm's networks can be cut: drawn at random by name, built without weights, described, and checked.

    python benchmarks/coverage.py    # about 6 minutes; writes benchmarks/results/coverage.{json,md}

A network is *recognised* when every block offers something besides being kept, *partly* when only some do, *refused*
when its family is not known or none of its blocks can be cut. Those that are not refused and have at most `--checked`
parameters are cut by a random plan, in float64: at lambda 1 the output has to be the baseline's bit for bit, and the
merged network's within 1e-10 of the unmerged one's.
"""

import argparse
from collections import Counter
from random import Random

import torch

import depthfinder as df
from pruner._timm import list_models
from pruner.errors import UnknownModelError
from pruner.network.calibration import calibrate, estimate_batch_norm
from pruner.network.surgery import input_size_of
from shared.tables import publish


def answer(name: str) -> tuple[str, str]:
    """(what became of it, by which family or for which reason)."""
    try:
        chain = df.describe(built(name))
    except UnknownModelError as error:
        return "refused", str(error)
    open_blocks = sum(len(block.choices) > 1 for block in chain.blocks)
    kind = "recognised" if open_blocks == len(chain.blocks) else "partly"
    return kind, f"{chain.family}: {open_blocks} of {len(chain.blocks)} blocks can be cut"


def built(name: str) -> torch.nn.Module:
    """The network without any memory for its weights, where timm can build it so."""
    try:
        with torch.device("meta"):
            return df.load_model(name)
    except (NotImplementedError, RuntimeError):  # some read a value while they are built, which needs real tensors
        return df.load_model(name)


def check(name: str) -> None:
    torch.manual_seed(0)
    model = df.load_model(name).double()
    channels, height, width = input_size_of(model)
    images = torch.randn(2, channels, height, width, dtype=torch.float64)
    with torch.no_grad():
        estimate_batch_norm(model, [images])
        cut = df.apply(model, df.describe(model).random_plan(0.5, Random(name))).eval()
        if not torch.equal(cut(images), model(images)):
            raise AssertionError(f"{name} at lambda 1 is not its baseline")
        calibrate(cut, [images])
        cut.set_lambda(0.0)
        estimate_batch_norm(cut, [images])
        expected = cut(images)
        error = float((df.merge(cut)(images) - expected).abs().max() / expected.abs().max())
    if not error <= 1e-10:
        raise AssertionError(f"{name} merged is off by {error:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checked", type=int, default=30_000_000)
    asked = parser.parse_args()
    names = sorted(Random(asked.seed).sample(list_models(), asked.names))
    found, checked = {}, 0
    for name in names:
        kind, text = found[name] = answer(name)
        small = sum(parameter.numel() for parameter in built(name).parameters()) <= asked.checked
        if kind != "refused" and small:
            check(name)
            checked += 1
        print(name, kind, text, "checked" if kind != "refused" and small else "", sep=" | ", flush=True)
    counts = Counter(kind for kind, _ in found.values())
    families = Counter(text.partition(":")[0] for kind, text in found.values() if kind != "refused")
    summary = (
        f"Of {len(names)} names drawn at random from timm's {len(list_models())}: {counts['recognised']} recognised, "
        f"{counts['partly']} partly, {counts['refused']} refused. By family: "
        + ", ".join(f"{family} {count}" for family, count in sorted(families.items()))
        + f". {checked} networks of at most {asked.checked / 1e6:.0f} million parameters were cut by a random plan and "
        "merged: each the baseline bit for bit at lambda 1, and exact at lambda 0."
    )
    publish("coverage", [summary], found)


if __name__ == "__main__":
    main()
