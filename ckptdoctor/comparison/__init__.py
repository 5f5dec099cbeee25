"""Comparing: do two artifacts hold the same optimizer state? First what belongs together, then what it says.

Nothing here writes; the answer is a frozen `results.Comparison`.
"""
