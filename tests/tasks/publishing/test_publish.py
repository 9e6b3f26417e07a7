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
from tasks.work import WorkFolder


def staged(out: Path, *, key: str = "k", **files: str) -> WorkFolder:
    work = WorkFolder(out, "x", key)
    work.result.mkdir(parents=True)
    for name, text in files.items():
        (work.result / name.replace("_", ".")).write_text(text)
    return work


RECORD = {
    "status": "done",
    "input": {"path": "/data/a.tif", "digest": "sha256:a"},
    "bundle": {"digest": "sha256:b"},
    "parameters_digest": "sha256:p",
    "blocks": {},
    "warnings": [],
}
DIGESTS = {"image_digest": "sha256:a", "bundle_digest": "sha256:b", "parameters_digest": "sha256:p"}


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


def test_a_new_item_appears_whole(tmp_path):
    publish(staged(tmp_path, mask_tif="m"), record=RECORD)
    assert names(tmp_path / "x") == {"mask.tif", "run.json"}
    assert read_record(tmp_path / "x" / "run.json") == {**RECORD, "files": {"mask.tif": 1}}


def test_an_item_is_replaced_and_foreign_files_stay(tmp_path):
    publish(staged(tmp_path, mask_tif="1", old_txt="o"), record=RECORD)
    (tmp_path / "x" / "mine.doc").write_text("mine")
    publish(staged(tmp_path, mask_tif="2"), record=RECORD)
    assert names(tmp_path / "x") == {"mask.tif", "run.json", "mine.doc"}
    assert (tmp_path / "x" / "mask.tif").read_text() == "2"


def test_interrupted_while_replacing_the_item_does_not_exist_and_the_next_run_mends_it(tmp_path, monkeypatch):
    publish(staged(tmp_path, mask_tif="1", old_txt="1"), record=RECORD)
    real = Path.replace

    def stop(self, target):
        if self.name == "mask.tif":
            raise KeyboardInterrupt
        return real(self, target)

    work = staged(tmp_path, mask_tif="2")
    monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        publish(work, record=RECORD)
    monkeypatch.undo()
    assert read_record(tmp_path / "x" / "run.json") is None
    check_item_free(work, image=Path("/data/a.tif"), digest="sha256:new")
    with pytest.raises(InputError, match="already holds"):
        check_item_free(work, image=Path("/data/b.tif"), digest="sha256:new")
    publish(staged(tmp_path, key="again", mask_tif="3"), record=RECORD)
    assert names(tmp_path / "x") == {"mask.tif", "run.json"}
    assert not (work.root / "replaced.json").exists()


def test_a_record_cannot_name_files_outside(tmp_path):
    outside = tmp_path / "precious"
    outside.write_text("p")
    publish(staged(tmp_path, mask_tif="1"), record=RECORD)
    record = tmp_path / "x" / "run.json"
    record.write_text(json.dumps({**RECORD, "files": {"../precious": 1, "..": 1}}))
    publish(staged(tmp_path, mask_tif="2"), record=RECORD)
    assert outside.read_text() == "p"


def test_done_needs_all_three_digests_no_failed_tile_and_every_file(tmp_path):
    final = tmp_path / "x"
    assert is_done(final, **DIGESTS) is None
    publish(staged(tmp_path, mask_tif="m", a_csv="abc"), record=RECORD)
    done = is_done(final, **DIGESTS)
    assert done is not None
    for name in DIGESTS:
        assert is_done(final, **{**DIGESTS, name: "sha256:z"}) is None
    (final / "a.csv").write_text("ab")
    assert is_done(final, **DIGESTS) is None
    (final / "a.csv").write_text("abc")
    assert is_done(final, **DIGESTS) == done
    (final / "mask.tif").unlink()
    assert is_done(final, **DIGESTS) is None
    (final / "mask.tif").write_text("m")
    (final / "run.json").write_text(json.dumps({**done, "status": "partial"}))
    assert is_done(final, **DIGESTS) is None


def test_an_item_held_by_another_input_is_refused(tmp_path):
    work = staged(tmp_path, mask_tif="m")
    publish(work, record=RECORD)
    check_item_free(work, image=Path("/data/a.tif"), digest="sha256:new")
    check_item_free(work, image=Path("/moved/a.tif"), digest="sha256:a")
    with pytest.raises(InputError, match=r"/data/a\.tif.*--item"):
        check_item_free(work, image=Path("/data/b.tif"), digest="sha256:new")


@pytest.mark.parametrize("record", [None, "{}", "no json"])
def test_a_folder_of_other_origin_is_refused(tmp_path, record):
    work = WorkFolder(tmp_path, "x")
    work.final.mkdir()
    check_item_free(work, image=Path("/data/a.tif"), digest="d")
    (work.final / "mask.tif").write_text("my ground truth")
    if record:
        (work.final / "run.json").write_text(record)
    with pytest.raises(InputError, match="not a result of segflow"):
        check_item_free(work, image=Path("/data/a.tif"), digest="d")


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "x").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        check_item_free(WorkFolder(tmp_path, "x"), image=Path("/data/a.tif"), digest="d")


def test_an_image_inside_its_own_result_is_refused(tmp_path):
    work = staged(tmp_path, mask_tif="m")
    publish(work, record=RECORD)
    with pytest.raises(InputError, match="its own result"):
        check_item_free(work, image=work.final / "mask.tif", digest="sha256:a")


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


def test_what_lies_beside_an_image_and_changes_it_counts(tmp_path):
    image = tmp_path / "a.tif"
    image.write_bytes(b"one")
    alone = input_digest(image, cache=tmp_path / "c")
    (tmp_path / "a.tif.ovr").write_bytes(b"overviews")
    assert input_digest(image, cache=tmp_path / "c") == alone
    (tmp_path / "a.tif.msk").write_bytes(b"mask")
    masked = input_digest(image, cache=tmp_path / "c")
    assert masked != alone
    (tmp_path / "a.tif.msk").write_bytes(b"mask 2")
    assert input_digest(image, cache=tmp_path / "c") not in (alone, masked)


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
