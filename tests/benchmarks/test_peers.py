"""The peers' lock file: pinned, hashed, without addresses."""

import re
from pathlib import Path

from packaging.requirements import Requirement

FILE = Path(__file__).parents[2] / "requirements-peers.txt"


def test_everything_is_pinned_and_hashed_and_names_no_address() -> None:
    text = FILE.read_text(encoding="utf-8")
    addresses = re.findall(r"://|\bwww\.|@ |^\s*-(?!-hash=)", text, re.MULTILINE)
    assert not addresses
    lines = re.sub(r"\\\n", " ", text).splitlines()
    pins = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    for line in pins:
        (only,) = Requirement(line.split("--hash=")[0]).specifier
        assert only.operator == "=="
        assert re.findall(r"--hash=sha256:[0-9a-f]{64}(?!\w)", line), line
    names = {Requirement(line.split("--hash=")[0]).name for line in pins}
    assert {"monai", "numpy", "segmentation-models-pytorch", "torch"} <= names
    assert not any(name.startswith(("nvidia", "cuda", "triton")) for name in names)
