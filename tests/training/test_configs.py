"""Every config of the paper's tables: it loads, says what its row says, and runs two steps on rendered faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from btnet import BTNet
from btnet.data.faces import open_faces
from btnet.data.record_faces import write_record_faces
from btnet.images.codec import encode_jpeg
from btnet.loss import MARGINS, ShardedClassifier
from btnet.synthetic.faces import SyntheticFaces
from btnet.training.config_file import load_config
from btnet.training.distributed import Context
from btnet.training.run import train
from btnet.training.setup import Model, build_model

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = sorted(path.stem for path in CONFIGS.glob("*.py"))
LEARNING = [
    name for name in NAMES if not name.startswith("evidence_")
]  # those compile, which takes half a minute
ALONE = Context(0, 1, torch.device("cpu"), torch.float32)
IDENTITIES, STEPS = 4, 2
TINY = [
    f"batch_size={4 * IDENTITIES // STEPS}",
    "num_epoch=1",
    "warmup_epoch=0",
    "num_workers=0",
    "val_targets=[]",
    "frequent=1",
    "device=cpu",
]
NETWORK = [
    "network=iresnet",
    "network_args={'blocks': [2, 2, 2, 2], 'widths': [16, 16, 16, 16]}",
    "embedding_size=8",
    "dropout=0.1",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces, and a trunk trained on them."""
    folder = tmp_path_factory.mktemp("configs")
    faces = SyntheticFaces(IDENTITIES, 4)
    images = (encode_jpeg(faces[i][0]) for i in range(len(faces)))
    write_record_faces(folder / "faces.rec", faces.labels.tolist(), images, class_names=faces.class_names)
    train(tiny("ms1mv3_r50_mr", folder, f"output={folder / 'trunk'}"))
    return folder


def tiny(name: str, folder: Path, *overrides: str) -> Any:
    keys = [*TINY, f"rec={folder / 'faces.rec'}", *overrides]
    config = load_config(CONFIGS / name)
    if config.branches or config.trunk:
        keys.append(f"trunk={folder / 'trunk'}")
    else:
        keys += NETWORK
    return load_config(CONFIGS / name, keys)


def built(name: str, folder: Path, *overrides: str) -> Model:
    config = tiny(name, folder, *overrides)
    return build_model(config, open_faces(config.rec), ALONE)


@pytest.mark.parametrize("name", NAMES)
def test_every_config_loads_and_builds(name: str, folder: Path) -> None:
    config = load_config(CONFIGS / name)
    assert (config.name, config.output) == (name, f"runs/{name}")
    assert all(learner.learnt for learner in built(name, folder, "compile=False").learners)


@pytest.mark.parametrize("name", LEARNING)
def test_every_config_runs_two_steps(name: str, folder: Path, tmp_path: Path) -> None:
    output = train(tiny(name, folder, f"output={tmp_path}"))
    log = (output / "train.log").read_text()
    assert f"step {STEPS}/{STEPS} " in log
    assert (output / "btnet.json").is_file()


@pytest.mark.parametrize(
    ("name", "differs_from", "keys"),
    [
        ("table4_r14_fix_trunk", "ms1mv3_btnet_r14", {"distillation_weight"}),
        ("table4_r14_bct", "table4_r14_fix_trunk", {"tail_from"}),
        ("table4_r14_pretraining", "table4_r14_bct", {"freeze_classifier"}),
        ("ms1mv3_r50_mm_r14", "ms1mv3_r50_hr", {"input_size", "num_epoch"}),
        ("ms1mv3_r50_mr", "ms1mv3_r50_hr", {"multi_resolution"}),
        ("table5_r14_cosface", "ms1mv3_btnet_r14", {"loss"}),
        ("table5_r14_arcface", "ms1mv3_btnet_r14", {"loss"}),
        ("fig7_r14_stage1", "ms1mv3_btnet_r14", {"tail_from"}),
        ("fig7_r14_stage2", "ms1mv3_btnet_r14", {"tail_from"}),
        ("fig7_r14_stage4", "ms1mv3_btnet_r14", {"tail_from"}),
        ("ms1mv3_btnet_all", "ms1mv3_btnet_r14", {"branches"}),
        ("ms1mv3_btnet_r28", "ms1mv3_btnet_r14", {"branches"}),
        ("survface_btnet_r14", "survface_r50_hr", {"trunk", "branches"}),
        ("authors_btnet_r14", "ms1mv3_btnet_r14", {"loss", "margin", "embedding_loss_weight", "learnt"}),
    ],
)
def test_rows_of_a_table_differ_in_what_the_paper_varies(
    name: str, differs_from: str, keys: set[str]
) -> None:
    one, other = load_config(CONFIGS / name), load_config(CONFIGS / differs_from)
    assert {key for key in one if one[key] != other[key]} - {"name", "like", "role", "output"} == keys


def test_every_row_of_table_4_stops_at_the_tenth_epoch_and_a_trunk_has_25() -> None:
    rows = ["ms1mv3_r50_mm_r14", *sorted(n for n in NAMES if n.startswith("table4_")), "ms1mv3_btnet_r14"]
    assert len(rows) == 5
    assert {load_config(CONFIGS / name).num_epoch for name in rows} == {10}
    assert {load_config(CONFIGS / f"ms1mv3_r50_mm_r{r}").num_epoch for r in (28, 7)} == {10}
    assert {load_config(CONFIGS / f"ms1mv3_r50_{name}").num_epoch for name in ("hr", "mr", "mr_v3")} == {25}


def classifier_of(model: Model) -> ShardedClassifier:
    classifier = model.learners[0].classifier
    assert classifier is not None
    return classifier


def test_table_4_line_by_line(folder: Path) -> None:
    trunk = torch.load(folder / "trunk" / "model.pt", weights_only=True)

    scratch = built("ms1mv3_r50_mm_r14", folder)
    assert not torch.equal(
        scratch.trunk.state_dict()["layer4.1.conv1.weight"], trunk["layer4.1.conv1.weight"]
    )
    assert classifier_of(scratch).weight.requires_grad

    rows = {}
    for name in ("table4_r14_pretraining", "table4_r14_bct", "table4_r14_fix_trunk", "ms1mv3_btnet_r14"):
        row = built(name, folder)
        [learner] = row.learners
        assert isinstance(row.model, BTNet)
        state = row.model.full_state_dict(14)
        assert all(torch.equal(value, trunk[key]) for key, value in state.items())
        shared = {id(p) for p in row.model.trunk.parameters()} & {id(p) for p in learner.network.parameters()}
        everything = len(learner.learnt) == len([p for p in learner.network.parameters() if p.requires_grad])
        assert everything
        rows[name] = (classifier_of(row).weight.requires_grad, bool(shared), learner.coupling)
    # whether the classifier learns, whether a tail is shared, where branch distillation looks
    assert rows == {
        "table4_r14_pretraining": (True, False, None),
        "table4_r14_bct": (False, False, None),
        "table4_r14_fix_trunk": (False, True, None),
        "ms1mv3_btnet_r14": (False, True, "layer3.0"),
    }


def test_the_classifier_of_pretraining_starts_from_the_trunk_s_and_is_not_published_as_the_trunk_s(
    folder: Path, tmp_path: Path
) -> None:
    row = built("table4_r14_pretraining", folder)
    old = classifier_of(built("table4_r14_bct", folder)).weight
    new = classifier_of(row).weight
    torch.testing.assert_close(torch.nn.functional.normalize(new), old)
    output = train(tiny("table4_r14_pretraining", folder, f"output={tmp_path}"))
    assert (output / "classifier_r14.safetensors").is_file()
    assert not (output / "classifier.safetensors").exists()


@pytest.mark.parametrize("stage", [1, 2, 3, 4])
def test_fig_7_inherits_and_fixes_what_lies_behind_unit_1_of_the_stage(stage: int, folder: Path) -> None:
    name = "ms1mv3_btnet_r14" if stage == 3 else f"fig7_r14_stage{stage}"
    model = built(name, folder).model
    assert isinstance(model, BTNet)
    network = model.network(14)
    behind = (f"layer{stage}.1.", *(f"layer{s}." for s in range(stage + 1, 5)), "fc.")
    norms = {n for n, m in network.named_modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)}
    for key, parameter in network.named_parameters():
        inherited = key.startswith(behind) and key.rpartition(".")[0] not in norms
        assert (parameter is model.trunk.get_parameter(key)) == inherited, key
        # arcface_torch fixes this scale in every network
        assert parameter.requires_grad != (inherited or key == "features.weight"), key


def test_table_5_s_influence_losses(folder: Path) -> None:
    for name, margin in {
        "table5_r14_cosface": "cosface",
        "table5_r14_arcface": "arcface",
        "ms1mv3_btnet_r14": "curricularface",
    }.items():
        assert type(classifier_of(built(name, folder)).margin) is MARGINS[margin]


def test_a_branch_can_start_from_nothing_over_a_shared_tail(folder: Path) -> None:
    model = built("ms1mv3_btnet_r14", folder, "inherit=False").model
    assert isinstance(model, BTNet)
    mine, trunk = model.full_state_dict(14), model.trunk.state_dict()
    assert not torch.equal(mine["conv1.weight"], trunk["conv1.weight"])
    assert torch.equal(mine["fc.weight"], trunk["fc.weight"])


def test_keys_that_contradict_each_other_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="random centres teach nothing"):
        built("ms1mv3_btnet_r14", folder, "classifier=new")
    with pytest.raises(ValueError, match="starts from nothing has none"):
        built("ms1mv3_r50_hr", folder, "classifier=prototype")
