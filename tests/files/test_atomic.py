"""A file appears whole, readable by whom the umask says, or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from btnet.files.atomic import replacing
from btnet.serving.gallery import Gallery
from tiny_models import tiny_btnet


@pytest.fixture(params=[0o022, 0o027, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_may_be_read_by_whom_the_umask_lets(umask: int, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with replacing(path) as temporary:
        save_file({"x": torch.ones(2)}, temporary)
        # without this the next line would prove nothing: safetensors keeps what it writes to the owner
        assert mode(temporary) == 0o600
    assert mode(path) == 0o666 & ~umask
    assert list(tmp_path.iterdir()) == [path]


def test_models_and_galleries_can_be_shared(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        tiny_btnet(resolutions=(14,)).save(tmp_path)
        Gallery(np.ones((1, 2), np.float32), ("a",), np.array([7]), "t").save(tmp_path / "g.npz")
    finally:
        os.umask(before)
    assert {path.name: oct(mode(path)) for path in tmp_path.iterdir()} == dict.fromkeys(
        ("btnet.json", "model.pt", "overlay_r14.safetensors", "g.npz"), "0o644"
    )


def test_a_block_that_raises_or_writes_nothing_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("before")

    def write_half() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write_half()
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_named_as_the_user_named_it(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "x.json"
    with pytest.raises(FileNotFoundError) as error, replacing(path):
        pass
    assert str(error.value).endswith(f"'{path}'")
