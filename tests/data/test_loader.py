"""What the loader's worker processes do with errors, and what they are sent."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from btnet.data.faces import CorruptImageError, RecordFaces, encode_jpeg
from btnet.data.loader import GlobalOrder, make_loader
from btnet.data.record_faces import write_record_faces
from btnet.data.synthetic import SyntheticFaces


def write(path: Path, images: list[bytes]) -> RecordFaces:
    write_record_faces(path, list(range(len(images))), images)
    return RecordFaces(path)


def test_what_a_worker_raises_names_the_file_and_the_record(tmp_path: Path) -> None:
    good = encode_jpeg(SyntheticFaces(1, 1)[0][0])
    faces = write(tmp_path / "faces.rec", [good, good, b"no image", good])
    order = GlobalOrder(4, batch_size=2, num_epochs=1, seed=0)
    loader = make_loader(faces, order, size=112, interpolation="bilinear", num_workers=1, pin_memory=False)
    with pytest.raises(CorruptImageError, match=r"faces\.rec: record 3: not a readable image"):
        list(loader)


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
