"""The verification sets of a run: refused before its first step, all of them scored, and never at the model's cost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from easydict import EasyDict

from btnet.backbones.iresnet import IResNet
from btnet.cli import main
from btnet.data.bin_sets import write_bin
from btnet.images.codec import encode_png
from btnet.training import verification
from btnet.training.checkpoint import saved
from btnet.training.config_file import load_config
from btnet.training.distributed import Context
from btnet.training.report import Report
from btnet.training.run import train
from btnet.training.setup import Model
from btnet.training.step import Step
from btnet.training.verification import Verification, VerificationError
from tiny_keys import NETWORK, TINY

CONFIGS = Path(__file__).parents[2] / "configs"
ALONE = Context(0, 1, torch.device("cpu"), torch.float32)
RUN = [*TINY, *NETWORK, "device=cpu", "num_epoch=1", "warmup_epoch=0"]
ALTERNATING = [number % 2 == 0 for number in range(20)]


def write_set(
    path: Path, issame: list[bool] = ALTERNATING, *, size: int = 32, image: bytes | None = None
) -> Path:
    """Noise; with `image` in the place of the last one."""
    rng = np.random.default_rng(len(issame))
    images: list[Any] = list(rng.integers(0, 256, (2 * len(issame), size, size, 3), np.uint8))
    path.parent.mkdir(exist_ok=True, parents=True)
    write_bin(path, images[: len(images) - (image is not None)] + ([] if image is None else [image]), issame)
    return path


def sets(
    tmp_path: Path, *targets: Path | str, input_size: int = 32, pairs: tuple[str, ...] = ()
) -> Verification:
    network = IResNet(
        (1, 1, 1, 1), widths=(8, 8, 8, 8), canonical_size=32, embedding_size=8, input_size=input_size
    )
    config = EasyDict(
        name="tiny", rec="", val_targets=[*map(str, targets)], val_pairs=[*pairs], interpolation="bilinear"
    )
    return Verification(config, Model(network.eval(), []), tmp_path / "run", ALONE)


def one_fold_of_impostors() -> list[bool]:
    return [not 4 <= number < 6 for number in range(20)]


CUT = encode_png(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))[:200]
OTHER_SIZE = encode_png(np.zeros((24, 32, 3), np.uint8))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"issame": ALTERNATING[:9]}, "9 pairs cannot be judged in 10 folds"),
        ({"issame": [True] * 12}, "all 12 pairs are matched pairs"),
        ({"issame": [False] * 12}, "all 12 pairs are impostor pairs"),
        ({"issame": one_fold_of_impostors()}, "all impostor pairs lie in fold 2 of 10"),
        ({"issame": [not same for same in one_fold_of_impostors()]}, "all matched pairs lie in fold 2 of 10"),
        ({"image": CUT}, "image 39"),
        ({"image": b"no image"}, "image 39"),
        ({"image": OTHER_SIZE}, "image 39 is 32 x 24 px, expected an aligned face of 32 x 32"),
        ({"size": 56}, "image 0 is 56 x 56 px, expected an aligned face of 32 x 32"),
    ],
)
def test_a_set_that_verification_would_stop_at_is_refused_by_name(
    arguments: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    good, bad = write_set(tmp_path / "good.bin"), write_set(tmp_path / "bad.bin", **arguments)
    sets(tmp_path, good).check()
    with pytest.raises(ValueError, match=rf"bad\.bin.*{problem}"):
        sets(tmp_path, good, bad).check()


def test_a_pair_that_the_model_has_no_network_for_is_refused_before_training(tmp_path: Path) -> None:
    path = write_set(tmp_path / "set.bin")
    sets(tmp_path, path, input_size=8).check()
    with pytest.raises(ValueError, match=r"set\.bin: tiny takes 8 px faces only, not 16 px"):
        sets(tmp_path, path, input_size=8, pairs=("8-8", "8-16")).check()


def test_a_damaged_set_ends_a_run_before_its_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Step, "__call__", lambda *_: pytest.fail("a step was taken"))
    damaged = write_set(tmp_path / "cut.bin", size=112, image=CUT)
    keys = [f"output={tmp_path / 'run'}", f"val_targets=['{damaged}']"]
    with pytest.raises(ValueError, match=r"cut\.bin: image 39"):
        train(load_config(CONFIGS / "ms1mv3_r50_hr", [*RUN, *keys]))


def test_sets_of_one_file_name_are_all_scored(tmp_path: Path) -> None:
    paths = [write_set(tmp_path / folder / "lfw.bin") for folder in ("a", "b", "c/b")]
    scored = sets(tmp_path, *paths, paths[0])
    assert scored.sets == {"lfw": paths[0], "b_lfw": paths[1], "c_b_lfw": paths[2]}
    (tmp_path / "run").mkdir()
    with Report(tmp_path / "run", total_steps=1, start_step=0, batch_size=1) as report:
        assert scored.score(1, report) == []
    assert sorted(path.name for path in (tmp_path / "run/results").iterdir()) == [
        "b_lfw.json", "c_b_lfw.json", "lfw.json"
    ]  # fmt: skip
    for name in scored.sets:
        assert f"step 1  {name}  32&32" in (tmp_path / "run/train.log").read_text()


@pytest.fixture
def keys(tmp_path: Path) -> list[str]:
    targets = f"val_targets=['{write_set(tmp_path / 'lfw.bin', size=112)}']"
    return [*RUN, f"output={tmp_path / 'run'}", targets, "val_pairs=['112-112']", "verbose=1"]


def failing(error: BaseException) -> Callable[..., Any]:
    def verify(*_: Any, **__: Any) -> Any:
        raise error

    return verify


def test_a_verification_that_fails_is_told_and_costs_neither_steps_nor_the_model(
    keys: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verification, "verify", failing(RuntimeError("out of memory")))
    arguments = ["train", str(CONFIGS / "ms1mv3_r50_hr"), *(word for key in keys for word in ("--set", key))]
    assert main(arguments) == 1
    assert "its last verification failed: lfw (out of memory)" in capsys.readouterr().err
    log = (tmp_path / "run/train.log").read_text()
    assert "step 1: verification failed: lfw (out of memory)" in log
    assert "step 2/2" in log
    for name in ("model.pt", "classifier.safetensors", "btnet.json"):
        assert (tmp_path / "run" / name).is_file()
    assert not (tmp_path / "run/checkpoints").exists()
    with pytest.raises(VerificationError):
        train(load_config(CONFIGS / "ms1mv3_r50_hr", [*keys, f"output={tmp_path / 'other'}"]))


def test_a_run_killed_in_its_last_verification_goes_on_without_training_again(
    keys: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [*keys, "verbose=1000"]
    whole = train(load_config(CONFIGS / "ms1mv3_r50_hr", [*keys, f"output={tmp_path / 'whole'}"]))
    with monkeypatch.context() as patch:
        patch.setattr(verification, "verify", failing(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            train(load_config(CONFIGS / "ms1mv3_r50_hr", keys))
    assert [path.name for path in saved(tmp_path / "run/checkpoints")] == ["step_000000002"]
    monkeypatch.setattr(Step, "__call__", lambda *_: pytest.fail("a step was taken"))
    folder = train(load_config(CONFIGS / "ms1mv3_r50_hr", [*keys, "resume=True"]))
    assert (folder / "model.pt").read_bytes() == (whole / "model.pt").read_bytes()
    assert json.loads((folder / "results/lfw.json").read_text())["step"] == 2


def test_a_network_whose_architecture_cannot_be_written_ends_a_run_before_its_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Step, "__call__", lambda *_: pytest.fail("a step was taken"))
    build = IResNet.__init__

    def with_another_arch(self: IResNet, *args: Any, **kwargs: Any) -> None:
        build(self, *args, **kwargs)
        self.arch["activation"] = torch.relu

    monkeypatch.setattr(IResNet, "__init__", with_another_arch)
    with pytest.raises(TypeError, match="not JSON serializable"):
        train(load_config(CONFIGS / "ms1mv3_r50_hr", [*RUN, f"output={tmp_path / 'run'}"]))
