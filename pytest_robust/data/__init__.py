"""Data sets: splits of images in [0, 1], the built-in sets, and how their files are found and checked."""
