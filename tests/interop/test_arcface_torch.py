"""arcface_torch's names, its partial FC with our margins inside, and the classifier shards it leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import normalize

from btnet.backbones.iresnet import IResNet
from btnet.backbones.trunk_file import load_trunk
from btnet.interop.arcface_torch import (
    MarginSoftmax,
    as_margin_softmax,
    get_model,
    merge_classifier_shards,
    shard_sizes,
    write_classifier_shards,
)
from btnet.loss import MARGINS, ShardedClassifier
from btnet.loss.ranks import Ranks
from btnet.loss.softmax import distributed_cross_entropy
from gloo import run_on_ranks

ASSETS = Path(__file__).parents[1] / "assets"
NUM_CLASSES, BATCH, EMBEDDING, STEPS = 11, 8, 6, 3


class PartialFcLike(nn.Module):
    """What arcface_torch's head does around a margin: its shards, its labels [B, 1], its shared softmax."""

    def __init__(self, margin_softmax: nn.Module, weight: Tensor, ranks: Ranks) -> None:
        super().__init__()
        self.margin_softmax = margin_softmax
        self.ranks = ranks
        sizes = shard_sizes(len(weight), ranks.world_size)
        self.start = sum(sizes[: ranks.rank])
        self.stop = self.start + sizes[ranks.rank]
        self.weight = nn.Parameter(weight[self.start : self.stop].clone())

    def forward(self, local_embeddings: Tensor, local_labels: Tensor) -> Tensor:
        embeddings = self.ranks.gather_embeddings(local_embeddings)
        labels = self.ranks.gather(local_labels.view(-1, 1))
        here = (labels >= self.start) & (labels < self.stop)
        labels = torch.where(here, labels - self.start, -1)
        cosine = (normalize(embeddings) @ normalize(self.weight).T).clamp(-1, 1)
        return distributed_cross_entropy(self.margin_softmax(cosine, labels), labels.view(-1), self.ranks)


def batch(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    embeddings = 20 * torch.randn(BATCH, EMBEDDING, dtype=torch.float64, generator=generator)
    return embeddings, torch.randint(NUM_CLASSES, (BATCH,), generator=generator)


def centres() -> Tensor:
    return torch.randn(
        NUM_CLASSES, EMBEDDING, dtype=torch.float64, generator=torch.Generator().manual_seed(99)
    )


def train(head: nn.Module, rank: int, world_size: int) -> list[tuple[Tensor, Tensor]]:
    """Loss and gradient of the centres at each step; the margin's running state moves along."""
    record = []
    for step in range(STEPS):
        embeddings, labels = (rows.chunk(world_size)[rank] for rows in batch(step))
        loss = head(embeddings, labels)
        weight = head.get_parameter("weight")
        [gradient] = torch.autograd.grad(loss, weight)
        record.append((loss.detach(), gradient))
    return record


def inside_partial_fc(name: str, group: dist.ProcessGroup | None) -> dict[str, Any]:
    softmax = as_margin_softmax(MARGINS[name](), group).double()
    ranks = Ranks.of(group)
    head = PartialFcLike(softmax, centres(), ranks)
    if name == "adaface":
        softmax.observe(head)
    steps = train(head, ranks.rank, ranks.world_size)
    return {"steps": steps, "state": {key: value.clone() for key, value in softmax.margin.named_buffers()}}


def in_our_classifier(name: str) -> dict[str, Any]:
    margin = MARGINS[name]()
    classifier = ShardedClassifier(margin, NUM_CLASSES, EMBEDDING).double()
    classifier.load_full_weight(centres())
    steps = train(classifier, 0, 1)
    return {"steps": steps, "state": dict(margin.named_buffers())}


def on_rank(rank: int) -> dict[str, Any]:
    # The head's group is not the whole job, so that a collective on the wrong one shows.
    group = dist.new_group([1, 2])
    return {} if rank == 0 else {name: inside_partial_fc(name, group) for name in MARGINS}


@pytest.fixture(scope="module")
def two_ranks() -> list[dict[str, Any]]:
    return run_on_ranks(on_rank, 3)[1:]


@pytest.mark.parametrize("name", MARGINS)
def test_every_margin_gives_the_same_loss_inside_partial_fc(name: str) -> None:
    found, expected = inside_partial_fc(name, None), in_our_classifier(name)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", MARGINS)
def test_every_margin_gives_the_same_loss_on_two_ranks_of_partial_fc(
    name: str, two_ranks: list[dict[str, Any]]
) -> None:
    expected = in_our_classifier(name)
    for step, (loss, gradient) in enumerate(expected["steps"]):
        found = [rank[name]["steps"][step] for rank in two_ranks]
        assert [len(rows) for _, rows in found] == [6, 5]
        joined = torch.cat([rows for _, rows in found])
        torch.testing.assert_close(joined, gradient, rtol=1e-12, atol=1e-12)
        for own, _ in found:
            torch.testing.assert_close(own, loss, rtol=1e-12, atol=1e-12)
    for rank in two_ranks:
        torch.testing.assert_close(rank[name]["state"], expected["state"], rtol=1e-12, atol=1e-12)


def test_the_cosine_of_half_precision_is_kept_and_not_written_to() -> None:
    softmax = as_margin_softmax(MARGINS["curricularface"]())
    assert isinstance(softmax, MarginSoftmax)
    cosine = torch.linspace(-1, 1, 12).view(3, 4).half()
    before = cosine.clone()
    logits = softmax(cosine, torch.tensor([[0], [-1], [3]]))
    assert logits.dtype == torch.float32
    assert torch.equal(cosine, before)


@pytest.mark.parametrize(
    ("name", "golden", "entry"), [("r18", "iresnet18.json", "trunk"), ("mbf", "mobilefacenet.json", "mbf")]
)
def test_get_model_has_the_keys_and_shapes_of_arcface_torch(name: str, golden: str, entry: str) -> None:
    expected = json.loads((ASSETS / golden).read_text())[entry]["state_dict"]
    network = get_model(name, dropout=0.0, fp16=False, num_features=512)
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == expected
    assert network.training


@pytest.mark.parametrize("name", ["r34", "r50", "mbf_large"])
def test_get_model_knows_the_other_sizes(name: str) -> None:
    with torch.device("meta"):
        network = get_model(name, num_features=128)
    blocks = {"r34": (3, 4, 6, 3), "r50": (3, 4, 14, 3), "mbf_large": (2, 8, 12, 4)}
    assert network.arch["blocks"] == blocks[name]
    assert network.embedding_size == 128


def test_get_model_passes_dropout_on_and_refuses_what_it_cannot_do() -> None:
    with torch.device("meta"):
        assert get_model("r18", dropout=0.4).arch["dropout"] == 0.4
    with pytest.raises(ValueError, match=r"network 'r2060' is unknown.*r18, r34, .*mbf_large"):
        get_model("r2060")
    with pytest.raises(ValueError, match=r"dropout 0\.4: a MobileFaceNet has none"):
        get_model("mbf", dropout=0.4)


def test_a_half_precision_file_with_prefixes_is_a_trunk_in_float32(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = IResNet((1, 2, 1, 1), widths=(4, 4, 8, 8), embedding_size=8)
    state = {
        f"module.{key}": value.half() if value.ndim else value for key, value in network.state_dict().items()
    }
    torch.save(state, tmp_path / "backbone.pth")
    trunk = load_trunk(tmp_path / "backbone.pth")
    assert trunk.arch["blocks"] == (1, 2, 1, 1)
    assert trunk.embedding_size == 8
    for key, value in trunk.state_dict().items():
        assert value.dtype == (torch.float32 if value.ndim else torch.int64)
        assert torch.equal(value, state[f"module.{key}"].to(value.dtype))


def test_fp16_ends_with_the_forward_even_if_that_fails() -> None:
    plain, half = get_model("mbf").eval(), get_model("mbf", fp16=True).eval()
    half.load_state_dict(plain.state_dict())
    images = torch.randn(1, 3, 112, 112)
    with torch.no_grad():
        assert half(images).dtype == torch.float32
        if not torch.cuda.is_available():
            assert torch.equal(half(images), plain(images))
        with pytest.raises(ValueError, match=r"images of shape \[1, 3, 8, 8\]"):
            half(images[..., :8, :8])
    assert not torch.is_autocast_enabled("cuda")
    assert "_float16" not in vars(half)


def save_authors(folder: Path, shards: list[Tensor], *, sampled: bool) -> None:
    for rank, shard in enumerate(shards):
        state = {"weight_activated": shard[:1] if sampled else shard, "margin_softmax.t": torch.zeros(1)}
        if sampled:
            state |= {"weight": shard, "weight_mom": torch.zeros_like(shard)}
        torch.save(state, folder / f"softmax_fc_gpu_{rank}.pt")


def save_checkpoints(folder: Path, shards: list[Tensor], step: int = 7) -> None:
    """As arcface_torch saves them, with all that else is in such a file."""
    network, scheduled = nn.Linear(2, 2), nn.Linear(2, 2)
    optimizer = torch.optim.SGD(scheduled.parameters(), lr=0.1, momentum=0.9)
    for rank, shard in enumerate(shards):
        content = {
            "epoch": 1,
            "global_step": step,
            "state_dict_backbone": network.state_dict(),
            "state_dict_softmax_fc": {"weight": shard},
            "state_optimizer": optimizer.state_dict(),
            "state_lr_scheduler": {"base_lr": 0.1, "last_epoch": step},
        }
        torch.save(content, folder / f"checkpoint_gpu_{rank}.pt")


@pytest.mark.parametrize("world_size", [1, 3, 4, 12])
def test_shards_are_merged_in_the_order_of_the_labels(world_size: int, tmp_path: Path) -> None:
    # 12 ranks: the file of rank 10 comes after that of rank 9, and not behind 1.
    weight = torch.arange(14.0 * 3).view(14, 3)
    sizes = [14 // world_size + (rank < 14 % world_size) for rank in range(world_size)]
    shards = list(torch.split(weight, sizes))
    forms = {name: tmp_path / name for name in ("checkpoints", "authors", "sampled", "first", "colon")}
    for folder in forms.values():
        folder.mkdir()
    save_checkpoints(forms["checkpoints"], shards)
    save_authors(forms["authors"], shards, sampled=False)
    save_authors(forms["sampled"], shards, sampled=True)
    for rank, shard in enumerate(shards):
        for name, start in (("first", "rank_"), ("colon", "rank:")):
            torch.save(shard.clone(), forms[name] / f"{start}{rank}_softmax_weight.pt")
            torch.save(torch.zeros_like(shard), forms[name] / f"{start}{rank}_softmax_weight_mom.pt")
    for folder in forms.values():
        assert torch.equal(merge_classifier_shards(folder, num_classes=14), weight)


@pytest.mark.parametrize("world_size", [1, 4])
def test_written_shards_are_those_of_arcface_torch_and_merge_again(world_size: int, tmp_path: Path) -> None:
    weight = torch.randn(11, 3, requires_grad=True)
    paths = write_classifier_shards(weight, tmp_path / "out", world_size=world_size)
    assert [path.name for path in paths] == [f"checkpoint_gpu_{rank}.pt" for rank in range(world_size)]
    first = torch.load(paths[0], weights_only=True)["state_dict_softmax_fc"]["weight"]
    assert torch.equal(first, weight[: 11 if world_size == 1 else 3])
    assert first.untyped_storage().nbytes() == first.nbytes
    assert torch.equal(merge_classifier_shards(tmp_path / "out"), weight)
    with pytest.raises(FileExistsError, match=r"checkpoint_gpu_0\.pt: exists"):
        write_classifier_shards(weight, tmp_path / "out", world_size=2)


@pytest.mark.parametrize(("shape", "world_size"), [((11,), 1), ((2, 3), 3), ((2, 3), 0)])
def test_weights_that_cannot_be_dealt_out_are_refused(
    shape: tuple[int, ...], world_size: int, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=rf"for {world_size} ranks: expected \[num_classes, D\]"):
        write_classifier_shards(torch.zeros(shape), tmp_path / "out", world_size=world_size)


def test_missing_shards_are_noticed(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError,
        match=r"no checkpoint_gpu_0\.pt, softmax_fc_gpu_0\.pt or rank_0_softmax_weight",
    ):
        merge_classifier_shards(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        merge_classifier_shards(tmp_path / "nothing")
    save_checkpoints(tmp_path, [torch.zeros(3, 2)] * 3)
    (tmp_path / "checkpoint_gpu_2.pt").unlink()
    with pytest.raises(
        ValueError, match=r"2 shards hold 6 classes, expected 9; missing: checkpoint_gpu_2\.pt, of 3"
    ):
        merge_classifier_shards(tmp_path, num_classes=9)
    with pytest.raises(ValueError, match=r"2 shards hold 6 classes, expected 5; .* another training set"):
        merge_classifier_shards(tmp_path, num_classes=5)
    save_checkpoints(tmp_path, [torch.zeros(3, 2)] * 3)
    (tmp_path / "checkpoint_gpu_1.pt").unlink()
    with pytest.raises(FileNotFoundError, match=r"checkpoint_gpu_1\.pt: missing, and there are 2 others"):
        merge_classifier_shards(tmp_path)


def test_shards_of_different_runs_are_not_merged(tmp_path: Path) -> None:
    # A run on 4 ranks, then one on 2 ranks in the same folder.
    save_checkpoints(tmp_path, [torch.zeros(5, 2)] * 4)
    save_checkpoints(tmp_path, [torch.zeros(10, 2)] * 2)
    with pytest.raises(ValueError, match=r"shards of \[10, 10, 5, 5\] classes.*files of another world size"):
        merge_classifier_shards(tmp_path)
    save_checkpoints(tmp_path, [torch.zeros(5, 2)], step=8)
    with pytest.raises(
        ValueError, match=r"checkpoint_gpu_1\.pt: has global step 7, checkpoint_gpu_0\.pt has global step 8"
    ):
        merge_classifier_shards(tmp_path)
    save_checkpoints(tmp_path, [torch.zeros(5, 2), torch.zeros(5, 3)])
    with pytest.raises(ValueError, match=r"checkpoint_gpu_1\.pt: has embeddings of 3 values, .* of 2 values"):
        merge_classifier_shards(tmp_path)
    save_authors(tmp_path, [torch.zeros(5, 2)], sampled=False)
    with pytest.raises(ValueError, match=r"holds both checkpoint_gpu_\*\.pt and softmax_fc_gpu_\*\.pt"):
        merge_classifier_shards(tmp_path)


def test_files_that_are_no_shards_are_named(tmp_path: Path) -> None:
    path = tmp_path / "softmax_fc_gpu_0.pt"
    for content in ({"bias": torch.zeros(2)}, {"weight": torch.zeros(2)}, torch.zeros(2, 2)):
        torch.save(content, path)
        with pytest.raises(ValueError, match=r"softmax_fc_gpu_0\.pt: holds no class centres"):
            merge_classifier_shards(tmp_path)
    path.write_bytes(b"no file of torch")
    with pytest.raises(ValueError, match=r"softmax_fc_gpu_0\.pt: torch cannot read this"):
        merge_classifier_shards(tmp_path)
