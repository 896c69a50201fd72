"""Margins, the sharded classifier and its file, the objective and its terms."""

from collections.abc import Callable

from btnet.loss.adaface import AdaFace
from btnet.loss.centres import shard_range
from btnet.loss.classifier import ShardedClassifier
from btnet.loss.classifier_file import ClassifierFile, load_classifier, save_classifier
from btnet.loss.curricularface import CurricularFace
from btnet.loss.margin import Margin
from btnet.loss.prototype import build_prototypes
from btnet.loss.stateless_margins import (
    ArcFace,
    ArcFaceStraightThrough,
    CosFace,
    NormFace,
    SphereFace,
)
from btnet.method.distillation import embedding_cosine, embedding_mse, feature_cosine
from btnet.method.objective import Inputs, Objective, Term, branch_distillation, register_term

__all__ = [
    "MARGINS",
    "AdaFace",
    "ArcFace",
    "ArcFaceStraightThrough",
    "ClassifierFile",
    "CosFace",
    "CurricularFace",
    "Inputs",
    "Margin",
    "NormFace",
    "Objective",
    "ShardedClassifier",
    "SphereFace",
    "Term",
    "branch_distillation",
    "build_prototypes",
    "embedding_cosine",
    "embedding_mse",
    "feature_cosine",
    "load_classifier",
    "register_term",
    "save_classifier",
    "shard_range",
]

# by the names that configs use; all take the keywords `scale` and `margin`
MARGINS: dict[str, Callable[..., Margin]] = {
    "normface": NormFace,
    "sphereface": SphereFace,
    "cosface": CosFace,
    "arcface": ArcFace,
    "arcfacestraightthrough": ArcFaceStraightThrough,
    "curricularface": CurricularFace,
    "adaface": AdaFace,
}
