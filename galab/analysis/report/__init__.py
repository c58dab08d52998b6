"""``galab compare`` and ``galab report``."""
