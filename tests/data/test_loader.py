"""What the loader hands out, what its worker processes do with errors, and what they are sent."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from btnet.data.faces import CorruptImageError, FaceSet, NativeCrops, RecordFaces, encode_jpeg
from btnet.data.loader import Batches, GlobalOrder, Order
from btnet.data.record_faces import write_record_faces
from btnet.images.resize import resize
from btnet.synthetic.faces import SyntheticFaces
from jobs import alive, descendants, wait_until


def write(path: Path, images: list[bytes]) -> RecordFaces:
    write_record_faces(path, list(range(len(images))), images)
    return RecordFaces(path)


def batches(faces: FaceSet, order: Order, *, batch_size: int, num_workers: int) -> Batches:
    return Batches(
        faces,
        order,
        batch_size=batch_size,
        size=112,
        interpolation="bilinear",
        num_workers=num_workers,
        pin_memory=False,
    )


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_batches_are_the_images_of_the_order_whoever_decodes_them(tmp_path: Path, num_workers: int) -> None:
    rendered = SyntheticFaces(3, 3)
    # one is a native crop, which is stretched
    pictures = [rendered[i][0] if i != 4 else rendered[i][0][:90, 10:80] for i in range(len(rendered))]
    faces = NativeCrops(write(tmp_path / "faces.rec", [encode_jpeg(picture) for picture in pictures]))
    # more batches than the ring has slots; the last one is smaller
    order = [[(3 * k) % 9, (5 * k + 1) % 9, 4] for k in range(11)] + [[8]]
    found = list(batches(faces, order, batch_size=3, num_workers=num_workers))
    assert [batch.keys.tolist() for batch in found] == order
    for indices, batch in zip(order, found, strict=True):  # kept together: no batch is written over
        images = [resize(faces[i][0], 112) for i in indices]
        expected = torch.stack([torch.from_numpy(image) for image in images]).permute(0, 3, 1, 2)
        assert torch.equal(batch.images, expected)
        assert batch.images.stride() == expected.stride()
        assert batch.labels.tolist() == [faces[i][1] for i in indices]


@pytest.mark.parametrize("side", [(112, 96), (250, 250), (612, 912), (56, 56)])
def test_a_face_that_is_not_aligned_is_refused_by_its_name(side: tuple[int, int], tmp_path: Path) -> None:
    faces = write(tmp_path / "x.rec", [encode_jpeg(np.full((*side, 3), 90, np.uint8))])
    with pytest.raises(
        ValueError, match=rf"x\.rec: record 1 is {side[1]} x {side[0]} px, expected an aligned face"
    ):
        next(iter(batches(faces, [[0]], batch_size=1, num_workers=0)))
    [batch] = batches(NativeCrops(faces), [[0]], batch_size=1, num_workers=0)
    assert batch.images.shape == (1, 3, 112, 112)


def test_a_slow_reader_finds_no_batch_written_over(tmp_path: Path) -> None:
    image = SyntheticFaces(1, 1)[0][0]
    shades = [np.full_like(image, 8 * k) for k in range(30)]
    faces = write(tmp_path / "faces.rec", [encode_jpeg(shade) for shade in shades])
    order = [[k] for k in range(30)]
    for k, batch in enumerate(batches(faces, order, batch_size=1, num_workers=2)):
        time.sleep(0.005)  # workers run ahead as far as they may
        assert set(batch.images.flatten().tolist()) == {8 * k}


def test_what_a_worker_raises_names_the_file_and_the_record(tmp_path: Path) -> None:
    good = encode_jpeg(SyntheticFaces(1, 1)[0][0])
    faces = write(tmp_path / "faces.rec", [good, good, b"no image", good])
    order = GlobalOrder(4, batch_size=2, num_epochs=1, seed=0)
    with pytest.raises(CorruptImageError, match=r"faces\.rec: record 3: not a readable image"):
        list(batches(faces, order, batch_size=2, num_workers=1))


def test_a_set_that_is_sent_to_a_worker_takes_no_copy_of_its_index_along(tmp_path: Path) -> None:
    sizes = []
    for num_images in (4, 4000):
        faces = write(tmp_path / f"{num_images}.rec", [b"x"] * num_images)
        assert len(faces.labels) == num_images  # kept where it was asked for; workers do not need it
        sent = pickle.dumps(faces)
        sizes.append(len(sent))
        again = pickle.loads(sent)
        assert len(again) == num_images
        assert again.num_classes == faces.num_classes
        assert again.fingerprint() == faces.fingerprint()
    assert sizes[1] < sizes[0] + 100


def test_a_scheduler_that_signals_every_process_does_not_end_the_workers_first(tmp_path: Path) -> None:
    faces = write(tmp_path / "faces.rec", [encode_jpeg(SyntheticFaces(1, 1)[0][0])])
    found = []
    for number, batch in enumerate(batches(faces, [[0]] * 12, batch_size=1, num_workers=1)):
        if number == 1:  # the training process goes on to the end of its step, and may still need a batch
            for pid in descendants(os.getpid()):  # the fork server too
                os.kill(pid, signal.SIGTERM)
        found.append(batch)
    assert len(found) == 12
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def _loader_processes() -> set[int]:
    """What the fork server has started."""
    return {below for server in descendants(os.getpid()) for below in descendants(server)}


def test_a_worker_that_was_killed_is_told_with_what_to_do(tmp_path: Path) -> None:
    faces = write(tmp_path / "faces.rec", [encode_jpeg(SyntheticFaces(1, 1)[0][0])])
    before = _loader_processes()  # those of earlier tests may still be ending
    running = iter(batches(faces, [[0]] * 100, batch_size=1, num_workers=1))
    next(running)
    [worker] = _loader_processes() - before
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(ChildProcessError, match=r"a loader process was killed, .*lower num_workers"):
        list(running)


_ITERATE = """
import sys
from btnet.data.faces import RecordFaces
from btnet.data.loader import Batches

batches = Batches(RecordFaces(sys.argv[1]), [[0]] * 100, batch_size=1, size=112, interpolation="bilinear",
                  num_workers=2, pin_memory=False)
for number, batch in enumerate(batches):
    if number == 5:
        print("running", flush=True)
        sys.stdin.read()
"""


def test_a_training_process_that_is_killed_leaves_no_process_behind(tmp_path: Path) -> None:
    faces = write(tmp_path / "faces.rec", [encode_jpeg(SyntheticFaces(1, 1)[0][0])])
    line = [sys.executable, "-c", _ITERATE, str(tmp_path / "faces.rec")]
    assert len(faces) == 1
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        started = descendants(process.pid)
        assert len(started) >= 4  # resource tracker, fork server, two workers
        process.kill()
        assert wait_until(lambda: not alive(started), seconds=60)
