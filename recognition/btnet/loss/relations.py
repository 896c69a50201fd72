"""What a network learns from the frozen trunk about the faces of a batch among each other, over all ranks."""

# G faces of the global batch, B of this rank, D embedding

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from btnet.loss.distillation import student_and_teacher
from btnet.loss.ranks import Ranks

__all__ = ["embedding_contrast", "embedding_octuplet", "embedding_relation"]


def embedding_relation(student: Tensor, teacher: Tensor) -> Tensor:
    """How far each face's cosines to the batch's 112 px faces are from what they are at 112 px.

    Args:
        student: embeddings of the r x r views, [B, D].
        teacher: of the 112 px views, [B, D]; a face and itself count like any two. Receives no gradient.

    Returns:
        Mean squared difference of the B x G cosines (student to teacher, teacher to teacher), in float32.

    Raises:
        ValueError: if the shapes differ.
    """
    low_BD, high_BD = _units(student, teacher)
    with _full_precision(student):
        faces_GD = Ranks.of(None).gather(high_BD)
        return (low_BD @ faces_GD.T - high_BD @ faces_GD.T).square().mean()


def embedding_contrast(student: Tensor, teacher: Tensor, *, temperature: float = 0.1) -> Tensor:
    """Seen from each 112 px face, a branch's face shall lie where its 112 px view lies, not where another face does.

    CRRCD (arXiv 2409.02555) contrasts relations of two faces, made by learnt modules, with negatives from a memory.
    Here the relation of two faces is the direction from one embedding to the other, and the negatives are the
    batch's: the cross entropy of cos(low_j - high_i, high_k - high_i) / temperature over k, whose answer is k = j.

    Args:
        student: as `embedding_relation`.
        teacher: as `embedding_relation`.
        temperature: divides the cosines.

    Returns:
        Mean over faces j and anchors i other than j, in float32. B x G x G numbers are held.

    Raises:
        ValueError: if the shapes differ, or the batch has fewer than 3 faces.
    """
    low_BD, high_BD = _units(student, teacher)
    ranks = Ranks.of(None)
    with _full_precision(student):
        faces_GD = ranks.gather(high_BD)
        num_faces = len(faces_GD)
        if num_faces < 3:
            raise ValueError(
                f"a batch of {num_faces} faces has no relations to contrast; take 3 faces or more, or set "
                "embedding_contrast_weight to 0"
            )
        low_BG, high_GG = low_BD @ faces_GD.T, faces_GD @ faces_GD.T
        product_BGG = low_BG[:, None, :] - low_BG[:, :, None] - high_GG + 1
        cosine_BGG = product_BGG / (_distance(low_BG)[:, :, None] * _distance(high_GG))
        itself_GG = torch.eye(num_faces, dtype=torch.bool, device=student.device)
        logits_BGG = (cosine_BGG / temperature).masked_fill(itself_GG, -torch.inf)
        rows_B = torch.arange(len(low_BD), device=student.device)
        own_B = ranks.rank * len(low_BD) + rows_B
        likelihood_BG = logits_BGG.log_softmax(dim=2)[rows_B, :, own_B]
        # not by a mask as index: its size would have to be waited for
        return -likelihood_BG.masked_fill(itself_GG[own_B], 0).sum() / (len(low_BD) * (num_faces - 1))


def embedding_octuplet(student: Tensor, teacher: Tensor, labels: Tensor, *, margin: float = 0.5) -> Tensor:
    """Triplets over resolutions (Octuplet loss, arXiv 2207.06726), of cosine distances and the batch's hardest faces.

    Each anchor's farthest face of its person shall be nearer, by the margin, than the nearest of another person:
    from 112 px faces to small ones, from small ones to 112 px ones, and among small ones. The paper's fourth term,
    among 112 px faces, is constant for a frozen trunk. Its batches hold two images of each person; batches drawn at
    random may not, so a face at the other resolution counts as of its own person, and an anchor without positive
    or negative is left out.

    Args:
        student: as `embedding_relation`.
        teacher: as `embedding_relation`.
        labels: person of each face, int64 [B].
        margin: of 1 - cosine.

    Returns:
        Sum of the three terms, each a mean over its anchors, in float32; equal on all ranks.

    Raises:
        ValueError: if the shapes differ.
    """
    low_BD, high_BD = _units(student, teacher)
    ranks = Ranks.of(None)
    with _full_precision(student):
        low_GD, high_GD, labels_G = ranks.replicate(low_BD), ranks.gather(high_BD), ranks.gather(labels)
        same_GG = labels_G[:, None] == labels_G
        itself_GG = torch.eye(len(labels_G), dtype=torch.bool, device=labels.device)
        across_GG = 1 - high_GD @ low_GD.T
        terms = [
            _hardest_triplets(across_GG, same_GG, ~same_GG, margin),
            _hardest_triplets(across_GG.T, same_GG, ~same_GG, margin),
            _hardest_triplets(1 - low_GD @ low_GD.T, same_GG & ~itself_GG, ~same_GG, margin),
        ]
        return torch.stack(terms).sum()


def _hardest_triplets(distance_GG: Tensor, positive_GG: Tensor, negative_GG: Tensor, margin: float) -> Tensor:
    """Mean over the anchors (rows) that have a positive and a negative; 0 where none has."""
    complete_G = positive_GG.any(dim=1) & negative_GG.any(dim=1)
    farthest_G = distance_GG.masked_fill(~positive_GG, -torch.inf).amax(dim=1)
    nearest_G = distance_GG.masked_fill(~negative_GG, torch.inf).amin(dim=1)
    # the difference of two infinities would reach the gradient as NaN
    violation_G = torch.where(complete_G, farthest_G, 0.0) - torch.where(complete_G, nearest_G, 2 * margin)
    return (violation_G + margin).relu().sum() / complete_G.sum().clamp(min=1)


def _units(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    student, teacher = student_and_teacher("embeddings", student, teacher)
    return normalize(student, dim=1), normalize(teacher, dim=1)


def _distance(cosine: Tensor) -> Tensor:
    """Between unit vectors; the floor keeps the gradient finite where two faces are the same."""
    return (2 - 2 * cosine).clamp(min=1e-6).sqrt()


def _full_precision(tensor: Tensor) -> torch.autocast:
    """Cosines in half precision have steps of 0.001."""
    return torch.autocast(tensor.device.type, enabled=False)
