"""A data set of grey squares on disk, small enough to train on in seconds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def write_squares(root: Path, *, items: int = 10, size: int = 40, seed: int = 0) -> Path:
    """``image/`` and ``instance/`` with two squares each; half of the items are ``light``, half ``dark``."""
    rng = np.random.default_rng(seed)
    for folder in ("image", "instance"):
        (root / folder).mkdir(parents=True)
    index = []
    for i in range(items):
        instance = np.zeros((size, size + 2 * i), np.uint16)
        instance[4:16, 5:18] = 1
        instance[20:33, 20:34] = 300
        kind = ("light", "dark")[i % 2]
        level = np.where(instance > 0, 190, 60) if kind == "light" else np.where(instance > 0, 60, 190)
        image = (level[..., None] + rng.normal(0, 12, (*instance.shape, 3))).clip(0, 255).astype(np.uint8)
        Image.fromarray(image).save(root / "image" / f"{i:02d}.png")
        Image.fromarray(instance).save(root / "instance" / f"{i:02d}.png")
        index.append({"id": f"{i:02d}", "kind": kind, "split": "test" if i >= items - 2 else "train"})
    (root / "index.json").write_text(json.dumps(index))
    return root


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_squares(tmp_path_factory.mktemp("data") / "squares")
