"""An engine whose method uses what was fitted to one image."""

from __future__ import annotations

from dataclasses import replace

from segmodels.bundles.bundle import Bundle
from segmodels.engines.backend import FixedEngine
from segmodels.engines.base import Engine
from segmodels.methods.base import Fitted
from segmodels.methods.method import read_method


def with_fitted(engine: Engine, bundle: Bundle, fitted: Fitted | None) -> Engine:
    """``engine`` itself if nothing was fitted, else one for that image.

    Args:
        engine: Opened for the bundle, proved on its golden input.
        bundle: Holds a method.
        fitted: In the units in which the method sees tiles.
    """
    if fitted is None or not isinstance(engine, FixedEngine):
        return engine
    method = read_method(bundle.model_path, bundle.card)
    return replace(engine, run=method.with_fitted(fitted))
