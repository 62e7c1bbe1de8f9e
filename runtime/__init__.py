"""Runs compiled programs: loader, cache, arena, native instruction loop."""
