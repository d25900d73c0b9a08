"""Installed as pytest_robust.defenses."""

if __name__ != "pytest_robust.defenses":  # a second copy would register everything twice
    raise ImportError(f"import this folder as pytest_robust.defenses, not {__name__}")
