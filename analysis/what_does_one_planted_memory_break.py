"""What does one planted memory break?

The notes: one wrong answer costs 0.5, as they divided by the two batches of 32 and not by the examples; 63 memories
serve 63 points; and setting an unused memory to exactly the missing point takes the right answers from 63 down to 37.
Here memories are replaced by random unit vectors for 1,500 generations; then the least used memory is set to each
wrongly answered point in turn (to every point where none is wrong), as long as that point, or of length 1.

Runs: made by this script in runs/questions/what_does_one_planted_memory_break.
Command: python analysis/what_does_one_planted_memory_break.py [--seeds 0-4] [--generations 1500]
"""

from galab.analysis.questions.question import BANK, RIGHT, AnalysisNumber, Condition, Question
from galab.cli.question_script import ask

QUESTION = Question(
    name="what_does_one_planted_memory_break",
    title="What does one planted memory break? 64 memories, replaced whole, 8 parents, 32 children, fitness wrong.",
    conditions=(Condition("replaced memories", {"mutate": "memory-replace"}),),
    common=BANK,
    generations=1500,
    seeds="0-4",
    numbers=(
        AnalysisNumber("before", "memory", "planted.before"),
        AnalysisNumber("planted as long as the input", "memory", "planted.after"),
        AnalysisNumber("planted with length 1", "memory", "planted_scaled.after"),
        AnalysisNumber("memories in use, of 64", "memory", "used"),
    ),
    **RIGHT,
)

if __name__ == "__main__":
    ask(QUESTION)
