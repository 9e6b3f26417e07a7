"""Reading ``model.keras``: its configuration is inspected before Keras may touch it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from segmodels.errors import BundleError

_MEMBERS = {"config.json", "metadata.json", "model.weights.h5"}
_PLAIN = {
    "__tuple__",
    "__keras_tensor__",
    "__tensor__",
    "__numpy__",
    "__bytes__",
    "__ellipsis__",
    "__slice__",
}
#: The only modules of ours that a file may have imported: they register classes and do nothing else.
_OURS = ("segmodels.layers", "segmodels.losses")
#: Layers that hold code, load files, or unpickle.
_UNSAFE = {
    "Lambda",
    "TFSMLayer",
    "TorchModuleWrapper",
    "JaxLayer",
    "FlaxLayer",
    "StringLookup",
    "IntegerLookup",
    "TextVectorization",
}
_KERAS = tuple(
    f"keras.{source}{part}"
    for source in ("", "src.")
    for part in (
        "activations",
        "constraints",
        "dtype_policies",
        "initializers",
        "layers",
        "losses",
        "metrics",
        "models",
        "ops",
        "optimizers",
        "regularizers",
    )
)


def inspect_keras_file(path: Path) -> list[str]:
    """Refuses a ``.keras`` file that names anything but Keras' own and segmodels' classes.

    Returns:
        The segmodels modules that must be imported before it is loaded.

    Raises:
        BundleError: If the file is damaged, holds unexpected members, or names other classes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {m for m in archive.namelist() if not m.endswith("/")}
            config = json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise BundleError(f"{path} is not a Keras 3 model ({error}); save it again with Keras 3.") from error
    if extra := sorted(members - _MEMBERS):
        raise BundleError(f"{path} holds {extra[0]!r}, which no model here needs; save the model without it.")
    modules = set()
    for node in _named(config):
        module = _allowed(path, node)
        if module is not None:
            modules.add(module)
    return sorted(modules)


def load_keras_file(path: Path, *, policy: str = "float32") -> Any:
    """Loads a model in safe mode, uncompiled, every layer computing under ``policy``.

    The output layer alone always computes in float32.

    Args:
        path: The ``model.keras`` file.
        policy: A Keras dtype policy, ``float32`` or ``mixed_bfloat16``; it replaces what the
            model was trained with.

    Raises:
        BundleError: If the file is unsafe or cannot be loaded.
    """
    for module in inspect_keras_file(path):
        _import_ours(path, module)
    import keras

    for name in _ours(path):
        if keras.saving.get_registered_object(name) is None:
            raise BundleError(
                f"{path} names {name!r}, which this version of segmodels does not have; install the version "
                "that wrote the bundle, or a newer one."
            )

    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BundleError(
            f"{path} cannot be loaded by Keras {keras.__version__}: {reason}; write the bundle again."
        ) from error
    for layer in model._flatten_layers():
        layer.dtype_policy = policy
    for tensor in model.outputs:
        _keep_exact(model, tensor)
    return model


def _keep_exact(model: Any, tensor: Any) -> None:
    """Computes the logits in float32: eight bits of mantissa are too few for one.

    What only crops or resizes them comes after the layer that makes them, so all of that is exact too.
    """
    while True:
        layer = tensor._keras_history.operation
        layer.dtype_policy = "float32"
        sources = layer._inbound_nodes[tensor._keras_history.node_index].input_tensors
        if layer.weights or not sources or tensor is model.inputs[0]:
            return
        tensor = sources[0]


def _import_ours(path: Path, module: str) -> None:
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        raise BundleError(
            f"{path} needs {module}, which this version of segmodels does not have; install the version that "
            "wrote the bundle, or a newer one."
        ) from error


def _ours(path: Path) -> set[str]:
    """Registered names of ours that a file asks for."""
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    names = (str(node.get("registered_name")) for node in _named(config))
    return {name for name in names if name.startswith("segmodels>")}


def _named(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if isinstance(node.get("class_name"), str):
            yield node
        for value in node.values():
            yield from _named(value)
    elif isinstance(node, list):
        for value in node:
            yield from _named(value)


def _allowed(path: Path, node: dict[str, Any]) -> str | None:
    name, module = node["class_name"], node.get("module")
    if name in _PLAIN:
        return None
    if name in _UNSAFE or name.startswith("__"):
        raise BundleError(
            f"{path} contains {name}, which can run code or read files; rebuild the model from plain layers."
        )
    if str(node.get("registered_name")).startswith("segmodels>"):
        if module is None or any(module == m or str(module).startswith(f"{m}.") for m in _OURS):
            return module
    elif module == "keras" or any(module == m or str(module).startswith(f"{m}.") for m in _KERAS):
        return None
    raise BundleError(
        f"{path} names the class {module}.{name}, but only classes of Keras and segmodels are loaded; "
        "rebuild the model from those."
    )
