"""Divides work among processes and returns its results in order: the same results however many processes there are."""

import itertools
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from pruner.data.augmentation import Transform
from pruner.data.images import generator
from pruner.errors import DataError

Result = TypeVar("Result", covariant=True)

Prepare = Callable[[Image.Image, int], Tensor]
"""(an image, its number in the split it is read from) -> (C, H, W) in float32."""


@dataclass(frozen=True)
class Plain:
    """Prepares every image by the transform alone."""

    transform: Transform

    def __call__(self, image: Image.Image, _number: int) -> Tensor:
        return self.transform(image)


@dataclass(frozen=True)
class Varied:
    """Prepares every image by a random transform, seeded by the seed, the epoch and the image's number.

    Attributes:
        transform: The transform, which draws from the global random generators.
        seed: The seed of the training.
        epoch: The epoch's number, from 0.
    """

    transform: Transform
    seed: int
    epoch: int

    def __call__(self, image: Image.Image, number: int) -> Tensor:
        _seed(generator(self.seed, self.epoch, number).initial_seed())
        return self.transform(image)


def _seed(seed: int) -> None:
    """Seeds the global generators that timm's and torchvision's transforms draw from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    # Not torch.manual_seed, which would seed the accelerators' generators as well.
    torch.default_generator.manual_seed(seed)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Leaves the global generators as they were before, because the trainer draws from them too."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


class Work(Protocol[Result]):
    """Work whose results form a row, and which can be shared: each of n workers makes every n-th result."""

    def share(self, worker: int, workers: int) -> Iterator[Result]:
        """Yields the results number `worker`, `worker + workers`, `worker + 2 workers` and so on, in order."""


def carried_out(work: Work[Result], workers: int) -> Iterator[Result]:
    """Yields all results of the work, in order.

    The global random generators of this process are left as they are.

    Args:
        work: What is to be done.
        workers: How many processes are started for it; 0 does the work in this process.

    Raises:
        DataError: when a worker raises it, in the place of its result.
    """
    if workers == 0:
        yield from _one_by_one(work)
        return
    # A generator of its own: the loader would draw a seed from the global one, which is the trainer's.
    loader = DataLoader(
        _Shares(work),
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_it_is,
        worker_init_fn=_leave_ctrl_c_to_the_first_process,
        generator=torch.Generator(),
    )
    for result in loader:
        if isinstance(result, DataError):
            raise result
        yield result


def _one_by_one(work: Work[Result]) -> Iterator[Result]:
    results = work.share(0, 1)
    while True:
        with _undisturbed():
            found = list(itertools.islice(results, 1))
        if not found:
            return
        yield found[0]


@dataclass(frozen=True)
class _Shares(IterableDataset[Any]):
    """A worker's share of the results. The loader asks its workers in turn, so that all results come in order."""

    work: Work[Any]

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        assert worker is not None, "results are made in workers here"
        try:
            yield from self.work.share(worker.id, worker.num_workers)
        except DataError as error:
            # As a result: the loader would hand on an exception of this kind with a traceback for its message.
            yield error


def _as_it_is(result: Any) -> Any:
    return result


def _leave_ctrl_c_to_the_first_process(_worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
