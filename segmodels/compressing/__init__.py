"""Smaller models made from a bundle, and what they lose."""
