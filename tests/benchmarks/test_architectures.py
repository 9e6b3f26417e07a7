"""The table of models: every architecture is in it, and a row says what was measured."""

from benchmarks import architectures
from benchmarks.architectures import ENTRIES, table, write_table
from segmodels.registry import ARCHITECTURES

MACHINE = {"processor": "P", "cores": "2", "memory": "1 GiB", "load at start": "0.1"}
ROW = {
    "name": "residual_unet",
    "ndim": 3,
    "backbone": "",
    "parameters": 1_234_567,
    "strides": [2, 8, 8],
    "radius": [5, 5, 5],
    "pixels_per_second": 12_345_678.0,
    "engine": "openvino 1 bfloat16",
}


def test_every_architecture_and_kind_of_backbone_is_measured_once():
    assert {e.name for e in ENTRIES} == set(ARCHITECTURES)
    assert len(set(ENTRIES)) == len(ENTRIES)
    for entry in ENTRIES:
        kind = ARCHITECTURES[entry.name]
        assert entry.ndim in kind.ndims
        assert bool(entry.backbone) == kind.backbone


def test_a_row_in_the_document(tmp_path, monkeypatch):
    line = table([ROW], MACHINE).splitlines()[-1]
    assert line == "| `residual_unet` | 3 | – | 1.2 M | 2 × 8 × 8 | 5 | 12.3 | openvino 1 bfloat16 |"
    document = tmp_path / "models.md"
    document.write_text(f"before\n{architectures.START}\nold\n{architectures.END}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(architectures, "DOCUMENT", document)
    for _ in range(2):
        write_table([ROW])
    text = document.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert text.count(line) == 1
    assert "old" not in text
    assert architectures.START in (architectures.ROOT / "docs" / "models.md").read_text(encoding="utf-8")
