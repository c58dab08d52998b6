"""Which libraries are measured; both sides read this."""

from __future__ import annotations

#: Kind of search, and for each library's name in a request the module beside this one with ``make`` and ``centre``.
MODULES = {
    "eggroll": {
        "hyperscale": "hyperscale",
        "evosax": "evosax_open_es",
        "eggroll-trainer": "eggroll_trainer",
        "torcheggroll": "torcheggroll",
        "eggroll-es": "eggroll_es",
    },
    "genetic": {
        "EvoTorch": "evotorch_genetic",
        "EvoX": "evox_open_es",
        "evosax": "evosax_simple_ga",
    },
}
#: Those that also compute in bfloat16.
BFLOAT16 = ("hyperscale", "evosax")
