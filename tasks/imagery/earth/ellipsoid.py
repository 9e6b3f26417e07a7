"""Areas on an ellipsoid of revolution, in closed form and stable for tiny differences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_F = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ellipsoid:
    """Semi-major axis ``a`` in metres and squared first eccentricity ``e2`` (0 for a sphere)."""

    a: float
    e2: float

    def band(self, south: npt.ArrayLike, north: npt.ArrayLike) -> _F:
        """Area per radian of longitude between two parallels, m².

        The difference of the authalic integral, written so that nothing cancels when the
        parallels are close.

        Args:
            south: Geodetic latitudes in radians.
            north: As ``south``; a band turned over has a negative area.
        """
        lo, hi = np.asarray(south, float), np.asarray(north, float)
        s1, s2 = np.sin(lo), np.sin(hi)
        ds = 2 * np.cos((lo + hi) / 2) * np.sin((hi - lo) / 2)
        b2 = self.a**2 * (1 - self.e2)
        if self.e2 == 0:
            return np.asarray(b2 * ds)
        e2, e = self.e2, np.sqrt(self.e2)
        rational = ds * (1 + e2 * s1 * s2) / ((1 - e2 * s1**2) * (1 - e2 * s2**2))
        logarithm = np.arctanh(e * ds / (1 - e2 * s1 * s2)) / e
        return np.asarray(b2 / 2 * (rational + logarithm))

    def density(self, latitude: npt.ArrayLike) -> _F:
        """Area per square radian of longitude and latitude, m²: ``M · N · cos φ``."""
        phi = np.asarray(latitude, float)
        return np.asarray(self.a**2 * (1 - self.e2) * np.cos(phi) / (1 - self.e2 * np.sin(phi) ** 2) ** 2)

    @property
    def quarter(self) -> float:
        """Area per radian of longitude from the equator to a pole, m²."""
        return float(self.band(0.0, np.pi / 2))

    def authalic(self, longitude: npt.ArrayLike, latitude: npt.ArrayLike) -> _F:
        """Unit vectors ``(…, 3)`` on the sphere of equal area; smooth at poles and antimeridian.

        Args:
            longitude: Radians.
            latitude: Geodetic, radians.
        """
        lam, phi = np.asarray(longitude, float), np.asarray(latitude, float)
        # 1 − |sin β| from the pole's side: near a pole sin β itself has no digits left for cos β.
        gap = self.band(np.abs(phi), np.pi / 2) / self.quarter
        sine = np.sign(phi) * (1 - gap)
        cosine = np.sqrt(np.maximum(gap * (2 - gap), 0))
        return np.stack([cosine * np.cos(lam), cosine * np.sin(lam), sine], axis=-1)
