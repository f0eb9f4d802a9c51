"""From the bytes of an image file to pixels of 8 bit, or to the reason why there are none."""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from pruner.errors import BadImageError

_MOST_16_BIT = 65_535


def decode(file: Path | BinaryIO, mode: str, place: str) -> Image.Image:
    """The image in `mode`, "RGB" or "L"; whatever mode it is stored in.

    Gray levels of 16 bit are scaled to 8 bit. Transparency is dropped. An image stands as it is stored: like timm and
    torchvision, this does not turn it as its EXIF data says.

    Raises `BadImageError`, which names `place`, for what cannot be decoded to its end, and for an image of so many
    pixels that Pillow takes it for a decompression bomb.
    """
    return in_mode(lambda: Image.open(file), mode, place)


def in_mode(opened: Callable[[], Image.Image], mode: str, place: str) -> Image.Image:
    """The same of an image that somebody else opens."""
    try:
        with opened() as image:
            return _with_8_bit(image).convert(mode)
    except Exception as error:
        # A decoder that is handed arbitrary bytes may raise anything; all of it says that this is no image.
        raise BadImageError(place, str(error) or type(error).__name__) from error


def _with_8_bit(image: Image.Image) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        levels = np.clip(np.asarray(image).astype(np.int64), 0, _MOST_16_BIT)
        return Image.fromarray(((levels * 255 + _MOST_16_BIT // 2) // _MOST_16_BIT).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        # Pillow warns of each such palette otherwise.
        return image.convert("RGBA")
    return image
