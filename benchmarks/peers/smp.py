"""segmentation_models.pytorch on a machine without CUDA.

The torchvision of PyPI is built for CUDA on Linux. Beside torch's CPU build its compiled operators cannot be
loaded, and then its import stops at two of them, which the networks here never call.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import torch

#: What torchvision's import describes without asking whether it was loaded.
ASKED_FOR = ("nms", "qnms")


def import_smp() -> Any:
    """The module ``segmentation_models_pytorch``; operators that cannot be loaded are declared, without code."""
    if not _loaded():
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ASKED_FOR:
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(library)
    return importlib.import_module("segmentation_models_pytorch")


#: A library's declarations live as long as it does.
_KEPT: list[torch.library.Library] = []


def _loaded() -> bool:
    """Whether torchvision's operators can be loaded, in torchvision's own way."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # importing it says what is missing
    files = [f for f in Path(spec.origin).parent.glob("_C*") if f.suffix in (".so", ".pyd", ".dylib")]
    try:
        for file in files:
            torch.ops.load_library(file)
    except OSError:
        return False
    return bool(files)
