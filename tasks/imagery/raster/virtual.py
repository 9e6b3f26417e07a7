"""Virtual rasters (VRT): other files seen as one image, each of them checked before GDAL sees any.

GDAL never opens the file itself. What is known to be harmless is written anew, with the sources' real
paths, and GDAL opens that text: what was checked is what is read, whatever another parser would make of
the file. A source is a local file inside the allowed folders; only the user names addresses.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import rasterio
from rasterio.errors import RasterioError

from tasks.errors import InputError
from tasks.imagery.raster.dataset import RasterImage
from tasks.imagery.raster.drivers import ERDAS as HFA
from tasks.imagery.raster.drivers import JPEG, JPEG2000, PNG, starts_with
from tasks.imagery.raster.gdal import Target, brief, check_beside, gdal
from tasks.imagery.raster.tiff_header import check_tiff, is_tiff
from tasks.imagery.source import Source
from tasks.imagery.wanted import Wanted

#: Folders besides the virtual raster's own in which its sources may lie.
ROOTS = "SEGFLOW_ROOTS"
#: Bytes of one virtual raster, and of all that it holds.
MOST_BYTES = 32 << 20
#: Virtual rasters inside virtual rasters.
MOST_LEVELS = 3
MOST_SOURCES = 100_000

_SOURCES = {"SourceFilename", "SourceDataset"}
_PLACES = {"SRS", "SourceSRS", "TargetSRS"}
_CLASSES = {
    "VRTDataset": {"VRTWarpedDataset"},
    "VRTRasterBand": {"VRTSourcedRasterBand", "VRTDerivedRasterBand", "VRTWarpedRasterBand"},
}
#: Of the image and its bands; of sources; of bands that GDAL's own functions compute; of other grids.
_HARMLESS = """
GeoTransform GCPList GCP Metadata MDI BlockXSize BlockYSize MaskBand OverviewList Overview Description UnitType
Offset Scale CategoryNames Category ColorTable Entry ColorInterp NoDataValue HideNoDataValue Histograms HistItem
HistMin HistMax BucketCount IncludeOutOfRange Approximate HistCounts

SimpleSource ComplexSource AveragedSource NoDataFromMaskSource KernelFilteredSource Kernel Size Coefs SourceBand
SourceProperties SrcRect DstRect NODATA ScaleOffset ScaleRatio ColorTableComponent LUT Exponent SrcMin SrcMax
DstMin DstMax Clamp UseMaskBand MaskValueThreshold RemappedValue

PixelFunctionType PixelFunctionArguments PixelFunctionLanguage SourceTransferType BufferRadius
SkipNonContributingSources

GDALWarpOptions WarpMemoryLimit ResampleAlg WorkingDataType Option Options Transformer ApproxTransformer MaxError
BaseTransformer GenImgProjTransformer ReprojectTransformer ReprojectionTransformer SrcGeoTransform
SrcInvGeoTransform DstGeoTransform DstInvGeoTransform BandList BandMapping SrcNoDataReal SrcNoDataImag
DstNoDataReal DstNoDataImag Cutline CutlineBlendDist SrcAlphaBand DstAlphaBand
"""
_ELEMENTS = _SOURCES | _PLACES | set(_CLASSES) | set(_HARMLESS.split())
#: Metadata that GDAL takes for data; those of other domains may name files.
_DOMAINS = {"", "IMAGE_STRUCTURE", "RPC"}
_FIT_FOR = "convert it with gdal_translate -of COG where it was made"


@dataclass
class Virtual:
    """A virtual raster that was checked.

    Attributes:
        text: What GDAL may open.
        files: The file itself and all its sources, those of virtual rasters inside it included.
    """

    text: str
    files: list[Path] = field(default_factory=list)


def open_virtual(source: Source, *, scratch: Path, wanted: Wanted) -> RasterImage:
    """Opens a VRT; see ``tasks.imagery.formats.Format``.

    Raises:
        InputError: It, or what it names, is refused.
    """
    virtual = check_virtual(source.local)
    return RasterImage(Target(source, virtual.text, "VRT", "vrt", "a VRT", alone=True), wanted)


def check_virtual(path: Path) -> Virtual:
    """Reads a virtual raster and checks all that it names.

    Raises:
        InputError: It is damaged, too large, or names what no image may name.
    """
    roots = [
        path.resolve().parent,
        *(Path(r).resolve() for r in os.environ.get(ROOTS, "").split(os.pathsep) if r),
    ]
    return _Reader(path, roots).read(path.resolve(), level=1)


class _Reader:
    """Reads a virtual raster with those inside it."""

    def __init__(self, first: Path, roots: Sequence[Path]) -> None:
        self._first = first
        self._roots = roots
        self._bytes = 0
        self._count = 0
        self._checked: dict[Path, str] = {}

    def read(self, path: Path, *, level: int) -> Virtual:
        if level > MOST_LEVELS:
            raise self._refused(f"holds virtual rasters inside one another, more than {MOST_LEVELS} deep")
        root = _parse(path)
        if root.tag != "VRTDataset":
            raise InputError(f"{path} is not a VRT although its name says so; export the image as GeoTIFF.")
        virtual = Virtual("", [path])
        self._clean(root, path, virtual, level)
        virtual.text = ET.tostring(root, encoding="unicode")
        self._bytes += len(virtual.text)
        if self._bytes > 2 * MOST_BYTES:
            raise self._refused("holds more than is sensible")
        return virtual

    def _clean(self, element: ET.Element, path: Path, virtual: Virtual, level: int) -> None:
        if element.tag not in _ELEMENTS:
            raise self._refused(f"holds <{element.tag}>, which virtual rasters may not hold here")
        sub_class = element.get("subClass")
        if sub_class is not None and sub_class not in _CLASSES.get(str(element.tag), ()):
            raise self._refused(f"holds a {sub_class}, which virtual rasters may not hold here")
        text = (element.text or "").strip()
        if element.tag in _PLACES and not re.match(r"([A-Z_0-9]+\[|[A-Za-z]+:[A-Za-z0-9]+$|$)", text):
            raise self._refused(f"has a coordinate system that is no WKT or code ({text[:60]})")
        if element.tag == "PixelFunctionLanguage" and text.lower() != "c":
            raise self._refused(f"computes its pixels by {text[:20]} code, which is never run")
        if element.tag == "Option" and re.search(r"[/\\]", text):
            raise self._refused(f"has an option that looks like a path ({text[:60]})")
        if element.tag in _SOURCES:
            self._source(element, text, path, virtual, level)
        for child in list(element):
            if child.tag == "Metadata" and child.get("domain", "") not in _DOMAINS:
                element.remove(child)
            else:
                self._clean(child, path, virtual, level)

    def _source(self, element: ET.Element, text: str, path: Path, virtual: Virtual, level: int) -> None:
        """Writes a source's real path into the element, or the text of a virtual raster."""
        self._count += 1
        if self._count > MOST_SOURCES:
            raise self._refused(f"names more than {MOST_SOURCES} files")
        given = {k.casefold(): v for k, v in element.attrib.items()}
        element.attrib.clear()
        element.set("relativeToVRT", "0")
        element.set("shared", "0" if given.get("shared") == "0" else "1")
        file = self._allowed(text, path, relative=given.get("relativetovrt") == "1")
        virtual.files.append(file)
        if _is_virtual(file):
            inner = self.read(file, level=level + 1)
            virtual.files += inner.files[1:]
            element.text = inner.text
            return
        if file not in self._checked:
            _check_source(file)
            self._checked[file] = str(file)
        element.text = self._checked[file]

    def _allowed(self, text: str, path: Path, *, relative: bool) -> Path:
        """The real path of a source.

        Raises:
            InputError: It is no local file, or lies outside the allowed folders.
        """
        shown = text if len(text) <= 120 else text[:117] + "…"
        if "://" in text or text.startswith(("/vsi", "\\vsi")):
            raise InputError(
                f"{path} names {shown}, and only the command line may name addresses: copy that file beside it, or "
                "give its address itself."
            )
        try:
            file = (path.parent / text if relative else Path(text)).resolve()
            there = file.is_file()
        except (OSError, ValueError, RuntimeError):
            there = False
        if not text or not there:
            raise InputError(
                f"{path} names {shown or 'an empty path'}, which is no file: mend or make the VRT again."
            )
        if not any(file.is_relative_to(root) for root in self._roots) or str(file).startswith("/vsi"):
            raise InputError(
                f"{path} names {shown}, which lies outside its own folder: move the VRT, or allow that folder with "
                f"{ROOTS}={file.parent}."
            )
        if re.search(r'[<>"]', str(file)):
            raise InputError(f"{path} names {shown}, whose path holds < > or a quotation mark: rename it.")
        return file

    def _refused(self, why: str) -> InputError:
        return InputError(f"{self._first} {why}: {_FIT_FOR}.")


def _parse(path: Path) -> ET.Element:
    """A small XML file without a document type: no entity exists that could grow or name a file."""
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path} is larger than a VRT can sensibly be: {_FIT_FOR}.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise InputError(f"{path} declares a document type or entities, which no VRT needs: {_FIT_FOR}.")
        return ET.fromstring(text)
    except (ET.ParseError, UnicodeDecodeError, RecursionError, ValueError) as e:
        raise InputError(f"{path} is no valid VRT ({brief(e)}); make it again with gdalbuildvrt.") from e


def _is_virtual(path: Path) -> bool:
    with path.open("rb") as f:
        return f.read(256).removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"<VRTDataset", b"<?xml"))


def _check_source(path: Path) -> None:
    """Refuses a source that is of no format of one file, or names other files itself."""
    with path.open("rb") as f:
        tiff = is_tiff(f.read(4))
    if tiff:
        check_tiff(path)
    drivers = (
        ["GTiff"] if tiff else [d.name for d in (JPEG2000, HFA, PNG, JPEG) if starts_with(path, d.magics)]
    )
    if not drivers:
        raise InputError(
            f"{path} is neither TIFF, JPEG 2000, ERDAS, PNG nor JPEG, and virtual rasters may name only those: "
            "convert it with gdal_translate."
        )
    check_beside(path)
    try:
        with gdal(), rasterio.open(path, driver=drivers[0], sharing=False) as dataset:
            elsewhere = dataset.tags(ns="OVERVIEWS").get("OVERVIEW_FILE")
    except RasterioError as e:
        raise InputError(f"{path} cannot be opened ({brief(e)}); fetch or export it again.") from e
    if elsewhere is not None:
        raise InputError(
            f"{path} names {elsewhere} for its overviews, and no image may name other files; remove that with "
            "gdaladdo -clean."
        )
