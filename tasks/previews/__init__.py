"""Previews: which part of an image a user asked for, and what is said of it."""
