"""Publishing: complete or not there, foreign files kept, other inputs refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tasks.errors import InputError, OutputError, OwnedError
from tasks.files import atomic_write
from tasks.publishing.digests import input_digest
from tasks.publishing.ownership import owned
from tasks.publishing.publish import check_item_free, is_done, publish, read_record


def staged(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


RECORD = {
    "status": "done",
    "input": {"path": "/data/a.tif", "digest": "sha256:a"},
    "bundle": {"digest": "sha256:b"},
    "parameters_digest": "sha256:p",
    "files": ["mask.tif", "old.txt", "run.json"],
}


def test_a_new_item_appears_whole(tmp_path):
    publish(staged(tmp_path / "s", mask_tif="m"), tmp_path / "out" / "x", record=RECORD)
    assert {p.name for p in (tmp_path / "out" / "x").iterdir()} == {"mask.tif", "run.json"}
    assert read_record(tmp_path / "out" / "x") == RECORD


def test_an_item_is_replaced_and_foreign_files_stay(tmp_path):
    final = tmp_path / "x"
    publish(staged(tmp_path / "s1", mask_tif="1", old_txt="o"), final, record=RECORD)
    (final / "mine.doc").write_text("mine")
    publish(
        staged(tmp_path / "s2", mask_tif="2"), final, record={**RECORD, "files": ["mask.tif", "run.json"]}
    )
    assert {p.name for p in final.iterdir()} == {"mask.tif", "run.json", "mine.doc"}
    assert (final / "mask.tif").read_text() == "2"


def test_interrupted_while_replacing_the_item_does_not_exist(tmp_path, monkeypatch):
    final = tmp_path / "x"
    publish(staged(tmp_path / "s1", mask_tif="1", a_txt="1"), final, record=RECORD)
    real = Path.replace

    def stop(self, target):
        if self.name == "mask.tif":
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        publish(staged(tmp_path / "s2", mask_tif="2", a_txt="2"), final, record=RECORD)
    assert read_record(final) is None


def test_a_record_cannot_name_files_outside(tmp_path):
    outside = tmp_path / "precious"
    outside.write_text("p")
    final = tmp_path / "x"
    publish(staged(tmp_path / "s1", mask_tif="1"), final, record={**RECORD, "files": ["../precious", ".."]})
    publish(staged(tmp_path / "s2", mask_tif="2"), final, record=RECORD)
    assert outside.read_text() == "p"


def test_done_needs_all_three_digests_and_no_failed_tile(tmp_path):
    final = tmp_path / "x"
    digests = {"image_digest": "sha256:a", "bundle_digest": "sha256:b", "parameters_digest": "sha256:p"}
    assert is_done(final, **digests) is None
    publish(staged(tmp_path / "s", mask_tif="m"), final, record=RECORD)
    assert is_done(final, **digests) == RECORD
    for name in digests:
        assert is_done(final, **{**digests, name: "sha256:z"}) is None
    (final / "run.json").write_text(json.dumps({**RECORD, "status": "partial"}))
    assert is_done(final, **digests) is None


def test_an_item_held_by_another_input_is_refused(tmp_path):
    final = tmp_path / "x"
    publish(staged(tmp_path / "s", mask_tif="m"), final, record=RECORD)
    check_item_free(final, item="x", image=Path("/data/a.tif"), digest="sha256:new")
    check_item_free(final, item="x", image=Path("/moved/a.tif"), digest="sha256:a")
    with pytest.raises(InputError, match=r"/data/a\.tif.*--item"):
        check_item_free(final, item="x", image=Path("/data/b.tif"), digest="sha256:new")


def test_one_owner_at_a_time(tmp_path):
    second = owned(tmp_path / "w", item="x")
    with owned(tmp_path / "w", item="x"), pytest.raises(OwnedError, match=f"process {os.getpid()}"):
        second.__enter__()
    with owned(tmp_path / "w", item="x"):
        pass


def test_the_digest_follows_the_content(tmp_path, monkeypatch):
    image = tmp_path / "a.tif"
    image.write_bytes(b"one")
    first = input_digest(image, cache=tmp_path / "c")
    monkeypatch.setattr("tasks.publishing.digests.file_digest", lambda _: pytest.fail("read again"))
    assert input_digest(image, cache=tmp_path / "c") == first
    monkeypatch.undo()
    image.write_bytes(b"two!")
    assert input_digest(image, cache=tmp_path / "c") != first
    import hashlib

    assert first == "sha256:" + hashlib.sha256(b"one").hexdigest()


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path):
    image = tmp_path / "a.tif"
    image.write_bytes(b"one")
    (tmp_path / "file").write_text("in the way")
    assert input_digest(image, cache=tmp_path / "file" / "c").startswith("sha256:")


def test_atomic_write_leaves_nothing_behind(tmp_path, monkeypatch):
    target = tmp_path / "a.bin"

    def half():
        with atomic_write(target) as stream:
            stream.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert list(tmp_path.iterdir()) == []

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="disk is full"), atomic_write(target) as stream:
        stream.write(b"x")
    assert list(tmp_path.iterdir()) == []
