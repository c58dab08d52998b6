"""One run: what it computes with, its loop, its records, when it stops and how it resumes."""
