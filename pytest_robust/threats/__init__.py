"""What a defended model answers, and what an attacker sees of it."""
