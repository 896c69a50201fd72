"""The loader's rate per core beside a plain loop that reads and decodes the same images.

    python benchmarks/loader.py                          rendered faces as JPEG
    python benchmarks/loader.py --rec train.rec          a set of your own

A core's rate is images per second of processor time, which does not count what else the machine does. The worker's
covers all between two batches: reading, decoding, writing into the batch, and sending it. Images are drawn at
random from a file that is in memory. Figures are medians over rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from btnet.data.faces import FaceSet, encode_jpeg
from btnet.data.loader import Batches
from btnet.data.record_faces import RecordFaces, write_record_faces
from btnet.data.recordio import RecordReader
from btnet.synthetic.faces import SyntheticFaces
from btnet.training.distributed import keep_freed_memory
from results import Row, machine, publish, write_json

SIZE, BATCH_SIZE = 112, 128
ALONE, PLAIN = "decoding alone", "plain loop: read and decode"
WORKER, RECEIVER = "loader's worker", "receiver (the training process)"


class Timed:
    """A set whose last label of each batch is the worker's processor time in microseconds."""

    def __init__(self, faces: FaceSet) -> None:
        self._faces, self._count = faces, 0

    def __len__(self) -> int:
        return len(self._faces)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        image, _ = self._faces[index]
        self._count += 1
        return image, 0 if self._count % BATCH_SIZE else time.process_time_ns() // 1000


def decode_alone(payloads: Sequence[bytes]) -> float:
    """Processor seconds per image of decoding what is in memory."""
    start = time.process_time()
    for payload in payloads:
        cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR_RGB)
    return (time.process_time() - start) / len(payloads)


def read_and_decode(reader: RecordReader, keys: Sequence[int]) -> float:
    """Processor seconds per image of a loop that reads records and decodes them, and does nothing else."""
    start = time.process_time()
    for key in keys:
        cv2.imdecode(np.frombuffer(reader.read(key)[1], np.uint8), cv2.IMREAD_COLOR_RGB)
    return (time.process_time() - start) / len(keys)


def loader(faces: FaceSet, order: Sequence[list[int]]) -> tuple[float, float]:
    """Processor seconds per image of the one worker, and of the process that receives; the first batches left out."""
    batches = Batches(
        cast(FaceSet, Timed(faces)),
        order,
        batch_size=BATCH_SIZE,
        size=SIZE,
        interpolation="bilinear",
        num_workers=1,
        pin_memory=False,
    )
    begins = len(order) // 4
    for number, batch in enumerate(batches):
        if number == begins:
            first, receiver = int(batch.labels[-1]), time.process_time()
    num_images = sum(len(indices) for indices in order[begins + 1 :])
    worker = (int(batch.labels[-1]) - first) / 1e6
    return worker / num_images, (time.process_time() - receiver) / num_images


def measure(path: Path, num_batches: int, rounds: int) -> list[Row]:
    """One row per way, all measured in turn in every round."""
    faces, reader = RecordFaces(path), RecordReader(path)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(0, len(faces), (num_batches, BATCH_SIZE), generator=generator)
    order: list[list[int]] = drawn.tolist()
    # a set without record 0 counts its images from its first key
    first_key = int(faces.describe(0).rpartition(" ")[2])
    keys = [first_key + index for indices in order for index in indices]
    payloads = [reader.read(key)[1] for key in keys]
    decode_alone(payloads)  # warms up
    seconds: dict[str, list[float]] = {name: [] for name in (ALONE, PLAIN, WORKER, RECEIVER)}
    for _ in range(rounds):
        worker, receiver = loader(faces, order)
        found = (decode_alone(payloads), read_and_decode(reader, keys), worker, receiver)
        for name, value in zip(seconds, found, strict=True):
            seconds[name].append(value)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return [
        {
            "what": name,
            "us per image": 1e6 * value,
            "images/s per core": 1 / value,
            "of the plain loop": medians[PLAIN] / value,
            "of decoding alone": medians[ALONE] / value,
        }
        for name, value in medians.items()
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few images: does it run?")
    parser.add_argument("--output", type=Path, metavar="JSON", help="write the table there too")
    parser.add_argument("--rec", type=Path, help="a .rec of 112 px faces (default: rendered faces)")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    where = machine(torch.device("cpu"))
    print(where)
    num_images, num_batches = (64, 4) if options.quick else (1024, 60)
    # memory is kept as in a training process on a CPU
    with keep_freed_memory(), tempfile.TemporaryDirectory() as folder:
        path = options.rec
        if path is None:
            path = Path(folder, "faces.rec")
            faces = SyntheticFaces(num_images // 8, 8)
            jpegs = (encode_jpeg(faces[i][0]) for i in range(num_images))
            write_record_faces(path, faces.labels.tolist(), jpegs)
        rows = measure(path, num_batches, 2 if options.quick else options.rounds)
    title = f"loader, JPEG of {SIZE} px, batches of {BATCH_SIZE}"
    publish(title, rows)
    if options.output:
        write_json(options.output, where, {title: rows})


if __name__ == "__main__":
    main()
