"""One pass of the trunk over a data set, shared out to ranks: teacher cache and prototypes as by one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from btnet.backbones.iresnet import IResNet
from btnet.data.faces import open_faces
from btnet.training.distributed import Context
from btnet.training.prototypes import embed_prototypes
from btnet.training.teacher import TrunkTeacher
from btnet.training.teacher_cache import cached
from gloo import run_on_ranks

DATA = "synthetic:14:10"  # three blocks of the cache, the last one smaller


def passes(rank: int, folder: str) -> dict[str, Any]:
    world_size = dist.get_world_size() if dist.is_initialized() else 1
    context = Context(rank, world_size, torch.device("cpu"), torch.float32)
    torch.manual_seed(0)
    trunk = IResNet((1, 1, 1, 1), widths=(4, 4, 4, 4), embedding_size=8).eval().requires_grad_(False)
    faces = open_faces(DATA)
    teacher = TrunkTeacher(trunk, ("layer3.0",), True, context)

    def build(where: str, fingerprint: str) -> Any:
        return cached(
            teacher, Path(folder, where), faces,
            trunk_fingerprint=fingerprint, interpolation="bilinear", num_workers=0,
        )  # fmt: skip

    build("cache", "t")
    with pytest.raises(ValueError, match="stale teacher cache") as stale:
        build("cache", "another")
    return {
        "stale": str(stale.value),
        "prototypes": embed_prototypes(faces, trunk, context, batch_size=8, num_workers=0),
    }


def test_two_ranks_make_the_cache_and_the_prototypes_of_one(tmp_path: Path) -> None:
    alone = passes(0, str(tmp_path / "alone"))
    together = run_on_ranks(passes, 2, str(tmp_path / "together"))
    for rank in together:
        assert "another" in rank["stale"]  # all ranks say so, none waits for the others
        torch.testing.assert_close(rank["prototypes"], alone["prototypes"], rtol=0, atol=1e-6)
    for path in (tmp_path / "alone" / "cache").iterdir():
        assert path.read_bytes() == (tmp_path / "together" / "cache" / path.name).read_bytes()
    assert (tmp_path / "together" / "cache" / "done.u8").read_bytes() == bytes([1, 1, 1])
