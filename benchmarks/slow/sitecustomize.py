"""Python imports this by itself in every process that has this folder on its path: slows the no-op model.

Workers are processes started by others, so the delay has to reach them through the environment.
``BENCHMARK_TILE=sleep:0.2`` waits that many seconds for each tile; ``spin:N`` does N rounds of arithmetic
on one thread.
"""

import os
import time


def _slow() -> None:
    kind, _, amount = os.environ.get("BENCHMARK_TILE", "").partition(":")
    if kind not in ("sleep", "spin"):
        return
    import numpy as np

    from segmodels.methods.method import Linear

    quick = Linear.logits

    def spin(rounds: int) -> None:
        values = np.linspace(0, 1, 1 << 16, dtype=np.float32)
        for _ in range(rounds):
            np.sqrt(values, out=values)

    def logits(self, x):  # type: ignore[no-untyped-def]
        for _ in range(len(x) if x.shape[-2] >= 256 else 0):  # not for the small golden input
            if kind == "sleep":
                time.sleep(float(amount))
            else:
                spin(int(amount))
        return quick(self, x)

    Linear.logits = logits  # type: ignore[method-assign]


_slow()
