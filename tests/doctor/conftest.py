"""Tests of the doctor and of tuning: all of them make small runs."""

from small_runs import clouds, evolve, quick, small

__all__ = ["clouds", "evolve", "quick", "small"]
