"""Studies of several networks at once: how robust each of them is, and whose adversarial images fool whom."""
