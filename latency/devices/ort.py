"""ONNX Runtime on the processor and on GPUs; the only device file that imports onnxruntime."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime
from torch import Tensor, nn

from latency.device import Device, device
from latency.errors import DeviceMissingError, UnsupportedModeError
from latency.onnx_graph import join, to_onnx
from latency.rounds import Program
from pruner.algebra.flow import Wire

_CPU = "CPUExecutionProvider"


class OrtDevice(Device[onnx.ModelProto]):
    """Exports every module to ONNX once and joins the exported fragments into whole networks."""

    provider: ClassVar[str]
    """The execution provider of ONNX Runtime."""

    @classmethod
    def absence(cls) -> str | None:
        """Returns why ONNX Runtime lacks the provider, or None if it has it."""
        there = onnxruntime.get_available_providers()
        if cls.provider not in there:
            return f"onnxruntime {onnxruntime.__version__} has {', '.join(there)}, not {cls.provider}"
        return None

    @property
    def runtime(self) -> str:
        """The version of ONNX Runtime."""
        return f"onnxruntime {onnxruntime.__version__}"

    def compile(self, module: nn.Module, *inputs: Tensor) -> onnx.ModelProto:
        """Exports the module as an ONNX model."""
        return to_onnx(module, *inputs)

    def assemble(
        self, fragments: Sequence[onnx.ModelProto], wires: Sequence[Wire], inputs: Sequence[Tensor]
    ) -> Program:
        """Joins the fragments into one network and opens a session of it."""
        session = open_session(join(fragments, wires).SerializeToString(), self.mode.threads, self.provider)
        return SessionProgram(session, [tensor.numpy() for tensor in inputs])

    def load_file(self, path: Path, batch_size: int) -> Program:
        """Opens a session of an ONNX file, fed with random images of the size that the file asks for.

        Raises:
            UnsupportedModeError: when the file does not take one batch of fp32 images of a fixed size, or takes another
                batch size.
            DeviceMissingError: when the provider cannot run the whole network.
        """
        session = open_session(str(path), self.mode.threads, self.provider)
        return SessionProgram(session, [_images_for(session, path, batch_size)])


@device
class OrtCpu(OrtDevice):
    """The processor of this machine, running ONNX Runtime."""

    name = "ort-cpu"
    provider = _CPU


@device
class OrtCuda(OrtDevice):
    """NVIDIA GPUs, by the build onnxruntime-gpu."""

    name = "ort-cuda"
    provider = "CUDAExecutionProvider"
    on_processor = False


@device
class OrtMigraphx(OrtDevice):
    """AMD GPUs, by a build of ONNX Runtime with MIGraphX."""

    name = "ort-migraphx"
    provider = "MIGraphXExecutionProvider"
    on_processor = False


class SessionProgram(Program):
    """A program that feeds a session the same tensors in every run."""

    def __init__(self, session: onnxruntime.InferenceSession, inputs: Sequence[np.ndarray[Any, Any]]) -> None:
        self._session = session
        self._feed = {entry.name: array for entry, array in zip(session.get_inputs(), inputs, strict=True)}

    def run(self) -> None:
        """Runs the session once."""
        self._session.run(None, self._feed)


def open_session(model: bytes | str, threads: int, provider: str = _CPU) -> onnxruntime.InferenceSession:
    """Opens a session with a fixed number of threads.

    Args:
        model: A serialized model, or the path of a file.
        threads: Threads of the processor that may run an operator.
        provider: The execution provider of ONNX Runtime.

    Raises:
        DeviceMissingError: when ONNX Runtime gave the session another provider, which it does silently, or would run
            a part of the network on the processor.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads spin on for a while after a run, and would take the processor from the next session that is timed.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if provider != _CPU:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        session = onnxruntime.InferenceSession(model, options, providers=[provider])
    except Exception as error:  # ONNX Runtime's own errors share no base but this
        if "fallback" not in str(error):
            raise
        raise DeviceMissingError(f"{provider} cannot run the whole network: {error}") from error
    check_provider(session.get_providers(), provider)
    return session


def check_provider(given: Sequence[str], provider: str) -> None:
    """Checks that a session got the provider that was asked for.

    Args:
        given: The session's providers, the preferred one first.
        provider: The provider that was asked for.

    Raises:
        DeviceMissingError: when the first of them is another.
    """
    if given[0] != provider:
        raise DeviceMissingError(
            f"ONNX Runtime fell back from {provider} to {given[0]}: what it measures would be another device's"
        )


def _images_for(
    session: onnxruntime.InferenceSession, path: Path, batch_size: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Returns random images of the shape that the file asks for; the first axis is the batch."""
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)":
        asked = ", ".join(f"{entry.name}: {entry.type}" for entry in inputs)
        raise UnsupportedModeError(
            f"{path} takes {asked}; a network that takes one batch of fp32 images can be measured"
        )
    batch, *sides = inputs[0].shape
    if not all(isinstance(side, int) for side in sides):
        raise UnsupportedModeError(f"{path} leaves the size of its images open ({sides}): export it at one size")
    if isinstance(batch, int) and batch != batch_size:
        raise UnsupportedModeError(f"{path} takes batches of {batch}, not of {batch_size}: --batch-size {batch}")
    return np.random.default_rng(0).random((batch_size, *sides), dtype=np.float32)
