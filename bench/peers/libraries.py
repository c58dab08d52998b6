"""Which libraries are measured; both sides read this."""

from __future__ import annotations

#: The name in a request, and the module beside this one that has ``make`` and ``centre``.
MODULES = {
    "hyperscale": "hyperscale",
    "evosax": "evosax_open_es",
    "eggroll-trainer": "eggroll_trainer",
    "torcheggroll": "torcheggroll",
    "eggroll-es": "eggroll_es",
}
#: Those that also compute in bfloat16.
BFLOAT16 = ("hyperscale", "evosax")
