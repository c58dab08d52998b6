"""The command line: the only part of galab that writes to the terminal.

Modules here import torch and the laboratory inside their functions, so that ``galab --help`` answers at once.
"""

from __future__ import annotations

from galab.cli.main import main

__all__ = ["main"]
