"""Attacks: what they are, this project's own, ART's made safe, and the making of adversarial sets."""
