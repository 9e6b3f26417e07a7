"""An ONNX file made ready for a bundle: refused with the remedy, or stripped of its last activation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segmodels.engines.layout import find_layout
from segmodels.errors import BundleError
from segmodels.importing.onnx_file import Activation, Tensor, read_onnx, without_activation


@dataclass(frozen=True)
class Source:
    """A model that can be asked.

    Attributes:
        file: The ONNX file, or None for a Keras model.
        ndim: Spatial axes.
        channels: It takes.
        logits: It gives.
        sizes: Its tile, None where free.
        stripped: What was taken from its end.
        facts: What a user should read about it.
    """

    file: Path | None
    ndim: int
    channels: int
    logits: int
    sizes: tuple[int | None, ...]
    stripped: Activation | None
    facts: tuple[str, ...]

    @property
    def fixed(self) -> tuple[int, ...] | None:
        """The one tile it takes, or None if any side is free."""
        known = tuple(s for s in self.sizes if s is not None)
        return known if len(known) == len(self.sizes) else None


def open_onnx(path: Path, *, channels: int, folder: Path) -> Source:
    """Reads what the file says and puts what a bundle needs of it into ``folder``.

    Args:
        path: The user's file.
        channels: Of the image it is for; it tells the layout where sizes are free.
        folder: For the model without its last activation.

    Raises:
        BundleError: It cannot become a bundle; says what to change in the export.
    """
    onnx = read_onnx(path)
    if onnx.external:
        raise BundleError(
            f"{path} keeps its weights in another file ({onnx.external[0]}), but a bundle holds one file; export "
            "with torch.onnx.export(…, external_data=False), or join them with onnx.save(onnx.load(…), …)."
        )
    if onnx.foreign:
        raise BundleError(
            f"{path} uses the operation {onnx.foreign[0]}, which is not of the ONNX standard; replace that layer "
            "in your framework, or export it decomposed, and export again."
        )
    if len(onnx.inputs) != 1:
        names = ", ".join(t.name for t in onnx.inputs) or "none"
        raise BundleError(
            f"{path} has {len(onnx.inputs)} inputs ({names}), but a bundle's model takes one image; stack them as "
            "channels inside the model and export again."
        )
    if len(onnx.outputs) != 1:
        names = ", ".join(t.name for t in onnx.outputs)
        raise BundleError(
            f"{path} has {len(onnx.outputs)} outputs ({names}), but a bundle's model gives its logits alone; "
            "wrap it in a module that returns only them (torchvision's models: net(x)['out']) and export again."
        )
    given, made = onnx.inputs[0], onnx.outputs[0]
    _check_kinds(path, given, made)
    ndim = len(given.dims) - 2
    # The image decides where sizes are free; a size that is written in the file counts more.
    known = [d for d in (given.dims[1], given.dims[-1]) if d is not None]
    wanted = channels if channels in known or not known else min(known)
    first = find_layout(given.dims, made.dims, channels=wanted, logits=-1).inputs
    logits = made.dims[1] if first else made.dims[-1]
    if logits is None:
        raise BundleError(
            f"{path} does not say how many classes its output {made.name!r} has; export it with a fixed number "
            "of output channels."
        )
    facts = [
        f"ONNX by {onnx.producer or 'an unnamed library'}: {given.name} {_sizes(given)} → {made.name} {_sizes(made)}",
        f"channels {'first' if first else 'last'}, float32",
    ]
    file, stripped = path, None
    if onnx.ends_in is not None:
        file, stripped = folder / "logits.onnx", onnx.ends_in
        file.write_bytes(without_activation(path.read_bytes()))
        facts.append(f"its last {stripped} is left out: a bundle's model gives logits")
    spatial = given.dims[2:] if first else given.dims[1:-1]
    if stripped == "Sigmoid" and logits > 1:
        raise BundleError(
            f"{path} ends in a Sigmoid over {logits} channels, classes that do not exclude each other, and a mask "
            "holds one class per pixel; export one channel, or classes under a softmax."
        )
    return Source(file, ndim, wanted, logits, tuple(spatial), stripped, tuple(facts))


def _check_kinds(path: Path, given: Tensor, made: Tensor) -> None:
    if given.dtype != "float32":
        raise BundleError(
            f"{path} takes {given.dtype}, but tiles are float32; export the model in float32 "
            "(net.float(), a float32 example)."
        )
    if made.dtype not in ("float32", "float16"):
        raise BundleError(
            f"{path} gives {made.dtype}, probably the class of each pixel after an argmax; export the model so "
            "that it gives the logits before that."
        )
    if len(given.dims) not in (4, 5) or len(made.dims) != len(given.dims):
        raise BundleError(
            f"{path} maps {_sizes(given)} to {_sizes(made)}, but a segmentation model maps (batch, channels, height, "
            "width), with a depth for volumes, to as many axes; export the whole network with its decoder."
        )


def _sizes(tensor: Tensor) -> str:
    return "(" + ", ".join("any" if d is None else str(d) for d in tensor.dims) + ")"
