"""Benchmarks: ``make bench`` measures ratios of things run in turns, and prints them as a table.

Not part of the installed package: run from a checkout, as ``python -m benchmarks``.
"""
