"""Work that is divided among processes and comes back in its order: the same results however many there are."""

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
    """Every image as the transform makes it."""

    transform: Transform

    def __call__(self, image: Image.Image, _number: int) -> Tensor:
        return self.transform(image)


@dataclass(frozen=True)
class Varied:
    """Every image as the transform makes it from the randomness of the seed, the epoch and the image's number."""

    transform: Transform
    seed: int
    epoch: int

    def __call__(self, image: Image.Image, number: int) -> Tensor:
        _seed(generator(self.seed, self.epoch, number).initial_seed())
        return self.transform(image)


def _seed(seed: int) -> None:
    """Of the global generators that timm's and torchvision's transforms draw from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    # Not torch.manual_seed, which would seed the accelerators' generators as well.
    torch.default_generator.manual_seed(seed)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """The global generators are afterwards as they were: whoever trains draws from them too."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


class Work(Protocol[Result]):
    """A row of results, of which each worker makes every so-manieth."""

    def share(self, worker: int, workers: int) -> Iterator[Result]:
        """The results number worker::workers, in order."""


def carried_out(work: Work[Result], workers: int) -> Iterator[Result]:
    """All results in order, made in `workers` processes of their own, or in this one if that is 0.

    The global random generators of this process are left as they are. Raises the `DataError` of a worker where its
    result would have stood.
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
    """The loader asks its workers in turn, so that results come in the order of their numbers."""

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
