"""ONNX Runtime on the processor: the only device file that knows onnxruntime."""

from collections.abc import Sequence

import onnx
import onnxruntime
from torch import Tensor, nn

from latency.device import Device, Program, device
from latency.onnx_graph import join, to_onnx

_PROVIDER = "CPUExecutionProvider"


@device
class OrtCpu(Device[onnx.ModelProto]):
    """Exports every module once and joins the exported fragments into whole networks."""

    name = "ort-cpu"

    @property
    def runtime(self) -> str:
        return f"onnxruntime {onnxruntime.__version__}"

    def compile(self, module: nn.Module, example: Tensor) -> onnx.ModelProto:
        return to_onnx(module, example)

    def assemble(self, fragments: Sequence[onnx.ModelProto], images: Tensor) -> Program:
        return _SessionProgram(open_session(join(fragments).SerializeToString(), self.threads), images)


class _SessionProgram(Program):
    def __init__(self, session: onnxruntime.InferenceSession, images: Tensor) -> None:
        self._session = session
        self._feed = {session.get_inputs()[0].name: images.numpy()}

    def run(self) -> None:
        self._session.run(None, self._feed)


def open_session(model: bytes | str, threads: int) -> onnxruntime.InferenceSession:
    """A session over a serialized model, or over the file at a path, with its threads fixed."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=[_PROVIDER])
