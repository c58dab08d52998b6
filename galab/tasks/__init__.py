"""What a network is shown and how its answers are scored.

A task of your own is a function that returns a :class:`Classification`; ``galab run --task moons.py:moons`` uses it::

    import numpy as np
    from galab.tasks import Classification

    def moons() -> Classification:
        random = np.random.default_rng(0)
        angle, side = random.uniform(0, np.pi, 3000), random.integers(0, 2, 3000)
        x = np.where(side, 1 - np.cos(angle), np.cos(angle)) + random.normal(0, 0.1, 3000)
        y = np.where(side, 0.5 - np.sin(angle), np.sin(angle)) + random.normal(0, 0.1, 3000)
        inputs = np.stack([x, y], axis=1)
        return Classification(
            name="moons",
            train=(inputs[:2000], side[:2000]),
            validation=(inputs[2000:2500], side[2000:2500]),
            test=(inputs[2500:], side[2500:]),
            classes=2,
        )
"""

from galab.tasks.classification import Classification
from galab.tasks.load import load_task

__all__ = ["Classification", "load_task"]
