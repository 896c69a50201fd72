"""A run that is resumed is the same experiment, or is refused with what differs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from btnet.data.record_faces import write_record_faces
from btnet.images.codec import encode_jpeg
from btnet.loss import load_classifier, save_classifier
from btnet.synthetic.faces import SyntheticFaces
from btnet.training.checkpoint import Checkpoints
from btnet.training.config_file import differences, load_config, unchanging
from btnet.training.configuration import KEYS
from btnet.training.removed_keys import REMOVED
from btnet.training.run import _Run, train
from tiny_keys import NETWORK, TINY

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
SMALL = [*TINY, "device=cpu", "precision=fp32"]


class StoppedError(Exception):
    """In the place of kill -9."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sets, and a trunk trained on the first with a copy of its classifier."""
    folder = tmp_path_factory.mktemp("resume")
    for name, seed in (("one", 0), ("two", 1)):
        faces = SyntheticFaces(4, 4, seed=seed)
        images = (encode_jpeg(faces[i][0]) for i in range(len(faces)))
        write_record_faces(
            folder / f"{name}.rec", faces.labels.tolist(), images, class_names=faces.class_names
        )
    keys = [*SMALL, *NETWORK, f"rec={folder / 'one.rec'}", f"output={folder / 'trunk'}"]
    train(load_config(CONFIGS / "ms1mv3_r50_hr", keys))
    shutil.copy(folder / "trunk" / "classifier.safetensors", folder / "centres.safetensors")
    return folder


def stop(name: str, keys: list[str]) -> None:
    save = Checkpoints.save

    def save_and_stop(self: Checkpoints, step: int) -> None:
        save(self, step)
        raise StoppedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_stop)
        with pytest.raises(StoppedError):
            train(load_config(CONFIGS / name, [*keys, "save_every=1"]))


def refusal(name: str, keys: list[str]) -> str:
    with pytest.raises(ValueError, match="another experiment") as refused:
        train(load_config(CONFIGS / name, [*keys, "resume=True"]))
    return str(refused.value)


def test_another_experiment_is_refused_with_every_key_and_both_values(data: Path, tmp_path: Path) -> None:
    keys = [*SMALL, *NETWORK, f"rec={data / 'one.rec'}", f"output={tmp_path}", "lr=0.1"]
    stop("ms1mv3_r50_hr", keys)
    for change, told in (
        ("lr=0.2", "lr was 0.1, now it is 0.2"),
        ("seed=1", "seed was 2048, now it is 1"),
        ("loss=ArcFace", "loss was 'CurricularFace', now it is 'ArcFace'"),
        ("warmup_epoch=0", "warmup_epoch was 2, now it is 0"),
        ("num_epoch=5", "num_epoch was 2, now it is 5"),
        ("flip=False", "flip was True, now it is False"),
        ("dropout=0.1", "dropout was 0.0, now it is 0.1"),
        ("shared_jitter=0.01", "shared_jitter was 0.0, now it is 0.01"),
        ("precision=bf16", r"precision \(what auto stands for\) was 'float32', now it is 'bfloat16'"),
        ("batch_size=4", r"batch_size \(images per step over all ranks\) was 8, now it is 4"),
        (f"rec={data / 'two.rec'}", r"rec \(fingerprint of the set\) was '\w{16}', now it is '\w{16}'"),
        ("network_args={'blocks': [1, 1, 1, 1]}", r"'blocks': \[1, 1, 1, 2\].* now it is .*\[1, 1, 1, 1\]"),
    ):
        assert re.search(told, refusal("ms1mv3_r50_hr", [*keys, change])), change
    both = refusal("ms1mv3_r50_hr", [*keys, "momentum=0.5", "clip=1"])
    assert "momentum was 0.9, now it is 0.5; clip was 5.0, now it is 1.0; go on with the settings" in both
    assert "--set output=FOLDER" in both


def test_what_may_differ_changes_no_bit_of_the_end(data: Path, tmp_path: Path) -> None:
    keys = [*SMALL, f"trunk={data / 'trunk'}", f"rec={data / 'one.rec'}"]
    whole = train(load_config(CONFIGS / "ms1mv3_btnet_r14", [*keys, f"output={tmp_path / 'whole'}"]))
    stop("ms1mv3_btnet_r14", [*keys, f"output={tmp_path / 'parts'}"])
    moved = tmp_path / "moved"
    shutil.copytree(data, moved)
    shutil.move(tmp_path / "parts", tmp_path / "elsewhere")
    parts = train(
        load_config(
            CONFIGS / "ms1mv3_btnet_r28",  # by another name, too
            [
                *[
                    *SMALL,
                    "branches=[14]",
                    f"trunk={moved / 'trunk' / 'model.pt'}",
                    f"rec={moved / 'one.rec'}",
                ],
                *[
                    "resume=True",
                    f"output={tmp_path / 'elsewhere'}",
                    "num_workers=1",
                    "frequent=3",
                    "verbose=3",
                ],
                *["save_every=2", "keep_checkpoints=1", "role=other", "corrupt=skip", "precision=auto"],
                *[f"classifier={moved / 'centres.safetensors'}", "gradient_checkpointing=True"],
            ],
        )
    )
    assert "going on after step 1" in (parts / "train.log").read_text()
    assert (parts / "overlay_r14.safetensors").read_bytes() == (
        whole / "overlay_r14.safetensors"
    ).read_bytes()


def test_files_are_known_by_what_is_in_them(data: Path, tmp_path: Path) -> None:
    trunk, centres = tmp_path / "trunk", tmp_path / "centres.safetensors"
    shutil.copytree(data / "trunk", trunk)
    shutil.copy(data / "centres.safetensors", centres)
    keys = [*SMALL, f"trunk={trunk}", f"rec={data / 'one.rec'}", f"classifier={centres}"]
    keys += [f"output={tmp_path / 'run'}", f"teacher_cache={tmp_path / 'cache'}"]
    stop("ms1mv3_btnet_r14", keys)
    found = load_classifier(centres)
    names = SyntheticFaces(4, 4).class_names
    save_classifier(
        centres,
        found.weight.flip(0),
        names,
        trunk_fingerprint=found.trunk_fingerprint,
        data_fingerprint=found.data_fingerprint,
    )
    assert "classifier (contents of the file) was" in refusal("ms1mv3_btnet_r14", keys)
    shutil.copy(data / "centres.safetensors", centres)
    without = refusal("ms1mv3_btnet_r14", [*keys, "teacher_cache="])
    assert "teacher_cache (whether there is one) was True, now it is False" in without


def test_a_trunk_that_goes_on_is_taught_by_the_trunk_it_began_from(data: Path, tmp_path: Path) -> None:
    trunk = tmp_path / "trunk.pt"
    shutil.copy(data / "trunk" / "model.pt", trunk)
    keys = [
        *SMALL,
        f"trunk={trunk}",
        f"rec={data / 'one.rec'}",
        f"output={tmp_path / 'run'}",
        "warmup_epoch=0",
    ]
    keys.append("embedding_cosine_weight=1")
    stop("survface_r50_hr", keys)
    state = torch.load(trunk, weights_only=True)
    torch.save({key: value * 1.5 for key, value in state.items()}, trunk)
    assert "trunk (fingerprint of the trunk) was" in refusal("survface_r50_hr", keys)


def test_a_checkpoint_of_an_earlier_version_is_refused(data: Path, tmp_path: Path) -> None:
    keys = [*SMALL, *NETWORK, f"rec={data / 'one.rec'}", f"output={tmp_path}"]
    facts = Checkpoints._facts

    def without_settings(self: Checkpoints, step: int) -> dict[str, Any]:
        return {key: value for key, value in facts(self, step).items() if key in ("step", "world_size")}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "_facts", without_settings)
        stop("ms1mv3_r50_hr", keys)
    with pytest.raises(
        ValueError, match="was saved by an earlier version, without its settings: end the run with"
    ):
        train(load_config(CONFIGS / "ms1mv3_r50_hr", [*keys, "resume=True"]))


def test_a_run_goes_on_on_another_kind_of_device_whose_dropout_draws_anew(data: Path, tmp_path: Path) -> None:
    keys = [*SMALL, *NETWORK, f"rec={data / 'one.rec'}", f"output={tmp_path}", "dropout=0.3"]
    facts, tensors = Checkpoints._facts, Checkpoints._tensors

    def of_a_gpu(self: Checkpoints, step: int) -> dict[str, Any]:
        return {**facts(self, step), "device": "cuda"}

    def with_the_state_of_a_gpu(self: Checkpoints, *old: Any) -> dict[str, Any]:
        found = tensors(self, *old)
        return {key: torch.zeros(16) if "/random/" in key else value for key, value in found.items()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "_facts", of_a_gpu)
        patch.setattr(Checkpoints, "_tensors", with_the_state_of_a_gpu)
        stop("ms1mv3_r50_hr", keys)
    folder = train(load_config(CONFIGS / "ms1mv3_r50_hr", [*keys, "resume=True"]))
    assert "going on after step 1" in (folder / "train.log").read_text()


def test_a_checkpoint_with_a_removed_key_goes_on_where_the_key_was_off_and_is_refused_where_not(
    data: Path, tmp_path: Path
) -> None:
    keys = [*SMALL, *NETWORK, f"rec={data / 'one.rec'}", f"output={tmp_path}"]
    identity = _Run._identity
    off: dict[str, Any] = {key: removed.off for key, removed in REMOVED.items()}
    for earlier in (off | {"averaging": "ema:0.9"}, off):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_Run, "_identity", lambda self, earlier=earlier: identity(self) | earlier)
            stop("ms1mv3_r50_hr", [*keys, "overwrite=True"])
        if earlier["averaging"]:
            with pytest.raises(ValueError, match=r"step_\d+: averaging was removed \("):
                train(load_config(CONFIGS / "ms1mv3_r50_hr", [*keys, "resume=True"]))
    folder = train(load_config(CONFIGS / "ms1mv3_r50_hr", [*keys, "resume=True"]))
    manifest = json.loads((folder / "btnet.json").read_text())
    manifest["config"] |= off
    (folder / "btnet.json").write_text(json.dumps(manifest))
    assert train(load_config(CONFIGS / "ms1mv3_r50_hr", [*keys, "resume=True"])) == folder
    manifest["config"]["averaging"] = "swa:0.5"
    (folder / "btnet.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="averaging was removed"):
        train(load_config(CONFIGS / "ms1mv3_r50_hr", [*keys, "resume=True"]))


def test_a_finished_run_is_not_taken_for_another_experiment_s(data: Path) -> None:
    keys = [*SMALL, *NETWORK, f"rec={data / 'one.rec'}", f"output={data / 'trunk'}", "resume=True"]
    assert train(load_config(CONFIGS / "ms1mv3_r50_hr", [*keys, "frequent=7"])) == data / "trunk"
    for change, told in (
        ("lr=0.3", "lr was 0.2, now it is 0.3"),
        (f"rec={data / 'two.rec'}", r"rec was .*one\.rec', now it is .*two\.rec'"),
    ):
        assert re.search(told, refusal("ms1mv3_r50_hr", [*keys, change]))


def test_a_key_that_a_later_version_added_had_its_default() -> None:
    now = unchanging(load_config(CONFIGS / "ms1mv3_btnet_r14"))
    before = {key: value for key, value in now.items() if key != "size_band"}
    assert differences(before, now) == ""
    assert differences(before, now | {"size_band": 0.5}) == "size_band was 0.0, now it is 0.5"
    assert differences(before | {"gone": 1}, now) == "gone was 1, now it is None"


def test_the_page_lists_what_may_differ() -> None:
    page = (ROOT / "docs" / "training.md").read_text()
    section = page.partition("### The same experiment")[2].partition("\n## ")[0]
    free, _, named = section.partition("| key |")
    listed = re.findall(r"`(\w+)`", free.partition("may differ:")[2].partition(".\n")[0])
    assert listed == [key for key, of in KEYS.items() if of.resumes is True]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", named, re.MULTILINE)
    assert dict(rows) == {key: of.resumes for key, of in KEYS.items() if isinstance(of.resumes, str)}
