"""The version of galab, for all who need it without the rest."""

__version__ = "0.1.0"
