"""Real tasks, one readable script each: `python -m examples.<name>`; see README.md here."""
