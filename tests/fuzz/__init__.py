"""Coverage-guided fuzzing of every parser and decoder: `python -m tests.fuzz [TARGET …] --seconds N`."""
