"""Several accelerators: one batch shared among them, where the backend can."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)


def share_batches(batch: int) -> int:
    """Lets Keras spread each batch over all devices; call it before the network is built.

    Keras does this on the JAX backend. On others, and with one device, nothing changes.

    Args:
        batch: Tiles a batch.

    Returns:
        Devices that share a batch.

    Raises:
        ValueError: The batch cannot be shared evenly.
    """
    import keras

    devices = keras.distribution.list_devices()
    if len(devices) < 2:
        return 1
    if keras.backend.backend() != "jax":
        log.warning(
            "%d devices, but only the JAX backend shares batches: one is used; set KERAS_BACKEND=jax",
            len(devices),
        )
        return 1
    if batch % len(devices):
        raise ValueError(f"a batch of {batch} cannot be shared by {len(devices)} devices; take a multiple")
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    return len(devices)
