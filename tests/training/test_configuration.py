"""What a configuration says is what a run does: keys without effect, values out of range and what JSON cannot hold."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from btnet.method.objective import TERMS, Term
from btnet.training.config_file import complete_config, load_config
from btnet.training.configuration import KEYS, Kind
from btnet.training.removed_keys import REMOVED

CONFIGS = Path(__file__).parents[2] / "configs"
KINDS = {
    "scratch": ["rec=a.rec"],
    "single": ["rec=a.rec", "input_size=14"],
    "continued": ["rec=a.rec", "trunk=T.pt"],
    "branches": ["rec=a.rec", "trunk=T.pt", "branches=[28,14]"],
}
NEW, TRUNKS = {"scratch", "single"}, {"scratch", "continued"}
BRANCHES, TAUGHT = {"branches"}, {"continued", "branches"}
# key -> a value that is not its default, and the kinds of run that read it
SERVES: dict[str, tuple[str, set[str]]] = {
    "network": ("r18", NEW),
    "network_args": ("{'scale': 1}", NEW),
    "embedding_size": ("64", NEW),
    "dropout": ("0.4", NEW),
    "multi_resolution": ("v2", TRUNKS),
    "size_band": ("0.5", BRANCHES),
    "degradation": ("0.5", BRANCHES),
    "alignment_jitter": ("0.02", BRANCHES),
    "inherit": ("False", BRANCHES),
    "tail_from": ("layer4.1", BRANCHES),
    "inner_size": ("56", BRANCHES),
    "learnt": ("authors", BRANCHES),
    "freeze_classifier": ("False", BRANCHES),
    "influence_weight": ("0.3", BRANCHES),
    "distillation_weight": ("0.25", BRANCHES),
    "embedding_loss_weight": ("0.5", BRANCHES),
    "embedding_cosine_weight": ("20", TAUGHT),
    "feature_cosine_weight": ("1", TAUGHT),
    "further_terms": ("{'length': 0.5}", TAUGHT),
    "teacher_cache": ("cache", {"branches"}),
    "sample_rate": ("0.5", {"scratch", "single", "continued"}),
    "shared_jitter": ("0.02", set(KINDS)),
    "loss": ("ArcFace", set(KINDS)),
    "margin": ("0.4", set(KINDS)),
    "scale": ("32", set(KINDS)),
    "interpolation": ("area", set(KINDS)),
    "classifier": ("centres.safetensors", set(KINDS)),
}


@pytest.fixture(autouse=True)
def further_term(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TERMS, "length", Term(torch.norm, needs=("student_embedding",)))


def loaded(*overrides: str) -> Any:
    return load_config(CONFIGS / "base", overrides)


def folder_of_configs(folder: Path, base: str = "", **files: str) -> Path:
    """Files that set what is given, beside the package's base with further lines."""
    shutil.copy(CONFIGS / "base.py", folder / "base.py")
    (folder / "base.py").write_text((folder / "base.py").read_text() + base)
    start = (
        "from pathlib import Path\nimport numpy as np\nfrom easydict import EasyDict\nconfig = EasyDict()\n"
    )
    for name, lines in files.items():
        (folder / f"{name}.py").write_text(start + lines)
    return folder


def test_every_key_of_the_base_is_declared_once_in_its_order() -> None:
    assert list(KEYS) == [key for key in loaded() if key != "name"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", SERVES)
def test_a_key_is_taken_where_a_run_reads_it_and_refused_where_none_does(key: str, kind: str) -> None:
    value, kinds = SERVES[key]
    if kind in kinds:
        assert loaded(*KINDS[kind], f"{key}={value}")[key] != loaded(*KINDS[kind])[key]
        return
    with pytest.raises(ValueError, match=rf"^--set {key}=.* has no effect.*leave it at "):
        loaded(*KINDS[kind], f"{key}={value}")


def test_what_no_run_reads_is_named_with_what_the_run_trains_and_what_reads_it() -> None:
    with pytest.raises(ValueError, match="has no effect") as refused:
        loaded("rec=a.rec", "inner_size=56", "learnt=authors", "inherit=False")
    assert str(refused.value) == (
        "--set inherit=False has no effect on a new trunk, only on branches (nor have inner_size, learnt); "
        "leave it at True"
    )
    with pytest.raises(ValueError, match=r"set branches=\[14\], and tail_from=none if all of it shall learn"):
        load_config(CONFIGS / "ms1mv3_r50_mm_r14", ["trunk=T.pt"])


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (["learnt=authors", "tail_from=none"], "learnt='authors' has no effect, as tail_from='none' shares"),
        (["inner_size=14"], "inner_size=14 has no effect, as no branch is smaller"),
        (["margin=0.3", "loss=NormFace"], "margin=0.3 has no effect, as NormFace has no margin"),
        (["sample_rate=0.5"], "as a frozen classifier is used whole"),
        (["influence_weight=0", "loss=ArcFace"], "loss='ArcFace' has no effect, as influence_weight=0"),
        (
            ["influence_weight=0", "classifier=prototype"],
            "classifier='prototype' has no effect, as influence_weight=0",
        ),
        (["influence_weight=0", "scale=32"], "scale=32.0 has no effect, as influence_weight=0"),
        (["influence_weight=0", "freeze_classifier=False"], "freeze_classifier=False has no effect"),
        (["teacher_cache=c", "distillation_weight=0"], "as nothing in this run learns from a teacher"),
        (["val_pairs=['112-14']"], "as val_targets names no verification set"),
        (["warmup_epoch=5", "num_epoch=4"], "warmup_epoch=5 with num_epoch=4: .* set warmup_epoch to 4"),
        (["teacher_cache=c", "shared_jitter=0.02"], "the trunk sees each face anew"),
        (["classifier=new"], "random centres teach nothing"),
    ],
)
def test_keys_that_take_each_other_s_effect_are_refused(keys: list[str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        loaded(*KINDS["branches"], *keys)


def test_keys_whose_effect_another_key_brings_back_are_taken() -> None:
    branches = KINDS["branches"]
    for keys in (
        ["sample_rate=0.5", "freeze_classifier=False"],
        ["inner_size=28"],  # above one of the two
        ["teacher_cache=c", "distillation_weight=0", "embedding_cosine_weight=20"],
        ["margin=0", "loss=NormFace"],
        ["val_pairs=['112-14']", "val_targets=['lfw']"],
        ["warmup_epoch=4", "num_epoch=4"],
    ):
        loaded(*branches, *keys)
    loaded(*KINDS["continued"], "teacher_cache=c", "feature_cosine_weight=1")
    assert Kind.of(loaded("input_size=112")) is Kind.SCRATCH
    assert Kind.of(loaded("input_size=32", "network_args={'canonical_size': 32}")) is Kind.SCRATCH


@pytest.mark.parametrize(
    ("key", "refused", "taken"),
    [
        ("clip", ["-1", "-1e-9"], ["0", "5"]),
        ("lr", ["-0.1"], ["0", "1e30"]),
        ("momentum", ["-0.1", "1", "1.5"], ["0", "0.999"]),
        ("weight_decay", ["-5e-4"], ["0"]),
        ("warmup_epoch", ["-1"], ["0"]),
        ("num_epoch", ["0", "-3"], ["2"]),
        ("num_workers", ["-1"], ["0", "16"]),
        ("batch_size", ["1", "0", "-8"], ["2"]),
        ("seed", ["-1", "4294967296"], ["0", "4294967295"]),
        ("sample_rate", ["0", "-0.5", "1.5"], ["0.1", "1"]),
        ("dropout", ["-0.1", "1", "2"], ["0", "0.5"]),
        ("scale", ["0", "-64"], ["1"]),
        ("margin", ["-0.5"], ["0", "None", "0.5"]),
        ("embedding_size", ["0", "-512"], ["1"]),
        ("input_size", ["-14"], ["14"]),
        ("shared_jitter", ["-0.1", "0.3"], ["0.2"]),
        ("frequent", ["0"], ["1"]),
        ("verbose", ["0"], ["1"]),
        ("save_every", ["0"], ["1"]),
        ("keep_checkpoints", ["0"], ["1"]),
        ("branches", ["[14, 14]", "[0]", "[-14]", "['14']", "[14.0]", "[True]"], ["[14]", "[7, 14]"]),
        ("val_targets", ["[5]", "['']"], ["['lfw']"]),
        ("precision", ["fp64", "''"], ["fp16"]),
        ("device", ["gpu", "cuda:1"], ["cpu", ""]),
        ("loss", ["arc", "''"], ["cosface", "CosFace"]),
        ("interpolation", ["nearest"], ["area"]),
        ("corrupt", ["ignore"], ["skip"]),
        ("multi_resolution", ["v4", "True"], ["v3"]),
        ("network_args", ["{1: 2}", "{'dropout': 0.1}", "{'embedding_size': 8}", "{'a': {2: 3}}"], ["{'scale': 1}"]),
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused_with_what_was_expected(
    key: str, refused: list[str], taken: list[str]
) -> None:
    for value in refused:
        with pytest.raises(ValueError, match=rf"^--set {key}=.*expected"):
            loaded(f"{key}={value}")
    for value in taken:
        loaded(f"{key}={value}")


def test_weights_and_shares_of_branches_have_ranges_too() -> None:
    weights = [key for key in KEYS if key.endswith("_weight")]
    assert len(weights) == 5
    for key in [*weights, "size_band", "degradation", "alignment_jitter", "inner_size"]:
        with pytest.raises(ValueError, match=f"{key} = -1.*, expected"):
            loaded(*KINDS["branches"], f"{key}=-1")
    for value, problem in (("{'length': -1}", "at least 0"), ("{'lenght': 1}", "'lenght' is not registered"),
                           ("{'embedding_mse': 1}", "has a key of its own")):  # fmt: skip
        with pytest.raises(ValueError, match=problem):
            loaded(*KINDS["branches"], f"further_terms={value}")
    for key in ("size_band", "degradation"):
        with pytest.raises(ValueError, match=f"{key} = 1.5, expected a share from 0 to 1"):
            loaded(*KINDS["branches"], f"{key}=1.5")


NUMBERS = [key for key, value in loaded().items() if type(value) in (int, float, type(None))]


@pytest.mark.parametrize("key", NUMBERS)
def test_no_number_is_nan_infinite_a_truth_a_text_or_numpy_s(key: str) -> None:
    config = loaded("rec=a.rec")
    for value in (math.nan, math.inf, -math.inf, True, "1", np.float32(1), np.int64(1), [1]):
        config[key] = value
        with pytest.raises(ValueError, match=rf"config: {key} = .*, expected "):
            complete_config(config)


def test_a_path_is_text_and_what_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    folder = folder_of_configs(
        tmp_path,
        plain="config.rec = Path('data/a.rec')\nconfig.val_targets = [Path('b.bin')]\nconfig.lr = np.float64(0.5)\n"
        "config.network_args = dict(blocks=(1, 2, 1, 1))\n",
        path="config.network_args = dict(blocks=Path('x'))\n",
        number="config.network_args = dict(scale=np.int64(2))\n",
        nan="config.network_args = dict(scale=[float('nan')])\n",
        group="config.network_args = dict(scale={1, 2})\n",
        whole="config.batch_size = np.int64(64)\n",
    )
    config = load_config(folder / "plain")
    assert (config.rec, config.val_targets) == ("data/a.rec", ["b.bin"])
    assert type(config.lr) is float
    assert json.loads(json.dumps(config))["network_args"] == {"blocks": [1, 2, 1, 1]}
    for name in ("path", "number", "nan", "group"):
        with pytest.raises(
            ValueError, match=rf"{name}\.py: network_args = .*, expected plain values by name"
        ):
            load_config(folder / name)
    with pytest.raises(ValueError, match=r"whole\.py: batch_size = .*64.*, expected a whole number"):
        load_config(folder / "whole")


@given(
    st.dictionaries(
        st.text(max_size=3),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text(max_size=3)
            | st.binary(max_size=2),
            lambda each: st.lists(each, max_size=2) | st.dictionaries(st.text(max_size=2), each, max_size=2),
            max_leaves=4,
        ),
        max_size=2,
    )
)
def test_arguments_of_a_network_are_taken_exactly_where_json_gives_them_back(
    arguments: dict[str, Any],
) -> None:
    try:
        expected = json.loads(json.dumps(arguments, allow_nan=False)) == arguments
    except (ValueError, TypeError):
        expected = False
    values = KEYS["network_args"].values
    assert values is not None
    assert values.holds(arguments) == expected


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.py")))
def test_every_config_that_comes_with_the_package_survives_json(name: str) -> None:
    config = load_config(CONFIGS / name)
    assert json.loads(json.dumps(config)) == config


def test_set_like_starts_from_the_config_it_names_instead_of_the_file_s() -> None:
    config = load_config(CONFIGS / "authors_btnet_r14", ["like=ms1mv3_btnet_r7"])
    assert (config.branches, config.loss, config.like) == ([7], "CosFace", "ms1mv3_btnet_r7")
    assert config.lr == load_config(CONFIGS / "ms1mv3_btnet_r7").lr
    assert loaded("like=demo_hr").network == "iresnet"
    assert load_config(CONFIGS / "demo_mr", ["like="]).multi_resolution == "v1"
    with pytest.raises(FileNotFoundError, match="did you mean demo_hr"):
        load_config(CONFIGS / "demo_mr", ["like=demo_hrr"])
    with pytest.raises(ValueError, match="is like itself"):
        load_config(CONFIGS / "demo_hr", ["like=demo_hr"])
    with pytest.raises(ValueError, match="like = 5, expected a text"):
        load_config(CONFIGS / "demo_hr", ["like=5"])


def test_every_file_of_a_config_is_run_once(tmp_path: Path) -> None:
    count = f"\nwith open({str(tmp_path / 'runs')!r}, 'a') as file:\n    file.write(__file__[-6:])\n"
    folder = folder_of_configs(tmp_path, base=count, a=count, b=f"config.like = 'a'{count}")
    load_config(folder / "b")
    assert (tmp_path / "runs").read_text().count(".py") == 3
    assert len((tmp_path / "runs").read_text()) == 3 * 6


def test_a_config_that_is_like_itself_is_refused(tmp_path: Path) -> None:
    folder = folder_of_configs(tmp_path, a="config.like = 'b'\n", b="config.like = 'a'\n")
    with pytest.raises(ValueError, match="is like itself, by way of a, b"):
        load_config(folder / "a")


def test_a_key_that_loses_its_effect_in_a_config_like_the_one_that_sets_it_is_refused_with_its_file(
    tmp_path: Path,
) -> None:
    folder = folder_of_configs(
        tmp_path,
        parent="config.trunk = 'T.pt'\nconfig.branches = [14]\nconfig.inner_size = 56\n",
        child="config.like = 'parent'\nconfig.branches = []\n",
        careful="config.like = 'parent'\nconfig.branches = []\nconfig.inner_size = 0\n",
    )
    with pytest.raises(ValueError, match=r"parent\.py: inner_size=56 has no effect on a trunk that starts"):
        load_config(folder / "child")
    assert load_config(folder / "careful").inner_size == 0


def test_a_base_of_one_s_own_states_defaults_which_are_nobody_s_wish(tmp_path: Path) -> None:
    folder = folder_of_configs(
        tmp_path,
        base="\nconfig.network = 'mbf'\nconfig.lr = 0.3\ndel config['clip']\n",
        trunk="config.rec = 'a.rec'\n",
        branch="config.rec = 'a.rec'\nconfig.trunk = 'T.pt'\nconfig.branches = [14]\n",
        wrong="config.trunk = 'T.pt'\nconfig.branches = [14]\nconfig.network = 'r18'\n",
    )
    trunk, branch = load_config(folder / "trunk"), load_config(folder / "branch")
    assert (trunk.network, trunk.lr, trunk.clip) == ("mbf", 0.3, 5.0)
    assert (branch.network, branch.lr) == ("r50", 0.3)
    assert complete_config(branch) == branch
    with pytest.raises(ValueError, match=r"wrong\.py: network='r18' has no effect on branches"):
        load_config(folder / "wrong")
    (folder / "base.py").write_text("config = {'like': 'trunk'}\n")
    with pytest.raises(ValueError, match=r"base\.py: like='trunk' has no effect in a base"):
        load_config(folder / "branch")


@pytest.mark.parametrize("key", REMOVED)
def test_a_removed_key_is_refused_wherever_it_stands_with_what_was_measured_and_what_to_use(
    key: str, tmp_path: Path
) -> None:
    off = REMOVED[key].off
    folder = folder_of_configs(tmp_path, base=f"\nconfig.{key} = {off!r}\n", mine="config.lr = 0.3\n")
    (tmp_path / "apart").mkdir()
    own = folder_of_configs(tmp_path / "apart", mine=f"config.{key} = 8\n")
    changed = loaded("rec=a.rec")
    changed[key] = off
    loads: tuple[tuple[str, Callable[[], Any]], ...] = (
        (rf"^--set {key}=8: ", lambda: loaded("rec=a.rec", f"{key}=8")),
        (rf"^{folder}/base\.py: ", lambda: load_config(folder / "mine")),
        (rf"^{own}/mine\.py: ", lambda: load_config(own / "mine")),
        (r"^config: ", lambda: complete_config(changed)),
    )
    for where, load in loads:
        with pytest.raises(ValueError, match=rf"{where}{key} was removed \(.*\d.*\); leave it out; "):
            load()


def test_the_keys_of_an_old_base_are_named_together_and_what_replaces_them_exists(tmp_path: Path) -> None:
    lines = "".join(f"config.{key} = {removed.off!r}\n" for key, removed in REMOVED.items())
    folder = folder_of_configs(tmp_path, base=f"\n{lines}", mine="")
    with pytest.raises(ValueError, match="was removed") as refused:
        load_config(folder / "mine")
    assert all(key in str(refused.value) for key in REMOVED)
    words = {word for removed in REMOVED.values() for word in removed.instead.split() if "_" in word}
    assert words
    assert words <= set(KEYS)


def test_what_is_changed_behind_loading_is_checked_before_a_run(tmp_path: Path) -> None:
    from btnet.training.run import train

    for key, value, message in (
        ("inner_size", 56, "inner_size=56 has no effect on a new trunk"),
        ("clip", -1.0, "config: clip = -1.0, expected at least 0"),
        ("learning_rate", 0.1, "config: unknown key 'learning_rate'; did you mean 'lr'"),
        ("rec", "", "rec is empty: name the training set"),
        ("branches", [14], r"branches=\[14\]: they need a pretrained trunk"),
    ):
        config = loaded("rec=synthetic:4:4", f"output={tmp_path / 'run'}")
        config[key] = value
        with pytest.raises(ValueError, match=message):
            train(config)
    assert not (tmp_path / "run").exists()
