from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pruner.data.digits import DigitScenes
from pruner.errors import CheckpointError, UnknownModelError
from pruner.models import load_model
from pruner.surgery import describe
from pruner.training.accuracy import accuracy


def test_an_unknown_name_brings_the_nearest() -> None:
    with pytest.raises(UnknownModelError, match="nearest: deit_tiny_patch16_224"):
        load_model("deit_tiny_patch16_244")


def test_the_shipped_network_is_deits_shape_and_trained() -> None:
    model = load_model("deit_digits", pretrained=True)
    chain = describe(model)
    assert len(chain.blocks) == 24
    assert chain.model == "deit_digits"
    assert chain.input_size == (3, 32, 32)
    assert accuracy(model, DigitScenes(test_images=600).test_batches(batch_size=200)) >= 0.95


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_checkpoint_is_loaded(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(1)
    source = load_model("deit_digits", depth=1)
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save(source.state_dict(), path)
    else:
        save_file(source.state_dict(), path)
    loaded = load_model("deit_digits", checkpoint=path, depth=1)
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in source.state_dict().items())


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(load_model("deit_digits", depth=1).state_dict(), path)
    with pytest.raises(CheckpointError, match="does not fit the model"):
        load_model("deit_digits", checkpoint=path, depth=2)


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no file"):
        load_model("deit_digits", checkpoint=tmp_path / "none.safetensors")
