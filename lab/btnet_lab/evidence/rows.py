"""The rows of the paper's tables and beyond: what each trains, on which trunk, tuned by which sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from btnet_lab.evidence.faces import PARTS
from btnet_lab.evidence.plan import BRANCH, RESOLUTIONS, TRUNK, Comparison, Plan, Row, Sweep, branch_pairs

_PASSES: Final = 8
# Half the passes choose settings at half the cost; a quarter those of a whole trunk, whose passes cost most.
_CHOICE: Final = {"num_epoch": _PASSES // 2}
_TRUNK_CHOICE: Final = {"num_epoch": _PASSES // 4}
_SEEDS: Final = (1, 2, 3)

# phi_mm: a whole network for one size, whose classifier learns with it
_ALONE: Final = {"tail_from": "none", "freeze_classifier": False, "distillation_weight": 0.0}
_FRESH: Final = {**_ALONE, "inherit": False, "classifier": "new", "warmup_epoch": 1}
_AUTHORS: Final = {"loss": "CosFace", "margin": 0.40, "embedding_loss_weight": 0.5, "learnt": "authors"}
_COSINE: Final = {"embedding_cosine_weight": 20.0}
_ENLARGED: Final = {**_COSINE, "lr": 0.1}
# On top of what was chosen for those. Where a branch computes on more pixels, it learns the few people by heart: less
# of their labels and more of their looks is tried with all passes, as it shows only then, and at 7 px, where most.
_PLUS: Final = {**_ENLARGED, "inner_size": 56}
_PLUS_GRID: Final = {"influence_weight": (1.0, 0.3), "shared_jitter": (0.0, 0.03)}
_SELF_TAUGHT: Final = {
    "multi_resolution": "v1",
    "feature_cosine_weight": 20.0,
    "embedding_cosine_weight": 20.0,
}


def quick_plan() -> Plan:
    """phi_hr and phi_bt at 28, 14 and 7 px, one seed; few passes at 28 px, which cost most and add least."""
    branches = [_phi_bt(r, seeds=_SEEDS[:1]) for r in RESOLUTIONS]
    branches[0] = replace(branches[0], settings={"num_epoch": 2})
    rows = [_phi_hr(), *branches]
    return Plan(rows)


def full_plan() -> Plan:
    """Tables 2, 4 and 5, fig. 7, the authors' recipe, distillation without a branch, learning curves."""
    matched = [
        Row(f"{name}_r{r}", {"table2": label} | ({} if r != 14 else {"table4": step}), BRANCH, settings, r,
            method=name, seeds=_SEEDS if r == 14 else _SEEDS[:1])
        for name, label, step, settings in (
            ("mm", "phi_mm, from scratch", "scratch", _FRESH),
            ("mm_trunk", "phi_mm, from the trunk", "pretraining", _ALONE),
        )
        for r in RESOLUTIONS
    ]  # fmt: skip
    mixed = [
        Row(f"mr_{v}", {"table2": f"phi_mr {v}"}, TRUNK, {"multi_resolution": v}, method="mr",
            seeds=_SEEDS if v == "v1" else _SEEDS[:1])
        for v in ("v1", "v2", "v3")
    ]  # fmt: skip
    mixed.append(Row("fskd", {"table2": "whole trunk, taught by its frozen self (as F-SKD)"}, TRUNK, _SELF_TAUGHT,
                     method="fskd"))  # fmt: skip
    branches = [_phi_bt(r, seeds=_SEEDS) for r in RESOLUTIONS]
    on_mixed = [
        Row(f"bt_mr_r{r}", {"table2": "phi_bt on phi_mr v1"}, settings={"classifier": ""}, resolution=r,
            trunk="mr_v1", method="bt", seeds=_SEEDS)
        for r in RESOLUTIONS
    ]  # fmt: skip
    plus = [  # 28 px costs most, and differs least. A tenth was chosen on photographed faces; see docs/native-test.md
        Row(f"bt_{name}_r{r}", {"beyond": label}, BRANCH, {**_PLUS, "degradation": share}, r, method="plus",
            seeds=_SEEDS[:count])
        for name, label, share, counts in (
            ("plus", "phi_bt plus", 0.1, {28: 1, 14: 3, 7: 3}),
            ("sharp", "phi_bt plus, no face degraded", 0.0, {28: 1, 14: 3, 7: 3}),
            ("field", "phi_bt plus, three of ten faces degraded", 0.3, {14: 1, 7: 1}),
        )
        for r, count in counts.items()
    ]  # fmt: skip
    steps = [
        Row("bct", {"table4": "+ BCT"}, BRANCH, {"tail_from": "none", "distillation_weight": 0.0}, 14, method="bct"),
        Row("fixed", {"table4": "+ fix trunk"}, BRANCH, {"distillation_weight": 0.0}, 14, method="bt"),
    ]  # fmt: skip
    losses = [
        Row(f"bt_{loss.lower()}", {"table5": loss}, BRANCH, {"loss": loss}, 14, method="bt")
        for loss in ("CosFace", "ArcFace")
    ]
    tails = [
        Row(f"bt_stage{stage}", {"fig7": f"Stage {stage}+"}, BRANCH, {}, 14, tail_at=size, method="bt")
        for stage, size in ((1, 56), (2, 28), (4, 7))
    ]
    others = [
        Row("bt_authors", {"beyond": "phi_bt, the authors' recipe"}, BRANCH, _AUTHORS, 14, method="bt"),
        *(
            Row(f"bt_cosine_r{r}", {"beyond": "phi_bt, and the embedding's cosine"}, BRANCH, _COSINE, r,
                method="bt_cosine", seeds=_SEEDS if r == 14 else _SEEDS[:1])
            for r in RESOLUTIONS
        ),
        *(
            Row(f"bt_enlarged_r{r}", {"beyond": "phi_bt, embedding's cosine and faces enlarged inside"}, BRANCH,
                _ENLARGED, r, method="enlarged")
            for r in RESOLUTIONS
        ),
        *(
            Row(f"bt_{name}", {"beyond": f"phi_bt, embedding's cosine and {label}"}, BRANCH,
                {**_COSINE, **settings}, 14, method="bt_cosine", removed=removed)
            for name, label, settings, removed in (
                ("relation", "relations", {}, {"embedding_relation_weight": 200.0}),
                ("contrast", "contrast of relations", {}, {"embedding_contrast_weight": 5.0}),
                ("octuplet", "octuplets", {}, {"embedding_octuplet_weight": 10.0}),
                ("soft", "soft labels", {}, {"soft_influence_weight": 10.0}),
                ("whole", "no shared tail", {"tail_from": "none"}, {}),
            )
        ),
        *(
            Row(f"bt_{name}", {"beyond": f"phi_bt, {label}"}, BRANCH, settings, 14, method="bt", removed=removed)
            for name, label, settings, removed in (
                ("features", "cosine of taps instead of eq. 2",
                 {"distillation_weight": 0.0, "feature_cosine_weight": 20.0}, {}),
                ("attention", "attention of taps instead of eq. 2",
                 {"distillation_weight": 0.0}, {"feature_attention_weight": 20.0}),
                ("schedule", "eq. 2's weight from 10 to 0",
                 {"distillation_weight": 10.0}, {"distillation_weight_end": 0.0}),
                ("band", "all sizes from 8 to 14 px", {"size_band": 1.0}, {}),
                ("degradation", "half of the faces degraded", {"degradation": 0.5}, {}),
                ("jitter", "errors of the landmarks", {"alignment_jitter": 0.02}, {}),
                ("adapters", "adapters of rank 8 in the tail", {}, {"adapter_rank": 8}),
                ("inner", "faces enlarged to 56 px inside", {"inner_size": 56}, {}),
                ("swa", "mean of the last quarter's weights", {}, {"averaging": "swa:0.25"}),
                ("ema", "moving mean of the weights", {}, {"averaging": "ema:0.97"}),
                ("statistics", "BatchNorm statistics anew", {}, {"averaging": "swa:0"}),
            )
        ),
        Row("bt_shared", {"beyond": "phi_bt, one BN set for all tails"}, BRANCH,
            {"branches": list(RESOLUTIONS)}, method="bt", removed={"shared_tail_norms": True}),
        _phi_bt(56, seeds=_SEEDS[:1]),
    ]  # fmt: skip
    native = {
        "phi_hr": ["hr"],
        "phi_bt": ["bt_r28", "bt_r14", "bt_r7"],
        "phi_bt, and the embedding's cosine": ["bt_cosine_r28", "bt_cosine_r14", "bt_cosine_r7"],
        "phi_bt plus": ["bt_plus_r28", "bt_plus_r14", "bt_plus_r7"],
        "phi_bt plus, no face degraded": ["bt_sharp_r28", "bt_sharp_r14", "bt_sharp_r7"],
        "phi_bt plus, 14 and 7 px: three of ten faces degraded": [
            "bt_plus_r28",
            "bt_field_r14",
            "bt_field_r7",
        ],
        **{
            f"phi_bt, 14 px: {label}": ["bt_r28", f"bt_{name}", "bt_r7"]
            for name, label in (
                ("band", "all sizes from 8 to 14 px"),
                ("degradation", "half of the faces degraded"),
                ("jitter", "errors of the landmarks"),
            )
        },
    }
    curves = [
        Row(f"bt_passes{n}", {"passes": str(n)}, BRANCH, {"num_epoch": n}, 14, method="bt") for n in (1, 2, 4, 16)
    ] + [
        # As many images seen as with all people.
        Row(f"bt_1of{n}", {"identities": f"1/{n}"}, BRANCH, {"num_epoch": _PASSES * n}, 14, data=f"train_1of{n}",
            method="bt")
        for n in PARTS
    ]  # fmt: skip
    rivals = ["hr", "mr_v1", "mr_v2", "mr_v3", "fskd"]
    comparisons = [
        Comparison(f"bt_plus_r{r}", rival, branch_pairs(r))
        for r in RESOLUTIONS
        for rival in [*rivals, f"mm_r{r}", f"mm_trunk_r{r}", f"bt_mr_r{r}"]
    ]
    sweeps = (
        [
            Sweep(Row("", {}, BRANCH, {**settings, **_CHOICE}, 14, method=method), {"lr": rates})
            for method, settings, rates in (
                ("bt", {}, (0.02, 0.05, 0.1, 0.2)),
                ("bt_cosine", _COSINE, (0.02, 0.05, 0.1, 0.2, 0.4)),
                ("mm", _FRESH, (0.02, 0.05, 0.1, 0.2)),
                ("mm_trunk", _ALONE, (0.01, 0.02, 0.05, 0.1, 0.2)),
                ("bct", steps[0].settings, (0.02, 0.05, 0.1, 0.2)),
            )
        ]
        + [
            Sweep(
                Row("", {}, BRANCH, {**_ENLARGED, **_CHOICE}, 14, method="enlarged"),
                {"inner_size": (0, 28, 56, 112)},
            ),
            Sweep(Row("", {}, BRANCH, _PLUS, 7, method="plus"), _PLUS_GRID),
        ]
        + [
            Sweep(
                Row("", {}, TRUNK, {**settings, **_TRUNK_CHOICE}, method=method),
                {"lr": rates},
            )
            for method, settings, rates in (
                ("mr", {}, (0.003, 0.01, 0.03, 0.1)),
                ("fskd", _SELF_TAUGHT, (0.003, 0.01, 0.03, 0.1, 0.3)),
            )
        ]
    )
    # In the order of the tables. Run first: phi_bt and what is to beat it; then its rivals at 14 px and Table 4; then
    # what else the paper has; then each switch alone.
    soon = ("mm_r14", "mm_trunk_r14", "mr_v1", *(row.name for row in steps))
    rows = [
        _phi_hr(),
        *(
            replace(row, turn=1 if row.name in soon else 2)
            for row in [*matched, *mixed, *steps, *losses, *tails[:2]]
        ),
        *branches,
        *(replace(row, turn=2) for row in [*tails[2:], *on_mixed]),
        *plus,
        *(replace(row, turn=4) for row in [*others, *curves]),
    ]
    return Plan(rows, sweeps, comparisons, native)


def _phi_hr() -> Row:
    return Row("hr", {"table2": "phi_hr"}, config="")


def _phi_bt(resolution: int, *, seeds: Sequence[int]) -> Row:
    places = {"table2": "phi_bt"}
    if resolution == 14:
        places |= {
            "table4": "+ branch distillation",
            "table5": "CurricularFace",
            "fig7": "Stage 3+",
            "beyond": "phi_bt",
            "passes": str(_PASSES),
            "identities": "all",
        }
    else:
        places |= {"beyond": "phi_bt"}
    return Row(f"bt_r{resolution}", places, BRANCH, {}, resolution, method="bt", seeds=seeds)
