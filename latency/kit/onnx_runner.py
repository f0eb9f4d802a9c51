"""Runs a kit's graphs with ONNX Runtime; this file is packed into kits."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from latency import hardware
from latency.rounds import Program

_SPREAD = 0.05  # of random weights: neither vanishes nor overflows over the depth of a network
WEIGHTS = "weights.bin"
"""The file of random weights that all of a kit's ONNX files share."""


class OnnxRunner:
    """Makes programs of a kit's ONNX files, whose weights are one file of random numbers that is made here."""

    def __init__(self, kit: Mapping[str, Any], folder: Path) -> None:
        """Checks the provider and writes the file of weights, if there is none.

        Args:
            kit: The content of the kit's kit.json.
            folder: The unpacked kit.

        Raises:
            SystemExit: when ONNX Runtime lacks the provider that the kit is for.
        """
        self._folder, self._threads = folder / "graphs", int(kit["mode"]["threads"])
        self._provider = str(kit["provider"])
        there = onnxruntime.get_available_providers()
        if self._provider not in there:
            raise SystemExit(
                f"this kit is for {kit['device']}: onnxruntime {onnxruntime.__version__} has {', '.join(there)}"
            )
        weights = self._folder / WEIGHTS
        if not weights.exists():
            numbers = np.random.default_rng(0).standard_normal(kit["weight_bytes"] // 4, dtype=np.float32)
            weights.write_bytes((numbers * _SPREAD).tobytes())

    @property
    def hardware(self) -> str:
        """The name of the processor."""
        return hardware.processor()

    @property
    def runtime(self) -> str:
        """The version of ONNX Runtime."""
        return f"onnxruntime {onnxruntime.__version__}"

    def program(self, entry: Mapping[str, Any]) -> Program:
        """Builds the program of an entry of the kit.

        Args:
            entry: `file` is the name of the ONNX file, and `shapes` are the shapes of its inputs.

        Raises:
            SystemExit: when ONNX Runtime gives the session another provider.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        # Threads spin on for a while after a run, and would take the processor from the next session that is timed.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        session = onnxruntime.InferenceSession(str(self._folder / entry["file"]), options, providers=[self._provider])
        if session.get_providers()[0] != self._provider:
            raise SystemExit(f"ONNX Runtime fell back from {self._provider} to {session.get_providers()[0]}")
        random = np.random.default_rng(0)
        return _Session(session, [random.random(tuple(shape), dtype=np.float32) for shape in entry["shapes"]])


class _Session(Program):
    def __init__(self, session: Any, inputs: Sequence[Any]) -> None:
        self._session = session
        self._feed = {one.name: array for one, array in zip(session.get_inputs(), inputs, strict=True)}

    def run(self) -> None:
        """Runs the session once."""
        self._session.run(None, self._feed)
