"""Block files: whole or not there, torn ones noticed, every array back as it was."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tasks.blocks.blockfile import (
    SLAB_BYTES,
    BlockFile,
    BlockWriter,
    TileFailure,
    block_path,
    is_finished,
)
from tasks.files import atomic_write


def write(folder, number=3, rows=40):
    rng = np.random.default_rng(0)
    arrays = {
        "sums": rng.integers(0, 1 << 32, (2, rows, 50), np.uint32),
        "status": rng.integers(0, 4, (rows, 50)).astype(np.uint8),
    }
    with atomic_write(block_path(folder, number)) as stream:
        writer = BlockWriter(stream)
        writer.add("sums", (7, 9), arrays)
        writer.add("final", (0, 0), {"codes": arrays["status"][:1], "confidence": arrays["status"][:1]})
        writer.attach({"rows": arrays["status"][:, :3]})
        writer.close(failures=[TileFailure((1, 2), "why")])
    return arrays


def test_arrays_come_back(tmp_path):
    arrays = write(tmp_path, rows=3 * SLAB_BYTES // (50 * 9))
    file = BlockFile(block_path(tmp_path, 3), verify=True)
    assert file.failures == [TileFailure((1, 2), "why")]
    np.testing.assert_array_equal(file.attached("rows"), arrays["status"][:, :3])
    assert file.attached("columns") is None
    slabs = [s for s in file.slabs if s.kind == "sums"]
    assert len(slabs) >= 3
    assert slabs[0].low == (7, 9)
    for name, axis in (("sums", 1), ("status", 0)):
        whole = np.concatenate([file.read(s, name) for s in slabs], axis=axis)
        np.testing.assert_array_equal(whole, arrays[name])
    assert all(a.high[0] == b.low[0] for a, b in itertools.pairwise(slabs))


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other"])
def test_a_torn_file_is_not_finished_and_is_removed(tmp_path, damage):
    write(tmp_path)
    path = block_path(tmp_path, 3)
    assert is_finished(tmp_path, 3)
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[:-7]
    elif damage == "flip":
        data[len(data) // 2] ^= 1
    elif damage == "empty":
        data = bytearray()
    else:
        data = bytearray(b"x" * 500)
    path.write_bytes(data)
    assert not is_finished(tmp_path, 3)
    assert not path.exists()
    assert not is_finished(tmp_path, 4)
