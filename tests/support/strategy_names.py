"""Lists of strategies as messages write them, from the table of kinds."""

from __future__ import annotations

from galab.config.fields import FIELDS
from galab.config.option import understands
from galab.config.strategy_kinds import KINDS

_NAMES = [name for kind in KINDS if understands(FIELDS["population"], kind.name) for name in kind.strategies]
#: Those that have a population: ``"a, b or c"``.
POPULATIONS = f"{', '.join(_NAMES[:-1])} or {_NAMES[-1]}"
