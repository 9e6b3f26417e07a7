"""Opening an engine: chosen, loaded, proved right on the bundle's golden input."""

from __future__ import annotations

from segmodels.bundles.bundle import Bundle
from segmodels.engines.backend import FixedEngine, compile_exactly
from segmodels.engines.base import Engine
from segmodels.engines.choosing import choose
from segmodels.engines.loading import check_names, golden_problem, load_backend
from segmodels.errors import EngineError


def open_engine(
    bundle: Bundle,
    *,
    engine: str = "auto",
    precision: str = "auto",
    batch: int,
    tile: tuple[int, ...],
    verify: bool = True,
    callers: int = 1,
) -> Engine:
    """Loads the bundle's model for batches of one fixed shape.

    Args:
        bundle: A checked bundle.
        engine: ``auto``, ``method``, ``tensorflow``, ``jax``, ``torch``, ``openvino`` or ``onnx``.
        precision: ``auto``, ``float32``, ``bfloat16`` or ``int8``. What ``auto`` means is measured once per
            machine, see :func:`segmodels.engines.choosing.choose`; it is never ``int8``.
        batch: Tiles per batch.
        tile: Tile size, one per model axis, slowest first; multiples of the card's stride.
        verify: Whether the golden input must give the golden logits.
        callers: Threads that will call it. Where the library can, each gets a share of the cores of its own:
            on CPUs that is quicker than the threads of one call waiting for one another.

    Raises:
        EngineError: If the engine is not installed, cannot run the model, or disagrees with the
            golden logits.
        BundleError: If the model or the golden input cannot be read.
        ValueError: If ``batch`` or ``tile`` do not fit the card.
    """
    card = bundle.card
    check_names(bundle, engine, precision)
    if batch < 1 or len(tile) not in card.ndims or any(t < 1 or t % card.stride for t in tile):
        axes = " or ".join(str(n) for n in card.ndims)
        raise ValueError(
            f"{card.name} takes tiles of {axes} axes, multiples of {card.stride}, in batches of at least 1; "
            f"not batch {batch}, tile {tile}"
        )
    if card.fixed_tile and tile != card.tile[-len(tile) :]:
        raise EngineError(
            f"{card.name} takes tiles of {'×'.join(map(str, card.tile))} only, not {'×'.join(map(str, tile))}; "
            "give that tile, or export the model with free sizes."
        )
    choice = choose(bundle, engine=engine, precision=precision, batch=batch, tile=tile)
    backend = load_backend(bundle, choice.engine, choice.precision, callers=callers)
    problem = golden_problem(bundle, backend) if verify else None
    if problem is not None:
        raise EngineError(
            f"{backend.library} at {backend.precision} disagrees with the golden input of {bundle.path}: "
            f"{problem}; choose another engine or precision."
        )
    shape = (batch, *tile, len(card.channels))
    run = compile_exactly(backend, shape)
    return FixedEngine(
        backend.name, backend.precision, backend.library, shape, card.logits, run, backend.callers
    )
