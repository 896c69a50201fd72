"""What commands that read a user's images share: one crop read, files not taken told, and the exit status then."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from btnet.console import show
from btnet.images.codec import decode_image

if TYPE_CHECKING:
    from btnet.data.found_images import FoundImages

LEFT_OUT: Final = 3
"""Exit status: done, but without some images."""


def read_crop(path: Path) -> NDArray[np.uint8]:
    """Read an image file as a crop that a recogniser takes, uint8 RGB [H, W, 3].

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no image, or too small for a face.
    """
    from btnet.serving.crops import as_rgb

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such image file")
    return as_rgb(decode_image(path.read_bytes(), str(path)), str(path))


def tell_left_out(found: FoundImages) -> int:
    """Say on standard error which files were not taken, and why.

    Returns:
        `LEFT_OUT` if there are images among them, else 0.
    """
    for line in found.report():
        show(f"btnet: {line}", error=True)
    return LEFT_OUT if found.left_out else 0
