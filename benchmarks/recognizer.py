"""The recogniser: latency per face and batch, and mixed sizes against the same crops grouped by hand.

    python benchmarks/recognizer.py [MODEL] [--num-crops 10000] [--backend torch]

By hand: crops sorted by network beforehand, each group cut into batches, each batch resized and run; nothing
is checked, selected or put back in order. Both alternate, and the best of each counts.
"""

import argparse
import time

import numpy as np
import torch
from numpy.typing import NDArray

from btnet import BTNet, mobilefacenet
from btnet.inference import Recognizer
from btnet.serving.crops import fit_crops
from btnet.serving.embedding import embed_images
from btnet.serving.face_model import FaceModel

Crops = list[NDArray[np.uint8]]


def mixed_crops(num_crops: int) -> Crops:
    """Sizes as surveillance gives them: log-normal around 20 px, none below 4 or above 112, never quite square."""
    rng = np.random.default_rng(0)
    sides = np.clip(rng.lognormal(np.log(16), 0.5, num_crops), 4, 100)
    sizes = np.clip(np.stack([sides, sides * rng.uniform(0.8, 1.25, num_crops)], axis=1).round(), 4, 112)
    return [rng.integers(0, 256, (int(h), int(w), 3), dtype=np.uint8) for w, h in sizes]


def by_hand(recognizer: Recognizer, groups: dict[int, Crops], batch_size: int) -> None:
    """The least that must be done."""
    model = recognizer.model
    for resolution, crops in groups.items():
        for start in range(0, len(crops), batch_size):
            views = fit_crops(crops[start : start + batch_size], resolution, model.views)
            embed_images(model.networks[resolution], views, batch_size=batch_size, mirror=False)


def latency(recognizer: Recognizer, size: int, batch_size: int, seconds: float) -> float:
    """Median milliseconds of one call of `embed`."""
    crops = [np.zeros((size - 1, size, 3), np.uint8)] * batch_size
    times: list[float] = []
    recognizer.embed(crops)
    while sum(times) < seconds:
        start = time.perf_counter()
        recognizer.embed(crops)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", help="default: an untrained MobileFaceNet with branches")
    parser.add_argument("--backend", choices=("torch", "onnxruntime"), default="torch")
    parser.add_argument("--num-crops", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    args = parser.parse_args()
    torch.manual_seed(0)
    if args.model is None:
        network = BTNet(mobilefacenet(), (28, 14, 7)).eval()
        recognizer = Recognizer(FaceModel.of(network, "untrained"), batch_size=args.batch_size)
    else:
        recognizer = Recognizer.load(args.model, args.backend, batch_size=args.batch_size)
    print(f"{args.model or 'mobilefacenet'}, {args.backend}, {torch.get_num_threads()} threads")
    for size in recognizer.resolutions:
        one, many = (latency(recognizer, size, n, 1.5) for n in (1, args.batch_size))
        print(
            f"{size:4} px: {one:7.2f} ms for one face, {many:8.2f} ms for {args.batch_size} "
            f"({1000 * args.batch_size / many:6.0f} faces/s)"
        )

    crops = mixed_crops(args.num_crops)
    groups: dict[int, Crops] = {}
    for crop in crops:
        groups.setdefault(recognizer.resolution_of(crop.shape[1], crop.shape[0]), []).append(crop)
    print("mixed: " + ", ".join(f"{len(group)} at {size} px" for size, group in sorted(groups.items())))
    seconds = {"by hand": np.inf, "embed": np.inf}
    for _ in range(args.rounds):
        for name, work in (
            ("by hand", lambda: by_hand(recognizer, groups, args.batch_size)),
            ("embed", lambda: recognizer.embed(crops)),
        ):
            start = time.perf_counter()
            work()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    for name, best in seconds.items():
        print(f"{name:8} {best:7.2f} s, {len(crops) / best:7.0f} faces/s")
    print(f"embed has {100 * seconds['by hand'] / seconds['embed']:.1f} % of the throughput by hand")


if __name__ == "__main__":
    main()
