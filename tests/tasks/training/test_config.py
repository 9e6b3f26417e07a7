"""A configuration says what it means, and its mistakes name their remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tasks.errors import UsageError
from tasks.training.config import parse_config, read_config, write_yaml
from tasks.training.recipes import find_config, recipes

PLAIN = {"name": "a", "patch": [32, 32], "steps": 5}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bacth": 4}, "'bacth'; did you mean 'batch'?"),
        ({"optimiser": {"learning_rat": 1}}, "'optimiser.learning_rat'; did you mean 'learning_rate'?"),
        ({"loss": [{"kind": "dice", "wieght": 1}]}, "'loss.0.wieght'; did you mean 'weight'?"),
        ({"data": {"pathh": "x"}}, "'data.pathh'; did you mean 'path'?"),
        ({"data": {"manifest": {"itmes": []}}}, "'data.manifest.itmes'; did you mean 'items'?"),
        ({"data": {"manifest": {"items": [{"image": "a", "maks": "b"}]}}}, "did you mean 'mask'?"),
        ({"data": {"manifest": {"items": [{"image": "a", "parts": {"train": [":"]}}]}}}, "is no box"),
        ({"postprocess": [{"kind": "biggest", "class_name": "a"}]}, "postprocess"),
        ({"augment": [{"kind": "flipp"}]}, "no step 'flipp'; did you mean 'flip'?"),
        ({"augment": [{"kind": "tint", "gian": 1}]}, "no option 'gian'; did you mean 'gain'?"),
        ({"minutes": 3}, "either steps or minutes"),
        ({"patch": None}, "patch"),
        ({"batch": 0}, "batch"),
    ],
)
def test_mistakes_are_one_sentence_with_the_nearest_key(change: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_config({**PLAIN, **change}, named="a.yaml")
    assert said in str(caught.value)
    assert str(caught.value).startswith("a.yaml: ")
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named_after_the_misspelt_one() -> None:
    with pytest.raises(UsageError, match="did you mean 'patch'"):
        parse_config({"name": "a", "steps": 1, "pacth": [8, 8]}, named="x")
    with pytest.raises(UsageError, match="'patch' is missing"):
        parse_config({"name": "a", "steps": 1}, named="x")


@pytest.mark.parametrize("name", sorted(recipes()))
def test_what_is_written_reads_the_same(name: str, tmp_path: Path) -> None:
    config = read_config(recipes()[name])
    path = tmp_path / "config.yaml"
    path.write_text(write_yaml(config))
    assert read_config(path) == config


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither a file nor a recipe"):
        find_config("nucleus")
    assert find_config("nuclei").name == "nuclei.yaml"
    path = tmp_path / "config.yaml"
    path.write_text("a: [")
    with pytest.raises(UsageError, match="is not YAML"):
        read_config(path)
    path.write_text("- 1")
    with pytest.raises(UsageError, match="holds no keys"):
        read_config(path)


def test_every_recipe_builds_its_network_and_losses() -> None:
    from segmodels.losses import make_loss
    from segmodels.registry import ARCHITECTURES, options_of

    for name, path in recipes().items():
        config = read_config(path)
        assert config.name == name
        assert yaml.safe_load(path.read_text())["name"] == name
        assert set(config.model.options) <= set(options_of(config.model.architecture))
        assert len(config.patch) in ARCHITECTURES[config.model.architecture].ndims
        for term in config.loss:
            make_loss(term.kind, **term.options)
