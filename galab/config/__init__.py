"""Every hyperparameter: what it is, what it may be, which go together, and what follows from them."""

from galab.config.run_config import RunConfig, complete, field_type, flag

__all__ = ["RunConfig", "complete", "field_type", "flag"]
