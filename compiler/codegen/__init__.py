"""Printers from the kernel IR to source, and their compilation to object code."""
