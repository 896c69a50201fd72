"""Faces that are moved before anybody sees them: the trunk answers for the very face that the branch sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from btnet.data.alignment_jitter import AlignmentJitter
from btnet.data.views import resize
from btnet.serving.alignment import template
from btnet.training.config_file import load_config
from btnet.training.run import train
from btnet.training.step import Step
from btnet.training.teacher import TrunkTeacher

CONFIGS = Path(__file__).parents[2] / "configs"
NETWORK = [
    "network=iresnet",
    "network_args={'blocks': [1, 1, 1, 1], 'widths': [16, 16, 16, 16]}",
    "embedding_size=8",
]
SMALL = [
    "rec=synthetic:4:4",
    "batch_size=8",
    "num_epoch=2",
    "num_workers=0",
    "val_targets=[]",
    "device=cpu",
]


@pytest.fixture(scope="module")
def trunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(
        load_config(
            CONFIGS / "ms1mv3_r50_hr", [*SMALL, *NETWORK, f"output={tmp_path_factory.mktemp('trunk')}"]
        )
    )


def branch(trunk: Path, *overrides: str) -> Any:
    return load_config(CONFIGS / "ms1mv3_btnet_r14", [*SMALL, f"trunk={trunk}", *overrides])


def test_teacher_and_branch_see_the_same_moved_face_and_another_in_each_epoch(
    trunk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[tuple[Tensor, Tensor]] = []
    learnt: list[Tensor] = []
    answer, enter = TrunkTeacher.__call__, Step.enter

    def watched_answer(self: TrunkTeacher, images: Tensor, keys: Tensor, mirrored: Tensor) -> Any:
        taught.append((images, keys))
        return answer(self, images, keys, mirrored)

    def watched_view(self: Step, images: Tensor) -> Tensor:
        learnt.append(images)
        return enter(self, images)

    monkeypatch.setattr(TrunkTeacher, "__call__", watched_answer)
    monkeypatch.setattr(Step, "enter", watched_view)
    train(branch(trunk, "shared_jitter=0.04", "flip=False", f"output={tmp_path}"))
    assert len(taught) == len(learnt) == 4
    for (images, _), view in zip(taught, learnt, strict=True):
        assert torch.equal(view, resize(images, 14))
    first, second = (
        {int(key): image for images, keys in half for key, image in zip(keys, images, strict=True)}
        for half in (taught[:2], taught[2:])
    )
    assert first.keys() == second.keys() == set(range(16))
    assert not any(torch.equal(first[key], second[key]) for key in first)


def test_both_jitters_draw_independently() -> None:
    keys = torch.arange(8)
    alone, shared = (
        AlignmentJitter(0.04, template, seed=1, key=key) for key in ("alignment_jitter", "shared_jitter")
    )
    assert not torch.equal(alone.transforms(keys, 0, 112), shared.transforms(keys, 0, 112))


def test_a_cache_of_one_answer_per_face_is_refused(trunk: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(ValueError, match=r"teacher_cache=.* with shared_jitter=0\.04"):
        train(branch(trunk, "shared_jitter=0.04", f"teacher_cache={cache}", f"output={tmp_path / 'run'}"))
    assert not cache.exists()
