"""A ``model.keras`` made ready for a bundle: free batch and tile, logits at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from segmodels.bundles.keras_file import load_keras_file
from segmodels.errors import BundleError
from segmodels.importing.onnx_file import Activation
from segmodels.importing.onnx_model import Source


def open_keras(path: Path) -> tuple[Any, Source]:
    """Loads a Keras model in safe mode and frees what a bundle needs free.

    Returns:
        The model, and what is known of it.

    Raises:
        BundleError: It cannot become a bundle; names the layer and the remedy.
    """
    import keras

    model = load_keras_file(path)
    if isinstance(model, keras.Sequential):
        if not model.built:
            raise BundleError(
                f"{path} was never built, so its input is not known; give it a keras.Input and save it again."
            )
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    if len(getattr(model, "inputs", None) or ()) != 1 or len(model.outputs) != 1:
        raise BundleError(
            f"{path} has {len(getattr(model, 'inputs', None) or ())} inputs and {len(model.outputs)} outputs, but a "
            "bundle's model maps one image to its logits; save keras.Model(inputs, logits) alone."
        )
    for layer in model._flatten_layers():
        if getattr(layer, "data_format", None) == "channels_first":
            raise BundleError(
                f"{path}: the layer {layer.name!r} has its channels first, which most CPUs cannot run; rebuild the "
                "model with data_format='channels_last', or export it to ONNX and import that."
            )
    taken, given = model.input_shape, model.output_shape
    if len(taken) not in (4, 5) or len(given) != len(taken) or taken[-1] is None or given[-1] is None:
        raise BundleError(
            f"{path} maps {taken} to {given}, but a segmentation model maps (batch, height, width, channels), with "
            "a depth for volumes, to as many axes; save the whole network with its decoder."
        )
    facts = [f"Keras: {taken} → {given}"]
    model, stripped = _logits(path, model)
    if stripped:
        facts.append(f"its last {stripped.lower()} is left out: a bundle's model gives logits")
    if any(n is not None for n in taken[:-1]):
        model = _freed(path, model)
        facts.append("its fixed input size is freed: it takes any batch and tile")
    return model, Source(
        None, len(taken) - 2, taken[-1], given[-1], (None,) * (len(taken) - 2), stripped, tuple(facts)
    )


def _logits(path: Path, model: Any) -> tuple[Any, Activation | None]:
    import keras

    last = model.outputs[0]._keras_history.operation
    name = getattr(getattr(last, "activation", None), "__name__", "")
    if isinstance(last, keras.layers.Softmax):
        name = "softmax"
    if name not in ("softmax", "sigmoid"):
        return model, None
    if name == "sigmoid" and model.output_shape[-1] > 1:
        raise BundleError(
            f"{path}: the layer {last.name!r} ends in a sigmoid over {model.output_shape[-1]} channels, classes that "
            "do not exclude each other, and a mask holds one class per pixel; give it one channel, or a softmax."
        )
    if isinstance(last, (keras.layers.Softmax, keras.layers.Activation)):
        model = keras.Model(model.inputs[0], last.input, name=model.name)
    else:
        last.activation = keras.activations.linear
    return model, "Softmax" if name == "softmax" else "Sigmoid"


def _freed(path: Path, model: Any) -> Any:
    """The same layers on an input of free size, proved equal at the old one."""
    import keras

    fixed = tuple(n or 64 for n in model.input_shape[1:-1])
    remedy = (
        f"build it with keras.Input(({', '.join(['None'] * len(fixed))}, {model.input_shape[-1]})), copy the weights "
        "with set_weights, and save it again; or export it to ONNX, whose size may be fixed"
    )
    try:
        inputs = keras.Input((*[None] * len(fixed), model.input_shape[-1]))
        plain = keras.Model(
            model.inputs[0], model.outputs[0], name=model.name
        )  # one tensor, not a list of one
        free = keras.models.clone_model(plain, input_tensors=inputs)
        free.set_weights(model.get_weights())
        x = np.random.default_rng(0).normal(size=(1, *fixed, model.input_shape[-1])).astype(np.float32)
        same = np.allclose(free(x, training=False), model(x, training=False), atol=1e-5)
    except (ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BundleError(
            f"{path} takes one size only and cannot be freed of it ({reason}); {remedy}."
        ) from error
    if not same:
        raise BundleError(f"{path} takes one size only and gives other logits when freed of it; {remedy}.")
    return free
