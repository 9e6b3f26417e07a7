"""Scoring masks against truth, by windows: pixels, surfaces, intervals over items, tables and a page."""
