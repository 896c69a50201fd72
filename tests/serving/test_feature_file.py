from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from btnet.serving import feature_file
from btnet.serving.embedding import embed_images
from btnet.serving.feature_file import EmbeddingCache
from tiny_models import tiny_btnet


def test_an_answer_is_kept_until_a_weight_or_a_pixel_changes(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    model = tiny_btnet(resolutions=(14,))
    store = EmbeddingCache(tmp_path)
    with patch.object(feature_file, "embed_images", wraps=embed_images) as embed:
        first = store(model.network(14), images, view_size=14)
        again = store(model.network(14), images, view_size=14)
        assert embed.call_count == 1
        assert np.array_equal(first, again)
        assert np.array_equal(first, embed_images(model.network(14), images, view_size=14))
        store(model.trunk, images, view_size=14)
        store(model.network(14), images[::-1], view_size=14)
        store(model.network(14), images, view_size=14, mirror=True)
        assert embed.call_count == 4
        with torch.no_grad():
            next(iter(model.learnt_parameters(14, "paper").values())).add_(0.1)
        assert not np.array_equal(store(model.network(14), images, view_size=14), first)
        assert embed.call_count == 5
