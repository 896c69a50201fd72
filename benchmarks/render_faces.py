"""How fast the embedded data is rendered: images per second on one core.

    python benchmarks/render_faces.py

Two orders: identity by identity, and shuffled over more people than the renderer's cache holds.
"""

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from btnet.synthetic.faces import SyntheticFaces
from results import Row, machine, publish, write_json


def images_per_second(faces: SyntheticFaces, indices: list[int]) -> float:
    """Render these images, and divide by the CPU time it took (robust where others use the machine)."""
    start = time.process_time()
    for index in indices:
        faces[index]
    return len(indices) / (time.process_time() - start)


def main() -> None:
    """Render, and print a row per order."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-images", type=int, default=2000)
    parser.add_argument("--quick", action="store_true", help="few images: does it run?")
    parser.add_argument("--output", type=Path, metavar="JSON", help="write the table there too")
    options = parser.parse_args()
    num_images = 40 if options.quick else options.num_images
    cv2.setNumThreads(1)
    faces = SyntheticFaces(20_000, 20, seed=1)
    shuffled = np.random.default_rng(0).permutation(len(faces))[:num_images].tolist()
    images_per_second(faces, list(range(1000, 1040)))  # warm up on other people
    rows: list[Row] = [
        {"order": "in order", "images/s/core": images_per_second(faces, list(range(num_images)))},
        {"order": "every image another person", "images/s/core": images_per_second(faces, shuffled)},
    ]
    title = "rendering of the embedded faces"
    where = machine(torch.device("cpu"))
    print(where)
    publish(title, rows)
    if options.output:
        write_json(options.output, where, {title: rows})


if __name__ == "__main__":
    main()
