"""What papers claim, as data; what was measured; and the verdict on it."""
