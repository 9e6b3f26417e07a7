"""Pseudonyms: what of a patient's image may be said, and the file that maps back."""
