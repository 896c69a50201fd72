"""Options that the commands with a recogniser share, and the recogniser they describe."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

# torch and scikit-image are imported when a command runs: --help need not wait for them.
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from btnet.images.codec import decode_image
from btnet.serving.selection import INDICATORS, RULES

if TYPE_CHECKING:
    from btnet.serving.recognizer import Recognizer

__all__ = ["add_recognizer_arguments", "load_recognizer", "read_crop"]

MODEL_VARIABLE: Final = "BTNET_MODEL"


def add_recognizer_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which model embeds, and how."""
    parser.add_argument(
        "--model",
        type=Path,
        default=os.environ.get(MODEL_VARIABLE),
        help="run folder (trunk and branches), folder of ONNX files, or a trunk's .pt file "
        f"(default: the environment variable {MODEL_VARIABLE})",
    )
    parser.add_argument(
        "--backend", choices=("torch", "onnxruntime"), default="torch", help="(default: %(default)s)"
    )
    parser.add_argument("--device", help="cpu or cuda (default: cuda where the backend can use one)")
    parser.add_argument(
        "--indicator",
        choices=INDICATORS,
        default="max",
        help="which side of a crop says how large the face is (default: %(default)s)",
    )
    parser.add_argument(
        "--rule", choices=RULES, default="ceil", help="to which network that size goes (default: %(default)s)"
    )
    parser.add_argument(
        "--selector",
        type=Path,
        metavar="X.json",
        help="of `btnet-lab fit-selector`: go by the detail a crop holds instead of its size",
    )
    parser.add_argument(
        "--fusion",
        action="store_true",
        help="average the two networks a face's size lies between: up to twice the time",
    )
    parser.add_argument(
        "--camera",
        type=Path,
        metavar="FOLDER",
        help="of `btnet adapt-camera`: this camera's statistics (torch only)",
    )
    parser.add_argument(
        "--batch-size", type=int, default=32, help="faces per forward pass (default: %(default)s)"
    )
    parser.add_argument(
        "--mirror", action="store_true", help="add the mirror image's embedding: twice the time"
    )


def load_recognizer(args: argparse.Namespace) -> Recognizer:
    """The recogniser that the options describe.

    Raises:
        ValueError: if no model is named, or as `Recognizer.load`.
        FileNotFoundError: likewise.
    """
    from btnet.serving.recognizer import Recognizer

    if args.model is None:
        raise ValueError(f"no model: give --model, or set the environment variable {MODEL_VARIABLE}")
    return Recognizer.load(
        args.model,
        args.backend,
        device=args.device,
        indicator=args.indicator,
        rule=args.rule,
        selector=args.selector,
        fusion=args.fusion,
        camera=args.camera,
        batch_size=args.batch_size,
        mirror=args.mirror,
    )


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
