"""What images go through on their way to a network, and what has no sense to timm."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch import nn

from folders import SIZE, epoch_of, equal, folder_of, images_in
from pruner.data.augmentation import Augmentation, Evaluation, transforms_for
from pruner.data.loading import Varied
from pruner.data.settings import Preparation
from pruner.errors import DataError

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 30, 3), dtype=np.uint8))
OWN = Evaluation()


def evaluated(model: nn.Module, evaluation: Evaluation = OWN) -> torch.Tensor:
    return transforms_for(model, SIZE, evaluation=evaluation).evaluation(PICTURE)


def test_evaluation_is_as_the_model_has_it_unless_told_otherwise(small_vit: nn.Module) -> None:
    own = evaluated(small_vit)
    assert own.shape == SIZE
    assert torch.equal(own, evaluated(small_vit, Evaluation(interpolation="bicubic", crop_pct=0.9)))
    assert not torch.equal(own, evaluated(small_vit, Evaluation(interpolation="bilinear")))
    assert not torch.equal(own, evaluated(small_vit, Evaluation(crop_pct=0.5)))
    raw = evaluated(small_vit, Evaluation(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)))
    assert 0 <= raw.min() < raw.max() <= 1
    twice = evaluated(small_vit, Evaluation(mean=(0.0, 0.0, 0.0), std=(0.5, 0.5, 0.5)))
    assert torch.allclose(twice, 2 * raw)


def test_a_gray_network_is_given_one_channel(small_vit: nn.Module) -> None:
    gray = transforms_for(small_vit, (1, 16, 16))
    assert gray.mode == "L"
    assert gray.evaluation(PICTURE.convert("L")).shape == gray.train(PICTURE.convert("L")).shape == (1, 16, 16)
    with pytest.raises(DataError, match="images have 1 or 3 channels, and the model takes 4"):
        transforms_for(small_vit, (4, 16, 16))


@pytest.mark.parametrize(
    "augmentation",
    [
        Augmentation(no_aug=True),
        Augmentation(hflip=0.0, color_jitter=0.0),
        Augmentation(vflip=1.0),
        Augmentation(scale=(0.9, 1.0), ratio=(1.0, 1.0)),
        Augmentation(aa="v0"),
        Augmentation(aa="augmix-m5-w4-d2"),
        Augmentation(reprob=1.0, remode="rand", recount=3),
        Augmentation(train_interpolation="bicubic"),
    ],
    ids=str,
)
def test_each_setting_changes_the_training_images(
    tmp_path: Path, small_vit: nn.Module, augmentation: Augmentation
) -> None:
    folder_of(tmp_path)
    plain = images_in(tmp_path, small_vit)
    other = images_in(tmp_path, small_vit, Preparation(augmentation=augmentation))
    assert not equal(epoch_of(plain), epoch_of(other))
    assert equal(epoch_of(other), epoch_of(other))
    assert equal(list(plain.test_batches(batch_size=8)), list(other.test_batches(batch_size=8)))
    assert plain.name != other.name


def test_what_timm_does_not_know(small_vit: nn.Module) -> None:
    with pytest.raises(DataError, match="timm makes no transform"):
        transforms_for(small_vit, SIZE, Augmentation(aa="nonsense"))
    with pytest.raises(ValidationError, match=r"train_interpolation\n.*should be 'nearest'"):
        Augmentation(train_interpolation="softly")  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", ["rand-m10-inc1", "rand-m1", "v0", "original"])
def test_no_draw_of_a_policy_fails(small_vit: nn.Module, policy: str) -> None:
    prepare = Varied(transforms_for(small_vit, SIZE, Augmentation(aa=policy)).train, seed=0, epoch=0)
    assert len({float(prepare(PICTURE, number).sum()) for number in range(120)}) > 100
