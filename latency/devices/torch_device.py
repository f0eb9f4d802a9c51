"""What the devices that run PyTorch, on the processor or a GPU, have in common."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from latency.device import TORCH_DTYPES, Device
from latency.mode import Dtype
from latency.rounds import Pace, Program, Reading
from pruner.algebra.flow import Wire


class TorchDevice(Device[nn.Module]):
    """A device that runs the modules themselves, in inference mode, eagerly or through `torch.compile`."""

    place: ClassVar[str]
    """The PyTorch device that tensors lie on, 'cpu' or 'cuda'."""

    dtypes: ClassVar[tuple[Dtype, ...]] = ("fp32", "fp16", "bf16")
    has_layouts = True

    @property
    def runtime(self) -> str:
        """The version of PyTorch."""
        return f"torch {torch.__version__}"

    def compile(self, module: nn.Module, *inputs: Tensor) -> nn.Module:
        """Returns the module itself, put in evaluation mode."""
        return module.eval()

    def assemble(self, fragments: Sequence[nn.Module], wires: Sequence[Wire], inputs: Sequence[Tensor]) -> Program:
        """Connects copies of the modules, in the mode's dtype and layout."""
        network: nn.Module = _Connected([copy.deepcopy(fragment) for fragment in fragments], wires)
        network, fed = self._placed(network), [self._placed_tensor(tensor) for tensor in inputs]
        if self.mode.compiled:
            network.compile()
        return _TorchProgram(network, fed, self.mode.threads)

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


class _Connected(nn.Module):
    """Modules that run in order, each on what its wire takes."""

    def __init__(self, modules: Sequence[nn.Module], wires: Sequence[Wire]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(modules)
        self._wires = tuple(wires)

    def forward(self, *inputs: Tensor) -> Any:
        flowing, given = dict(enumerate(inputs)), None
        for part, wire in zip(self.parts, self._wires, strict=True):
            given = part(*(flowing[number] for number in wire.takes))
            for number in wire.done:
                del flowing[number]
            flowing.update(zip(wire.gives, given if isinstance(given, tuple) else (given,), strict=True))
        return given


class _TorchProgram(Program):
    def __init__(self, network: nn.Module, inputs: Sequence[Tensor], threads: int) -> None:
        self._network, self._inputs, self._threads = network, inputs, threads

    def visit(self, pace: Pace) -> list[Reading]:
        """Takes a few readings in a row, with the mode's number of threads."""
        with _threads(self._threads), torch.inference_mode():
            return super().visit(pace)

    def run(self) -> None:
        """Runs the network once and waits for the GPU, if there is one."""
        with torch.inference_mode():
            self._network(*self._inputs)
            if self._inputs[0].is_cuda:
                torch.cuda.synchronize()


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
