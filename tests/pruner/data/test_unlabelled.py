"""Images without labels: the uncut network's answers stand in for them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from networks import made
from pruner.data.catalogues import open_catalogue
from pruner.data.images import Part
from pruner.data.settings import DataSettings, Preparation
from pruner.errors import DataError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for number in range(40):
        place = tmp_path / "photos" / ("2024/june" if number % 3 else ".") / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (20, 20, 3), dtype=np.uint8)).save(place)
    (tmp_path / "photos" / ".preview.png").write_bytes(b"")
    return tmp_path / "photos"


def test_every_image_is_in_one_split_and_has_the_networks_answer(photos: Path) -> None:
    model = made("deit", 0).eval()
    catalogue = open_catalogue(DataSettings(dataset="unlabelled", root=photos))
    assert catalogue.classes is catalogue.num_classes is None
    assert "1 hidden images are left out" in catalogue.notes
    data = catalogue.images(model, (3, 16, 16), Preparation())
    assert (data.num_classes, data.input_size, data.steps_per_epoch(8)) == (5, (3, 16, 16), 3)
    assert data.name.endswith("without labels")
    splits = [
        list(data.train_batches(epoch=0, batch_size=29, seed=0)),
        list(data.calibration_batches(batch_size=3)),
        list(data.test_batches(batch_size=3)),
    ]
    assert [sum(len(labels) for _, labels in split) for split in splits] == [29, 3, 8]
    for images, labels in (batch for split in splits for batch in split):
        with torch.no_grad():
            assert torch.equal(labels, model(images).argmax(dim=1))
    parts = [next(data.test_batches(batch_size=4, part=Part(rank, 2)))[1] for rank in range(2)]
    whole = next(data.test_batches(batch_size=4))[1]
    assert torch.equal(torch.stack(parts, dim=1).flatten(), whole)


def test_a_folder_without_images_and_no_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there are no images in"):
        open_catalogue(DataSettings(dataset="unlabelled", root=tmp_path))
    with pytest.raises(DataError, match="name it with --data-dir"):
        open_catalogue(DataSettings(dataset="unlabelled"))
    with pytest.raises(DataError, match="there is no folder"):
        open_catalogue(DataSettings(dataset="unlabelled", root=tmp_path / "nowhere"))
