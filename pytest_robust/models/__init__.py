"""Classifiers: the networks, the recipes by which they are trained, the training, and trained models from the store."""
