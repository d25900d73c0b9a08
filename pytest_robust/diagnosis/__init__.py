"""Is the evaluation itself sound? The field's known checks for a broken one, each with a verdict and a sentence."""
