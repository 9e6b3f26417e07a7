"""Volumes: NIfTI and what is seen as one."""
