"""``python -m benchmarks.copy SOURCE TARGET``: what ``gdal_translate`` does for a plain copy, timed."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import time
from pathlib import Path

OPTIONS = {
    "COMPRESS": "ZSTD",
    "TILED": "YES",
    "BLOCKXSIZE": "512",
    "BLOCKYSIZE": "512",
    "BIGTIFF": "IF_SAFER",
    "NUM_THREADS": "2",
}


def main() -> None:
    """Copies once, by ``gdal_translate`` if it is installed, else by the same library in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--level", type=int, help="ZSTD level; GDAL's default otherwise")
    asked = parser.parse_args()
    options = OPTIONS | ({"ZSTD_LEVEL": str(asked.level)} if asked.level else {})
    program = shutil.which("gdal_translate")
    if program:
        pairs = [part for key, value in options.items() for part in ("-co", f"{key}={value}")]
        begin = time.perf_counter()
        subprocess.run([program, "-q", *pairs, str(asked.source), str(asked.target)], check=True)
        by = "gdal_translate"
    else:
        import rasterio
        import rasterio.shutil

        begin = time.perf_counter()
        rasterio.shutil.copy(str(asked.source), str(asked.target), driver="GTiff", **options)
        by = f"GDAL {rasterio.__gdal_version__} through rasterio"
    seconds = time.perf_counter() - begin
    size = asked.target.stat().st_size
    asked.target.unlink()
    print(json.dumps({"seconds": seconds, "by": by, "bytes": size}))


if __name__ == "__main__":
    main()
