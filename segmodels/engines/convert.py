"""``python -m segmodels.engines.convert BUNDLE DIGEST FILE.xml``: a Keras bundle as OpenVINO model."""

from __future__ import annotations

import sys
import tempfile
from typing import Any


def main(path: str, digest: str, file: str) -> None:
    """Converts the bundle at ``path``, if its digest is still ``digest``."""
    from segmodels.bundles.bundle import load_bundle
    from segmodels.bundles.keras_file import load_keras_file
    from segmodels.engines.on_keras import use_keras
    from segmodels.engines.on_openvino import import_openvino

    bundle = load_bundle(path)
    if bundle.digest != digest:
        raise SystemExit(f"{path} changed while it was being converted; run again")
    import_openvino()
    use_keras("tensorflow")
    convert_model(load_keras_file(bundle.model_path), file)


def convert_model(model: Any, file: str) -> None:
    """Writes a Keras model on TensorFlow, of any batch and tile size, as ``FILE.xml`` and ``FILE.bin``."""
    from segmodels.engines.on_openvino import import_openvino

    ov = import_openvino()
    _repair_converter()
    with tempfile.TemporaryDirectory() as folder:
        exported = f"{folder}/exported.xml"
        model.export(exported, format="openvino", verbose=False)
        graph = ov.Core().read_model(exported)
        # The exporter leaves sizes that layers look up (group normalisation) as outputs of their own;
        # only the logits have as many axes as the input.
        for output in list(graph.outputs):
            if output.partial_shape.rank != graph.input(0).partial_shape.rank:
                graph.remove_result(output.get_node())
        graph.validate_nodes_and_infer_types()
        ov.serialize(graph, file)


def _repair_converter() -> None:
    # The converter learns TensorFlow's version by `exec("import tensorflow"); exec("del tensorflow")`, and
    # from Python 3.13 on the second no longer sees the first. This process only converts: replaced in place.
    import tensorflow
    from openvino.frontend.tensorflow import utils

    utils.get_environment_setup = lambda framework: {"tensorflow": tensorflow.__version__}


if __name__ == "__main__":
    main(*sys.argv[1:])
