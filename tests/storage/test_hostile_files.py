"""Thousands of hostile and damaged files: each is refused in one line or means what it meant, and none does harm.

A few hundred of them are tried here in every run of the tests, all of them before a release.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hostile_driver import Examiner, Fault
from hostile_files import KINDS, cases

DRIVER = Path(__file__).resolve().parents[1] / "support" / "hostile_driver.py"
#: Every so many cases one is tried; no divisor of the number of ways in which a value is changed.
STRIDE = 67


@pytest.mark.slow
def test_some_hundreds_of_hostile_files_do_no_harm(
    tmp_path: Path, no_waiting_for_the_disk: None, images_read_once: None
) -> None:
    examiner = Examiner(tmp_path)
    tried = [case for number, case in enumerate(cases(examiner.sources)) if number % STRIDE == 0]
    faults, outcomes = [], []
    for number, case in enumerate(tried):
        try:
            outcomes.append(examiner.try_case(case, number, brief=True))
        except Fault as fault:
            faults.append(f"{case.source}/{case.file} {case.name!r}: {fault}")
    assert faults == []
    assert len(tried) > 200
    assert {case.source for case in tried} >= {*KINDS, "group", "weights.pt", "plain.json"}
    assert outcomes.count("refused") > len(tried) / 2
    assert "accepted" in outcomes


@pytest.mark.release
def test_no_hostile_file_does_harm(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", str(DRIVER), str(tmp_path / "corpus")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=7200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["faults"] == []
    assert found["files"] >= 3000
    assert found["most_mb"] < 500
