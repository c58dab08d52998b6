"""The Python interface: ``galab.run``, ``Search``, ``ESOptimizer``, ``Trainer``."""
