"""Graph in, program out: IR, passes, lowering and code generation."""
