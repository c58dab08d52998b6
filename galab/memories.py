"""What the rest of a run has to know of mutations of memories (``galab.mutation.memory``): who chooses the memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from galab.calls import Call
from galab.specs import parse_mutations

if TYPE_CHECKING:
    from galab.config import RunConfig

MEMORY_OPERATORS = (
    "memory-replace", "memory-perturb", "memory-target", "memory-activate", "memory-delete", "memory-all",
)  # fmt: skip
#: Ways of choosing a memory that hang on the genome alone.
BY_GENOME = ("any", "filled", "empty", "plasticity")
#: Ways that hang on the examples: the search chooses and writes the choice into the birth, as a genome knows nothing of
#: examples.
BY_USE = ("use", "used", "unused")


def by_use(call: Call) -> str:
    """How an operator chooses a memory by the examples; empty where it does not."""
    rule = call.arguments.get("heads")
    return rule if rule in BY_USE else ""


def needs_use(config: RunConfig) -> bool:
    """Whether a mutation chooses memories by how many examples they answer."""
    return any(by_use(call) for call, _ in parse_mutations(config.mutate))
