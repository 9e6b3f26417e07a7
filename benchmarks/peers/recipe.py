"""What both sides of the training row have in common, and what each trains; imports nothing heavy."""

from __future__ import annotations

#: Batches of the row at scale 1.
STEPS = 300
BATCH, PATCH = 8, 128
CLASSES = 3
LEARNING_RATE, WARMUP = 2e-3, 30
#: AdamW; the sum of all gradients is clipped to this norm.
WEIGHT_DECAY, EPSILON, CLIP = 1e-4, 1e-7, 1.0
#: Share of the training images that is held out for the scores.
VALIDATION = 0.2
#: Steps that are not timed: tracing, compiling, first allocations.
UNTIMED = 10
#: Both networks halve the image five times.
STRIDE = 32
#: Ours; widths chosen so that both networks have about as many weights.
ARCHITECTURE, OPTIONS = "unet", {"filters": [16, 32, 64, 160, 352, 704]}
ENCODER = "resnet18"
