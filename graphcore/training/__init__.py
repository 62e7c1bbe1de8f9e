"""Training: compile, fit, evaluate, predict, and what they need."""
