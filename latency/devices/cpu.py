"""PyTorch on the processor, eager."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from latency.device import Device, Program, Sample, device


@device
class TorchCpu(Device[nn.Module]):
    """Runs the modules themselves, in inference mode."""

    name = "cpu"

    @property
    def runtime(self) -> str:
        return f"torch {torch.__version__}"

    def compile(self, module: nn.Module, example: Tensor) -> nn.Module:
        return module.eval()

    def assemble(self, fragments: Sequence[nn.Module], images: Tensor) -> Program:
        return _EagerProgram(nn.Sequential(*(copy.deepcopy(fragment) for fragment in fragments)), images, self.threads)


class _EagerProgram(Program):
    def __init__(self, network: nn.Module, images: Tensor, threads: int) -> None:
        self._network, self._images, self._threads = network, images, threads

    def sample(self, runs: int) -> Sample:
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            return super().sample(runs)
        finally:
            torch.set_num_threads(before)

    def run(self) -> None:
        with torch.inference_mode():
            self._network(self._images)
