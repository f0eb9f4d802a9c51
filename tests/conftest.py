"""What many tests start from: a small vision transformer, and the command line as a user types it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from pruner.models import load_model

SMALL = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 3, "num_heads": 2, "num_classes": 5}

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def small_vit() -> nn.Module:
    """Three blocks, 24 wide, 16-pixel images, with norms and biases that are not at their initial values."""
    torch.manual_seed(0)
    model = load_model("deit_tiny_patch16_224", **SMALL)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=float(parameter.detach().mean()), std=0.3)
    return model


@pytest.fixture
def depthfinder(tmp_path: Path) -> Command:
    """Types `depthfinder ...` in an empty folder and waits for it to end."""

    def run(*words: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "depthfinder", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=timeout, check=False)

    return run
