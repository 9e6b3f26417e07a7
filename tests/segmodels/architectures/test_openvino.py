"""Every architecture converted as a bundle is, and run at several sizes: the logits of Keras."""

from __future__ import annotations

import numpy as np
import pytest

from segmodels.supervision import plain

pytest.importorskip("openvino")

#: Variants whose layers are all in others too.
LIKE_ANOTHER = {"deeplab_v3 plain", "fcn16 plain", "fcn32 plain", "context_unet 3-D", "deeplab_v3_plus plain"}


@pytest.mark.slow
def test_openvino_gives_the_logits_of_keras(narrow, variants, tmp_path):
    from segmodels.engines.convert import convert_model
    from segmodels.engines.on_openvino import import_openvino

    core = import_openvino().Core()
    # The deep backbones take most of a minute each to convert.
    deep = {v for v in variants if v.endswith(("resnet50", "mobilenet_v2"))}
    for variant in sorted(set(variants) - LIKE_ANOTHER - deep | {"deeplab_v3_plus plain"}):
        model = plain(narrow(variant))
        file = tmp_path / f"{variant.replace(' ', '-')}.xml"
        convert_model(model, str(file))
        sizes = [(1, 1), (33, 50)] if len(model.input_shape) == 4 else [(1, 1, 1), (5, 18, 9)]
        for size in sizes:
            x = np.random.default_rng(2).normal(size=(2, *size, 1)).astype(np.float32)
            expected = np.asarray(model(x, training=False))
            graph = core.read_model(file)
            assert len(graph.outputs) == 1
            graph.reshape(list(x.shape))
            compiled = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            found = compiled(x)[0]
            assert found.shape == expected.shape
            np.testing.assert_allclose(found, expected, atol=1e-4, err_msg=f"{variant} {size}")
