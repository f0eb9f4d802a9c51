"""Trains the baseline that ships with the package: `deit_digits`, a DeiT of 12 blocks on the digit scenes.

    python recipes/deit_digits.py --output pruner/weights/deit_digits.safetensors

A 12-block transformer learns slowly from nothing, so depth is grown: 3 blocks are trained, every block is doubled,
6 are trained, every block is doubled again, and the 12 are trained to the end (progressive stacking, Gong et al.,
ICML 2019). It takes about 30 minutes on 2 cores; the curve and the held-out accuracy are printed.
"""

import argparse
import copy
import math
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from pruner.data.digits import DigitScenes
from pruner.models.load import load_model

BATCH_SIZE = 100
PEAK_LEARNING_RATE = 1e-3
WARM_UP_STEPS = 100
# (blocks, epochs of 10,000 scenes, where the cosine of the learning rate ends as a share of its peak)
STAGES = ((3, 12, 0.3), (6, 7, 0.3), (12, 12, 0.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    data = DigitScenes(train_images=10_000)
    model = load_model("deit_digits", depth=STAGES[0][0])
    first_epoch = 0
    for blocks, epochs, floor in STAGES:
        while len(model.blocks) < blocks:
            model = doubled(model)
        train(model, data, range(first_epoch, first_epoch + epochs), floor, arguments.seed)
        first_epoch += epochs
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), arguments.output, metadata={"model": "deit_digits", "seed": str(arguments.seed)})
    print(f"wrote {arguments.output}: {accuracy(model, data):.2%} on the held-out scenes")


def doubled(model: nn.Module) -> nn.Module:
    """A copy of `model` in which every block stands twice in a row."""
    grown = load_model("deit_digits", depth=2 * len(model.blocks))
    shared = {k: v for k, v in model.state_dict().items() if not k.startswith("blocks.")}
    grown.load_state_dict(shared, strict=False)
    for index, block in enumerate(grown.blocks):
        block.load_state_dict(copy.deepcopy(model.blocks[index // 2].state_dict()))
    return grown


def train(model: nn.Module, data: DigitScenes, epochs: range, floor: float, seed: int) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_LEARNING_RATE, weight_decay=0.03)
    total = len(epochs) * (data.train_images // BATCH_SIZE)

    def rate(step: int) -> float:
        cosine = 0.5 * (1 + math.cos(math.pi * step / total))
        return min(1.0, (step + 1) / WARM_UP_STEPS) * (floor + (1 - floor) * cosine)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    for epoch in epochs:
        started, losses = time.perf_counter(), []
        model.train()
        for images, labels in data.train_batches(epoch=epoch, batch_size=BATCH_SIZE, seed=seed):
            loss = functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        mean_loss, seconds = sum(losses) / len(losses), time.perf_counter() - started
        print(
            f"{len(model.blocks):2d} blocks, epoch {epoch}: loss {mean_loss:.3f}, "
            f"held-out accuracy {accuracy(model, data):.2%}, {seconds:.0f} s",
            flush=True,
        )


@torch.inference_mode()
def accuracy(model: nn.Module, data: DigitScenes) -> float:
    model.eval()
    hits = sum((model(images).argmax(1) == labels).sum().item() for images, labels in data.test_batches(batch_size=250))
    return hits / data.test_images


if __name__ == "__main__":
    main()
