"""How fast the embedded data is rendered: images per second on one core.

    python benchmarks/render_faces.py

Two orders: identity by identity, and shuffled over more people than the renderer's cache holds.
"""

import argparse
import time

import cv2
import numpy as np

from btnet.data.synthetic import SyntheticFaces


def images_per_second(faces: SyntheticFaces, indices: list[int]) -> float:
    """Render these images, and divide by the CPU time it took (robust where others use the machine)."""
    start = time.process_time()
    for index in indices:
        faces[index]
    return len(indices) / (time.process_time() - start)


def main() -> None:
    """Render, and print one line per order."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-images", type=int, default=2000)
    num_images = parser.parse_args().num_images
    cv2.setNumThreads(1)
    faces = SyntheticFaces(20_000, 20, seed=1)
    shuffled = np.random.default_rng(0).permutation(len(faces))[:num_images].tolist()
    images_per_second(faces, list(range(1000, 1040)))  # warm up on other people
    print(f"in order   {images_per_second(faces, list(range(num_images))):6.0f} images/s/core")
    print(f"shuffled   {images_per_second(faces, shuffled):6.0f} images/s/core (every image another person)")


if __name__ == "__main__":
    main()
