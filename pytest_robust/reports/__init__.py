"""What a run leaves for people and machines: tables of claims, results.json, figures."""
