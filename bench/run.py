"""``make bench``: speed and memory against their bars, as a table and as ``bench/results.json``.

Times drift by machine and hour; the ratios are measured side by side in one process.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

import torch
from breeding import breeding_rows
from evolution import evolution_rows
from generation import generation_rows
from history import help_rows, history_rows
from timing import table
from trials import trial_rows


def main() -> int:
    """Measure everything; 1 if a bar was missed."""
    threads = torch.get_num_threads()
    rows = [*help_rows(), *generation_rows(), *history_rows(), *breeding_rows(), *trial_rows(), *evolution_rows()]
    print(table(rows))
    machine = {
        "processor": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": threads,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }
    results = {"machine": machine, "rows": [row.to_dict() for row in rows]}
    path = Path(__file__).parent / "results.json"
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"\nwritten to {path}")
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
