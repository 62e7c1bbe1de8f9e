"""From what users pass to `fit`, `evaluate` and `predict` to batches of NumPy arrays."""
