"""Reading a compressed volume for a run: inflated once, whatever the number of passes and blocks."""

from __future__ import annotations

import gzip
import itertools
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.harness import Figure, Goal, Row, Settings, interleave, ratios, seconds
from tasks.imagery.protocol import Image

SHAPE = (512, 512, 800)
BLOCK, HALO = 256, 32
#: Bytes that are inflated at once for comparison.
PIECE = 1 << 20

READS = """
import json, resource, sys, time
from pathlib import Path
from benchmarks.rows.inflate import all_reads
import tasks.imagery.volume.nifti
from tasks.imagery.open import open_image

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
all_reads(open_image(sys.argv[1], scratch=Path(sys.argv[2])))
spent = time.perf_counter() - start
print(json.dumps([spent, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024]))
"""


def volume(folder: Path, slices: int) -> Path:
    """A smooth volume with noise of a scanner's size, written slice by slice."""
    import nibabel as nib

    path = folder / f"scan-{slices}.nii.gz"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    header = nib.Nifti1Header()
    header.set_data_dtype("<i2")
    header.set_data_shape((*SHAPE[:2], slices))
    header.set_sform(np.diag([0.7, 0.7, 1.0, 1.0]), 1)
    header["vox_offset"] = 352
    rng = np.random.default_rng(0)
    ramp = np.add.outer(np.arange(SHAPE[0]), np.arange(SHAPE[1])) * 0.5 - 500
    part = path.with_suffix(".part")
    with gzip.open(part, "wb", 1) as out:
        header.write_to(out)
        for k in range(slices):
            out.write((ramp + 0.3 * k + rng.normal(0, 12, SHAPE[:2])).astype("<i2").tobytes(order="F"))
    part.replace(path)
    return path


def all_reads(image: Image) -> None:
    """Reads an image as a run does: once for its statistics, once in blocks with their halo."""
    shape = image.info.shape
    for z in range(0, shape[0], 16):
        image.read((slice(z, min(z + 16, shape[0])), slice(0, shape[1]), slice(0, shape[2])))
    for low in itertools.product(*(range(0, n, BLOCK) for n in shape)):
        ends = zip(low, shape, strict=True)
        image.read(tuple(slice(max(0, a - HALO), min(n, a + BLOCK + HALO)) for a, n in ends))
    image.close()


def measure(settings: Settings) -> Sequence[Figure]:
    """Seconds of all reads over those of one inflation, in processes of their own, in turns."""
    slices = max(16, round(SHAPE[2] * settings.scale))
    path = volume(settings.work / "images", slices)
    scratch = settings.work / "inflated"

    def plain() -> tuple[float, float]:
        start = time.perf_counter()
        with gzip.open(path) as f:
            while f.read(PIECE):
                pass
        return time.perf_counter() - start, 0.0

    def reads() -> tuple[float, float]:
        shutil.rmtree(scratch, ignore_errors=True)
        command = [sys.executable, "-c", READS, str(path), str(scratch)]
        spent, memory = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
        shutil.rmtree(scratch, ignore_errors=True)
        return spent, memory

    found = interleave({"plain": plain, "reads": reads}, repeats=settings.repeats, note=settings.note)
    times = {name: [t for t, _ in values] for name, values in found.items()}
    about = {
        "image": f"{SHAPE[0]}×{SHAPE[1]}×{slices} int16, {path.stat().st_size / 2**20:.0f} MiB of gzip",
        "seconds of all reads": seconds(times["reads"]),
        "seconds of one inflation": seconds(times["plain"]),
    }
    return [
        Figure(
            "all reads of a run on a .nii.gz over one plain inflation",
            ratios(times["reads"], times["plain"]),
            goal=Goal("≤", 1.3),
            details=about,
        ),
        Figure(
            "peak memory of these reads",
            tuple(m / 2**20 for _, m in found["reads"]),
            unit="MiB",
            goal=Goal("≤", 256),
            details={"blocks": f"{BLOCK}³ with a halo of {HALO}"},
        ),
    ]


ROW = Row("inflate", "reading a compressed volume for a run", measure)
