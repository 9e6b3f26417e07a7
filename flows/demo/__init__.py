"""The demo: real images from installed packages, their truths, and the models trained on them."""
