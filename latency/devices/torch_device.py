"""Networks run by PyTorch, on whatever it can run them: what the processor and GPUs have in common."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor, nn

from latency.device import TORCH_DTYPES, Device
from latency.mode import Dtype
from latency.rounds import Pace, Program, Reading


class TorchDevice(Device[nn.Module]):
    """Runs the modules themselves, in inference mode, eager or compiled."""

    place: ClassVar[str]
    """Where PyTorch puts tensors: 'cpu' or 'cuda'."""

    dtypes: ClassVar[tuple[Dtype, ...]] = ("fp32", "fp16", "bf16")
    has_layouts = True

    @property
    def runtime(self) -> str:
        return f"torch {torch.__version__}"

    def compile(self, module: nn.Module, example: Tensor) -> nn.Module:
        return module.eval()

    def assemble(self, fragments: Sequence[nn.Module], images: Tensor) -> Program:
        network: nn.Module = nn.Sequential(*(copy.deepcopy(fragment) for fragment in fragments))
        network, fed = self._placed(network), self._placed_tensor(images)
        if self.mode.compiled:
            network.compile()
        return self._program(network, fed)

    def _program(self, network: nn.Module, images: Tensor) -> Program:
        return _TorchProgram(network, images, self.mode.threads)

    def _placed(self, network: nn.Module) -> nn.Module:
        network = network.to(self.place, TORCH_DTYPES[self.mode.dtype])
        if self.mode.channels_last:
            network = network.to(memory_format=torch.channels_last)
        return network

    def _placed_tensor(self, images: Tensor) -> Tensor:
        placed = images.to(self.place, TORCH_DTYPES[self.mode.dtype])
        if self.mode.channels_last and placed.dim() == 4:
            placed = placed.contiguous(memory_format=torch.channels_last)
        return placed


class _TorchProgram(Program):
    def __init__(self, network: nn.Module, images: Tensor, threads: int) -> None:
        self._network, self._images, self._threads = network, images, threads

    def visit(self, pace: Pace) -> list[Reading]:
        with _threads(self._threads), torch.inference_mode():
            return super().visit(pace)

    def run(self) -> None:
        with torch.inference_mode():
            self._network(self._images)
            if self._images.is_cuda:
                torch.cuda.synchronize()


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
