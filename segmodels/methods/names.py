"""Names of the classical methods, apart from them, so that asking for one loads none."""

#: Each makes a bundle for any number of channels, see :mod:`segmodels.methods.make`.
CLASSICAL = (
    "otsu",
    "multi-otsu",
    "kmeans",
    "region-growing",
    "watershed",
    "sobel",
    "canny",
    "slic",
    "chan-vese",
    "random-walker",
)
