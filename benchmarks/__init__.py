"""Measurements: graphcore against the machine's roof (`python -m benchmarks`) and its peers (`-m benchmarks.peers`)."""
