"""What ``auto`` takes: who is asked, who wins, what is remembered."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import segmodels
from segmodels.bundles.bundle import load_bundle
from segmodels.bundles.card import Card, ChannelCard, ClassCard
from segmodels.bundles.write import write_bundle
from segmodels.engines import choosing
from segmodels.engines.choosing import Choice, best, candidates, choose
from segmodels.engines.measure import Measured, Measurement, measure
from segmodels.errors import EngineError

needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
OPENVINO, OPENVINO_COARSE = Choice("openvino", "float32"), Choice("openvino", "bfloat16")
TENSORFLOW, TENSORFLOW_COARSE = Choice("tensorflow", "float32"), Choice("tensorflow", "bfloat16")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    from segmodels.engines.on_keras import use_keras

    keras = use_keras("tensorflow")
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 1))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, padding="same")(inputs))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1)(x))
    card = Card(
        name="tiny",
        ndims=(2,),
        classes=tuple(ClassCard(name=n, code=i, colour="#102030") for i, n in enumerate("ab")),
        channels=(ChannelCard(name="v"),),
        tile=(16, 16),
    )
    golden = np.random.default_rng(0).normal(size=(1, 16, 16, 1)).astype(np.float32)
    return write_bundle(tmp_path_factory.mktemp("b") / "tiny", card=card, model=model, golden_input=golden)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """For the tests that really measure: the model is converted once."""
    return tmp_path_factory.mktemp("cache")


class Machine:
    """Decides what is installed and how fast it is, and counts the measurements."""

    def __init__(self, monkeypatch, folder):
        self.here, self.gpu, self.bfloat16 = {"openvino", "tensorflow"}, False, True
        self.seconds, self.refused, self.asked = {}, set(), []
        monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(folder / name))
        monkeypatch.setattr(choosing, "installed", lambda name: name in self.here)
        monkeypatch.setattr(choosing, "has_nvidia", lambda: self.gpu)
        monkeypatch.setattr(choosing, "gpu_names", lambda: ("a GPU",) * self.gpu)
        monkeypatch.setattr(choosing, "cpu_bfloat16", lambda: self.bfloat16)
        monkeypatch.setattr(choosing, "measure", self.measure)
        monkeypatch.delenv("KERAS_BACKEND", raising=False)

    def measure(self, bundle, engine, precisions, *, batch, tile):
        self.asked.append((engine, tuple(precisions)))
        rows = []
        for p in precisions:
            refused = "wrong" if Choice(engine, p) in self.refused else None
            rows.append(
                Measurement(engine, p, "lib", self.seconds.get(Choice(engine, p), 1.0), refused=refused)
            )
        return Measured((), tuple(rows))


@pytest.fixture
def machine(monkeypatch, tmp_path):
    return Machine(monkeypatch, tmp_path)


def test_who_is_asked(machine, network, monkeypatch):
    assert candidates(network) == [[OPENVINO, OPENVINO_COARSE], [TENSORFLOW, TENSORFLOW_COARSE]]
    assert candidates(network, precision="float32") == [[OPENVINO], [TENSORFLOW]]
    assert candidates(network, "openvino") == [[OPENVINO, OPENVINO_COARSE]]
    assert candidates(network, precision="int8") == [[Choice("openvino", "int8")]]
    assert candidates(load_bundle("water-ndwi")) == [[Choice("method", "float32")]]
    machine.bfloat16 = False
    assert candidates(network) == [[OPENVINO], [TENSORFLOW]]
    machine.here = {"tensorflow", "jax", "torch"}
    assert candidates(network) == [[TENSORFLOW, Choice("jax", "float32"), Choice("torch", "float32")]]
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert candidates(network) == [[Choice("jax", "float32")]]
    monkeypatch.setenv("KERAS_BACKEND", "openvino")  # Keras has a backend of that name, too
    assert len(candidates(network)[0]) == 3
    machine.here, machine.gpu = {"openvino", "tensorflow"}, True
    assert candidates(network) == [[OPENVINO, TENSORFLOW, TENSORFLOW_COARSE]]
    machine.here = set()
    assert candidates(network) == [[TENSORFLOW]]


def test_who_wins():
    def row(choice, seconds, refused=None):
        return Measurement(choice.engine, choice.precision, "", seconds, refused=refused)

    rows = [row(OPENVINO, 1.0), row(OPENVINO_COARSE, 0.5), row(TENSORFLOW, 0.8), row(TENSORFLOW_COARSE, 0.4)]
    assert best(rows) == rows[3]
    assert best(rows[:3]) == rows[1]
    assert best([row(OPENVINO, 1.0), row(OPENVINO_COARSE, 0.95)]).precision == "float32"  # hardly worth it
    assert best([row(OPENVINO, 1.0), row(OPENVINO_COARSE, 0.1, "wrong")]).precision == "float32"
    assert best([row(OPENVINO, 1.0, "wrong"), row(OPENVINO_COARSE, 2.0)]).precision == "bfloat16"
    assert best([row(OPENVINO, 1.0, "wrong")]) is None


def test_measured_once_for_each_tile_batch_bundle_and_version(machine, network, monkeypatch):
    machine.seconds = {OPENVINO_COARSE: 0.5, OPENVINO: 1.0}
    for _ in range(2):
        assert choose(network, batch=1, tile=(16, 16)) == OPENVINO_COARSE
    assert machine.asked == [("openvino", ("float32", "bfloat16"))]  # the others never
    machine.seconds = {OPENVINO_COARSE: 2.0}
    assert choose(network, batch=1, tile=(16, 16)) == OPENVINO_COARSE  # remembered
    for change in ({"batch": 2}, {"tile": (32, 16)}, {"engine": "openvino"}):
        assert choose(network, **{"batch": 1, "tile": (16, 16), **change}) == OPENVINO
    monkeypatch.setattr(choosing, "library_version", lambda name: "99")
    assert choose(network, batch=1, tile=(16, 16)) == OPENVINO
    assert len(machine.asked) == 5


def test_one_way_is_not_measured(machine, network):
    assert choose(network, engine="openvino", precision="float32", batch=1, tile=(16, 16)) == OPENVINO
    assert choose(network, precision="int8", batch=1, tile=(16, 16)) == Choice("openvino", "int8")
    assert choose(load_bundle("water-ndwi"), batch=1, tile=(16, 16)).engine == "method"
    assert machine.asked == []


def test_the_reference_takes_over_where_all_before_it_are_refused(machine, network):
    machine.refused = {OPENVINO, OPENVINO_COARSE}
    machine.seconds = {TENSORFLOW_COARSE: 0.5}
    assert choose(network, batch=1, tile=(16, 16)) == TENSORFLOW_COARSE
    machine.refused |= {TENSORFLOW, TENSORFLOW_COARSE}
    with pytest.raises(EngineError, match=r"openvino at float32: wrong; .*tensorflow at bfloat16: wrong"):
        choose(network, batch=2, tile=(16, 16))


def test_a_damaged_memory_is_measured_again(machine, network, tmp_path):
    choose(network, batch=1, tile=(16, 16))
    (file,) = (tmp_path / "segflow" / "engines").glob("*.json")
    for damage in ("", "{", "[]", '{"engine": "tpu", "precision": "float32"}', '{"engine": "openvino"}'):
        file.write_text(damage)
        assert choose(network, batch=1, tile=(16, 16)) == OPENVINO
        assert json.loads(file.read_text())["engine"] == "openvino"
    assert len(machine.asked) == 6


def test_a_cache_that_cannot_be_written_only_costs_time(machine, network, tmp_path):
    (tmp_path / "segflow").write_text("a file where the folder should be")
    for _ in range(2):
        assert choose(network, batch=1, tile=(16, 16)) == OPENVINO
    assert len(machine.asked) == 2


@needs_openvino
def test_a_process_measures_and_says_why_it_refuses(network, monkeypatch, cache):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    found = measure(network, "openvino", ["float32"], batch=2, tile=(16, 16), bare=True)
    (fine,) = found.rows
    assert "CPU" in found.devices
    assert (fine.engine, fine.precision, fine.refused) == ("openvino", "float32", None)
    assert fine.library.startswith("openvino ")
    assert 0 < fine.seconds < float("inf")
    assert fine.bare_seconds is not None
    method = load_bundle("water-ndwi")
    fine, coarse = measure(method, "method", ["float32", "bfloat16"], batch=1, tile=(16, 16)).rows
    assert fine.refused is None
    assert "always computed in float32" in str(coarse.refused)
    (impossible,) = measure(method, "openvino", ["float32"], batch=1, tile=(16, 16)).rows
    assert impossible.refused


@needs_openvino
def test_two_processes_at_once_agree_and_no_tensorflow_is_loaded(network, cache):
    script = (
        "import sys\n"
        "from segmodels import load_bundle\n"
        "from segmodels.engines.choosing import choose\n"
        f"c = choose(load_bundle({str(network.path)!r}), batch=1, tile=(16, 16))\n"
        "assert 'tensorflow' not in sys.modules\n"
        "print(c.engine, c.precision)\n"
    )
    root = str(Path(segmodels.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": root, "XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, "-c", script]
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    answers = [process.communicate()[0] for process in running]
    assert answers[0] == answers[1]
    assert answers[0].startswith("openvino ")
    (file,) = (cache / "segflow" / "engines").glob("*.json")
    assert " ".join(json.loads(file.read_text())[k] for k in ("engine", "precision")) == answers[0].strip()
