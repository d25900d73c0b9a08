"""The bench that a defense and a test work with: data, recipes, training, attacks and evaluation behind one object."""
