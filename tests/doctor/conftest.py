"""Tests of the doctor and of the fastest settings: all of them make small runs."""

from small_runs import clouds, evolve, quick, small

__all__ = ["clouds", "evolve", "quick", "small"]
