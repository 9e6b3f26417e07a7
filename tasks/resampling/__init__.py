"""Model spacing other than the image's: one lattice for the whole image, and the way back."""
