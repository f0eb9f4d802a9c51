"""The processes that train one network together: a single one, or as many as torchrun has started."""

import datetime
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, distributed
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from pruner.data.images import WHOLE, Part
from pruner.errors import PeerLostError

# How long a living process may keep the others waiting within a step, and for a stage that one does alone.
_PATIENCE: Final = datetime.timedelta(minutes=10)
_LONG_PATIENCE: Final = datetime.timedelta(days=7)


@dataclass(frozen=True)
class World:
    """This process among those that train together. The first of them, of rank 0, alone writes files and messages.

    Attributes:
        device: Where this process computes.
        rank: The number of this process, from 0.
        count: How many processes train together.
    """

    device: torch.device
    rank: int = 0
    count: int = 1
    waiting: "distributed.ProcessGroup | None" = None
    """The group through which the others wait for what the first does alone."""

    @property
    def is_main(self) -> bool:
        """Whether this is the first process."""
        return self.rank == 0

    @property
    def part(self) -> Part:
        """The share of every batch that is this process's."""
        return WHOLE if self.count == 1 else Part(self.rank, self.count)

    def sum(self, figures: Tensor) -> Tensor:
        """Returns the sum over all processes of tensors of one shape, on the CPU. Raises `PeerLostError`."""
        if self.count == 1:
            return figures
        total = figures.to(self.device)
        with losing_a_peer():
            distributed.all_reduce(total)
        return total.cpu()

    def broadcast(self, answer: int) -> int:
        """Returns what rank 0 gives; the others wait for it, for days if need be. Raises `PeerLostError`."""
        if self.count == 1:
            return answer
        said = torch.tensor([answer])
        with losing_a_peer():
            distributed.broadcast(said, 0, group=self.waiting)
        return int(said)


def alone(device: str | None = "cpu") -> World:
    """Returns the world of a single process.

    Args:
        device: Where it computes; None takes a GPU where there is one, and the CPU otherwise.
    """
    return World(torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")))


@contextmanager
def joined(device: str | None) -> Iterator[World]:
    """Joins the processes that torchrun has started, for as long as the context lasts.

    It gives the world that torchrun's environment variables describe; without them, that of a single process.

    Args:
        device: Where the processes compute, as `alone` takes it. On "cuda", each takes the GPU of its place on the
            machine.

    Raises:
        PeerLostError: when the other processes cannot be reached.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield alone(device)
        return
    here = alone(device).device
    if here.type == "cuda":
        here = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(here)
    with losing_a_peer():
        store, rank, count = next(rendezvous("env://"))
        # torchrun's store outlives the processes that it restarts, and would give them the addresses of those before.
        store = PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
        backend = "nccl" if here.type == "cuda" else "gloo"
        distributed.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=_PATIENCE)
        waiting = distributed.new_group(backend="gloo", timeout=_LONG_PATIENCE)
        assert isinstance(waiting, distributed.ProcessGroup), "every process is a member"
    try:
        yield World(here, distributed.get_rank(), count, waiting)
    finally:
        distributed.destroy_process_group()


@contextmanager
def losing_a_peer() -> Iterator[None]:
    """Turns the failure of a collective operation into a `PeerLostError`, where another process is gone."""
    try:
        yield
    except PeerLostError:
        raise
    except RuntimeError as error:
        if not _is_of_a_connection(error):
            raise
        raise PeerLostError(
            "another process of this training is gone, so this one stops; the same command again goes on from the last "
            f"checkpoint ({str(error).splitlines()[0]})"
        ) from error


def _is_of_a_connection(error: RuntimeError) -> bool:
    if isinstance(error, distributed.DistError):
        return True
    text = str(error).lower()
    return any(word in text for word in ("gloo", "nccl", "connection", "socket", "timed out", "broken pipe"))
