"""The pytest11 module."""
