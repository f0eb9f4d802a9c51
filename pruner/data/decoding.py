"""Decodes image files to pixels of 8 bits, or says why they cannot be decoded."""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from pruner.errors import BadImageError

_MOST_16_BIT = 65_535


def decode(file: Path | BinaryIO, mode: str, place: str) -> Image.Image:
    """Decodes an image file, whatever mode it is stored in.

    Gray levels of 16 bits are scaled to 8 bits. Transparency is dropped. An image is not turned as its EXIF data says;
    timm and torchvision do not turn it either.

    Args:
        file: A path, or a file that is open for reading bytes.
        mode: Pillow's mode of the result, "RGB" or "L".
        place: Where the image is, for the message of the error.

    Raises:
        BadImageError: when the image cannot be decoded to its end, or has so many pixels that Pillow takes it for a
            decompression bomb.
    """
    return in_mode(lambda: Image.open(file), mode, place)


def in_mode(opened: Callable[[], Image.Image], mode: str, place: str) -> Image.Image:
    """Converts an image that the caller opens, as `decode` does.

    Args:
        opened: Opens the image. Whatever it raises says that this is no image.
        mode: Pillow's mode of the result, "RGB" or "L".
        place: Where the image is, for the message of the error.

    Raises:
        BadImageError: when the image cannot be opened, or not decoded to its end.
    """
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
