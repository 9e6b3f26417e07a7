"""Encoders by name: feature maps C1…C5 at strides 2, 4, 8, 16 and 32, or less where they are dilated.

Any number of channels; ResNet, VGG and MobileNet are keras.applications' own graphs, rebuilt layer by layer
with the width, norm and dilation asked for.
"""

from __future__ import annotations

from segmodels.backbones.registry import Weights, backbone_features, list_backbones
from segmodels.backbones.scaling import scaled

__all__ = ["Weights", "backbone_features", "list_backbones", "scaled"]
