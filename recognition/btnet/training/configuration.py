"""What each key of a configuration serves, which values it takes, whether a resumed run may change it.

`configs/base.py` has the keys' defaults and meanings; here stands the rest, once: loading, training and resuming ask
this table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from math import isfinite
from typing import Any, Final

from btnet.images.interpolation import INTERPOLATIONS
from btnet.loss import MARGINS
from btnet.method.btnet import PRESETS
from btnet.method.coupling import NO_TAIL
from btnet.method.objective import TERMS
from btnet.training.optimizer import SCHEDULES

__all__ = ["KEYS", "WEIGHTS", "Key", "Kind", "contradictions", "weights_of_terms"]

WEIGHTS: Final = {
    "influence_weight": "influence",
    "distillation_weight": "branch_distillation",
    "embedding_loss_weight": "embedding_mse",
    "embedding_cosine_weight": "embedding_cosine",
    "feature_cosine_weight": "feature_cosine",
}
"""Terms of the objective (`btnet.method.objective.TERMS`) by the keys that have their weights."""
_OWN_KEYS: Final = ("embedding_size", "dropout", "input_size")  # of a network, so not among `network_args`
_CANONICAL_SIZE: Final = 112


class Kind(Enum):
    """What a run trains."""

    SCRATCH = "a new trunk"
    SINGLE = "a new network for one size (phi_mm)"
    CONTINUED = "a trunk that starts from trunk=MODEL.pt"
    BRANCHES = "branches"

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Kind:
        """The kind that a configuration asks for."""
        if config["branches"]:
            return cls.BRANCHES
        if config["trunk"]:
            return cls.CONTINUED
        canonical = config["network_args"].get("canonical_size", _CANONICAL_SIZE)
        return cls.SCRATCH if config["input_size"] in (0, canonical) else cls.SINGLE


@dataclass(frozen=True)
class Rule:
    """What must hold of a value, in words that continue "expected"; or of a configuration, and why else not."""

    words: str
    holds: Callable[[Any], bool]


@dataclass(frozen=True)
class Key:
    """One key of a configuration, beside its default and its meaning.

    Attributes:
        values: it takes; None: any of the default's type.
        kinds: of runs that read it.
        needs: of other keys, where the kind is right; in words, why it has no effect.
        resumes: whether a resumed run may have another value. Words: it may, but what they name stays the same.
        instead: where its value, {}, has no effect, what may have been meant.
    """

    values: Rule | None = None
    kinds: tuple[Kind, ...] = tuple(Kind)
    needs: tuple[Rule, ...] = ()
    resumes: bool | str = False
    instead: str = ""

    def no_effect(self, config: Mapping[str, Any]) -> str:
        """Why this key has no effect in a run, to follow these words; "" where it has one."""
        kind = Kind.of(config)
        if kind not in self.kinds:
            return f" on {kind.value}, only on {' or '.join(k.value for k in self.kinds)}"
        return next((f", as {need.words}" for need in self.needs if not need.holds(config)), "")


def contradictions(config: Mapping[str, Any]) -> Iterator[str]:
    """What does not fit together in a configuration each of whose keys has an effect."""
    kind = Kind.of(config)
    epochs, warmup = config["num_epoch"], config["warmup_epoch"]
    if warmup > epochs:
        yield f"warmup_epoch={warmup} with num_epoch={epochs}: never reaches lr; set warmup_epoch to {epochs} or less"
    if kind is Kind.BRANCHES and config["classifier"] == "new" and config["freeze_classifier"]:
        yield (
            "classifier='new' with freeze_classifier=True: random centres teach nothing; let them learn, or name "
            "the trunk's"
        )
    if config["classifier"] == "prototype" and kind in _NEW:
        yield "classifier='prototype': a trunk that starts from nothing has none; remove the key"
    if config["teacher_cache"] and config["shared_jitter"]:
        yield (
            f"teacher_cache={config['teacher_cache']} with shared_jitter={config['shared_jitter']}: the trunk sees "
            "each face anew in every epoch, and a cache keeps one answer; remove one of the two keys"
        )


def _is_plain(value: Any) -> bool:
    """Whether JSON gives a value back as it was, but for tuples."""
    if isinstance(value, Mapping):
        return all(isinstance(key, str) for key in value) and all(map(_is_plain, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or type(value) in (str, bool, int) or (type(value) is float and isfinite(value))


def _at_least(least: int) -> Rule:
    return Rule(f"at least {least}", lambda value: value >= least)


def _one_of(*choices: str) -> Rule:
    names = ", ".join(name or repr(name) for name in choices)
    return Rule(f"one of {names}", lambda value: value in choices)


def _is_loss(name: str) -> bool:
    if name.lower() not in MARGINS:  # asked now: a config may have added its own
        raise ValueError(f"loss={name!r:.80}: expected one of {', '.join(MARGINS)}")
    return True


def weights_of_terms(config: Mapping[str, Any]) -> dict[str, float]:
    """The weight of every term of the objective in a run; a trunk always learns by its classification."""
    kind = Kind.of(config)
    stated = {term: config[key] for key, term in WEIGHTS.items() if kind in KEYS[key].kinds}
    further = config["further_terms"] if kind in KEYS["further_terms"].kinds else {}
    return {"influence": 1.0, **stated, **further}


def _learns_from_a_teacher(config: Mapping[str, Any]) -> bool:
    weights = weights_of_terms(config)
    return any(weights[name] and set(TERMS[name].needs) & _OF_TEACHERS for name in weights)


def _are_further_terms(weights: Mapping[Any, Any]) -> bool:
    for name in weights:  # asked now: a config may have registered its own
        if name not in TERMS or name in WEIGHTS.values():
            raise ValueError(
                f"further_terms: {name!r:.80} is not registered, or has a key of its own ({', '.join(WEIGHTS)}); call "
                "btnet.loss.register_term in the config"
            )
    return all(
        type(weight) in (int, float) and isfinite(weight) and weight >= 0 for weight in weights.values()
    )


_COUNT = _WEIGHT = _at_least(0)
_POSITIVE: Final = _at_least(1)
_OF_TEACHERS: Final = {"teacher_feature", "teacher_embedding"}
_MAYBE: Final = Rule("at least 0, or None", lambda value: value is None or value >= 0)
_SHARE: Final = Rule("a share from 0 to 1", lambda value: 0 <= value <= 1)
_BELOW_ONE: Final = Rule("at least 0 and below 1", lambda value: 0 <= value < 1)
_LANDMARKS: Final = Rule("from 0 to 0.2, as a share of the face's side", lambda value: 0 <= value <= 0.2)
_TEXTS: Final = Rule("a list of texts", lambda value: all(isinstance(text, str) and text for text in value))
_SIZES: Final = Rule(
    "sizes in px, each once, such as [28, 14]",
    lambda value: all(type(r) is int and r > 0 for r in value) and len(set(value)) == len(value),
)
_ARGUMENTS: Final = Rule(
    f"plain values by name; {', '.join(_OWN_KEYS)} are keys of their own",
    lambda value: _is_plain(value) and not set(_OWN_KEYS) & set(value),
)

_BRANCH: Final = (Kind.BRANCHES,)
_NEW: Final = (Kind.SCRATCH, Kind.SINGLE)
_TAUGHT: Final = (Kind.BRANCHES, Kind.CONTINUED)

_TAIL: Final = Rule("tail_from='none' shares no tail", lambda c: c["tail_from"] != NO_TAIL)
_SMALLER: Final = Rule("no branch is smaller", lambda c: c["inner_size"] > min(c["branches"]))
_TEACHER: Final = Rule("nothing in this run learns from a teacher", _learns_from_a_teacher)
_MARGIN: Final = Rule("NormFace has no margin", lambda c: c["loss"].lower() != "normface" or not c["margin"])
_INFLUENCE: Final = Rule(
    "influence_weight=0 leaves the classification out",
    lambda c: not c["branches"] or c["influence_weight"] > 0,
)
_LEARNS: Final = Rule(
    "a frozen classifier is used whole", lambda c: not (c["branches"] and c["freeze_classifier"])
)
_VERIFIES: Final = Rule("val_targets names no verification set", lambda c: bool(c["val_targets"]))

KEYS: Final[Mapping[str, Key]] = {
    "like": Key(resumes=True),
    "rec": Key(resumes="fingerprint of the set"),
    "corrupt": Key(_one_of("raise", "skip"), resumes=True),
    "native_crops": Key(),
    "val_targets": Key(_TEXTS, resumes=True),
    "val_pairs": Key(_TEXTS, needs=(_VERIFIES,), resumes=True),
    "num_workers": Key(_COUNT, resumes=True),
    "interpolation": Key(_one_of(*INTERPOLATIONS)),
    "flip": Key(),
    "teacher_cache": Key(needs=(_TEACHER,), resumes="whether there is one"),
    "size_band": Key(_SHARE, _BRANCH),
    "degradation": Key(_SHARE, _BRANCH),
    "alignment_jitter": Key(_LANDMARKS, _BRANCH),
    "shared_jitter": Key(_LANDMARKS),
    "multi_resolution": Key(_one_of("", "v1", "v2", "v3"), (Kind.SCRATCH, Kind.CONTINUED)),
    "network": Key(kinds=_NEW),
    "network_args": Key(_ARGUMENTS, _NEW),
    "embedding_size": Key(_POSITIVE, _NEW),
    "dropout": Key(_BELOW_ONE, _NEW),
    "input_size": Key(
        _COUNT, _NEW, instead="; or set branches=[{}], and tail_from=none if all of it shall learn"
    ),
    "trunk": Key(resumes="fingerprint of the trunk"),
    "branches": Key(_SIZES),
    "gradient_checkpointing": Key(resumes=True),
    "inherit": Key(kinds=_BRANCH),
    "tail_from": Key(kinds=_BRANCH),
    "inner_size": Key(_COUNT, _BRANCH, (_SMALLER,)),
    "learnt": Key(_one_of(*PRESETS), _BRANCH, (_TAIL,)),
    "classifier": Key(needs=(_INFLUENCE,), resumes="contents of the file"),
    "freeze_classifier": Key(None, _BRANCH, (_INFLUENCE,)),
    "sample_rate": Key(Rule("a share above 0, up to 1", lambda v: 0 < v <= 1), needs=(_LEARNS, _INFLUENCE)),
    "loss": Key(Rule("a loss", _is_loss), needs=(_INFLUENCE,)),
    "scale": Key(Rule("above 0", lambda value: value > 0), needs=(_INFLUENCE,)),
    "margin": Key(_MAYBE, needs=(_MARGIN, _INFLUENCE)),
    "interclass_filtering_threshold": Key(_BELOW_ONE, needs=(_INFLUENCE,)),
    "influence_weight": Key(_WEIGHT, _BRANCH),
    "distillation_weight": Key(_WEIGHT, _BRANCH),
    "embedding_loss_weight": Key(_WEIGHT, _BRANCH),
    "embedding_cosine_weight": Key(_WEIGHT, _TAUGHT),
    "feature_cosine_weight": Key(_WEIGHT, _TAUGHT),
    "further_terms": Key(Rule("weights of at least 0 by name", _are_further_terms), _TAUGHT),
    "lr": Key(_WEIGHT),
    "momentum": Key(_BELOW_ONE),
    "weight_decay": Key(_WEIGHT),
    "clip": Key(_WEIGHT),
    "batch_size": Key(
        Rule("at least 2, as BatchNorm takes statistics over a rank's images", lambda value: value >= 2),
        resumes="images per step over all ranks",
    ),
    "num_epoch": Key(_POSITIVE),
    "warmup_epoch": Key(_COUNT),
    "schedule": Key(_one_of(*SCHEDULES)),
    "precision": Key(_one_of("auto", "fp32", "bf16", "fp16"), resumes="what auto stands for"),
    "channels_last": Key(resumes=True),
    "compile": Key(resumes=True),
    "seed": Key(Rule("from 0 to 2 ** 32 - 1", lambda value: 0 <= value < 1 << 32)),
    "role": Key(resumes=True),
    "output": Key(resumes=True),
    "device": Key(_one_of("", "cpu", "cuda"), resumes=True),
    "frequent": Key(_POSITIVE, resumes=True),
    "verbose": Key(_POSITIVE, resumes=True),
    "save_every": Key(_POSITIVE, resumes=True),
    "keep_checkpoints": Key(_POSITIVE, resumes=True),
    "overwrite": Key(resumes=True),
    "resume": Key(resumes=True),
}
"""By name, in the order of `configs/base.py`."""
