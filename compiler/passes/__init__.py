"""The passes, one a file; `compiler.pipeline` has their order."""
