"""keras.applications' VGG, ResNet and MobileNet, rebuilt at any width, norm and dilation."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segmodels.architectures.parts import MOMENTUM, Norm, norm_layer
from segmodels.backbones.scaling import Dilation, scaled

if TYPE_CHECKING:
    import keras


def _vgg_stage(layer: str) -> int:
    block = int(layer[5])
    return block if layer.endswith("pool") else block - 1


def _resnet_stage(layer: str) -> int:
    if found := re.match(r"conv(\d)_", layer):
        return int(found[1])
    return 2  # pool1


def _mobilenet_stage(layer: str) -> int:
    if found := re.match(r"block_(\d+)_(.*)", layer):
        block = int(found[1])
        stage = 2 + sum(block >= first for first in (3, 6, 13))
        # The expansion of a block that strides still works on the finer grid.
        return stage - 1 if block in (1, 3, 6, 13) and found[2].startswith("expand") else stage
    return 1 if layer.startswith(("Conv1", "bn_Conv1", "expanded")) else 5


@dataclass(frozen=True)
class Source:
    """Where a backbone comes from.

    Attributes:
        application: Its name in keras.applications.
        stage: The number i of the grid C_i on which a layer's output lies.
        taps: The layers that give C1…C5.
    """

    application: str
    stage: Callable[[str], int]
    taps: tuple[str, str, str, str, str]


SOURCES = {
    "vgg16": Source("VGG16", _vgg_stage, tuple(f"block{i}_pool" for i in range(1, 6))),  # type: ignore[arg-type]
    "resnet50": Source(
        "ResNet50",
        _resnet_stage,
        ("conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"),
    ),
    "resnet101": Source(
        "ResNet101",
        _resnet_stage,
        ("conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block23_out", "conv5_block3_out"),
    ),
    "mobilenet_v2": Source(
        "MobileNetV2",
        _mobilenet_stage,
        ("expanded_conv_project_BN", "block_2_add", "block_5_add", "block_12_add", "out_relu"),
    ),
}


def features(
    name: str,
    x: keras.KerasTensor,
    *,
    dilation: Dilation,
    width: float,
    norm: Norm,
    weights: str | Path | None,
) -> tuple[keras.KerasTensor, ...]:
    """C1…C5 of an application, appended to ``x``."""
    import keras

    from segmodels.backbones.weights import copy_weights

    source = SOURCES[name]
    original = _original(source, weights)
    made: dict[str, Any] = {}
    outputs: dict[str, Any] = {}

    def clone(layer: Any) -> Any:
        made[layer.name] = _rebuilt(layer, source, dilation, width, norm)
        return made[layer.name]

    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        # A batch norm's call is recorded with ``mask=None``, which the norm in its place does not know.
        y = layer(*inputs, **{key: value for key, value in options.items() if value is not None})
        if source.application == "VGG16" and norm != "none" and "_conv" in layer.name:
            y = norm_layer(norm, int(y.shape[-1]), f"{layer.name}_norm")(y)
            y = keras.layers.Activation("relu", name=f"{layer.name}_relu")(y)
        outputs[layer.name] = y
        return y

    keras.models.clone_model(original, input_tensors=x, clone_function=clone, call_function=call)
    if weights is not None:
        copy_weights(original, made)
    return tuple(outputs[tap] for tap in source.taps)


def _original(source: Source, weights: str | Path | None) -> Any:
    import keras

    application = getattr(keras.applications, source.application)
    if weights is None:
        return application(include_top=False, weights=None, input_shape=(None, None, 3))
    path = Path(weights)
    if not path.is_file():
        raise ValueError(
            f"there is no file {path} with weights of {source.application}; give an existing one"
        )
    model = application(include_top=False, weights=None, input_shape=(None, None, 3))
    try:
        model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise ValueError(
            f"{path} does not hold weights of keras.applications.{source.application} without its top ({reason}); "
            "save that model with include_top=False and give its file"
        ) from error
    return model


def _rebuilt(layer: Any, source: Source, dilation: Dilation, width: float, norm: Norm) -> Any:
    """One layer with the width, norm and dilation asked for, no weights yet."""
    import keras

    layers, config = keras.layers, layer.get_config()
    if isinstance(layer, layers.BatchNormalization):
        if norm == "batch":
            return type(layer).from_config({**config, "momentum": MOMENTUM})
        other = norm_layer(norm, scaled(int(layer.gamma.shape[0]), width), layer.name)
        return other or layers.Activation("linear", name=layer.name)
    if "filters" in config:
        config["filters"] = scaled(config["filters"], width)
    if source.application == "VGG16" and norm != "none" and isinstance(layer, layers.Conv2D):
        config["activation"] = "linear"
    stage = source.stage(layer.name)
    if isinstance(layer, layers.ZeroPadding2D) and source.application == "MobileNetV2":
        rate = dilation.rate(stage - 1)
        if dilation.stride(stage) == 1:
            config["padding"] = ((0, 2 * rate), (0, 2 * rate))
    elif "strides" in config:
        strides = 2 in tuple(config["strides"])
        rate = dilation.rate(stage - 1 if strides else stage)
        if strides and dilation.stride(stage) == 1:
            config["strides"] = (1, 1)
            if isinstance(layer, layers.MaxPooling2D):
                config |= {"pool_size": (3, 3), "padding": "same"}
        if rate > 1 and "dilation_rate" in config and max(config["kernel_size"]) > 1:
            config["dilation_rate"] = (rate, rate)
    return type(layer).from_config(config)
