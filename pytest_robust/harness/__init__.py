"""The pytest layer: options, hooks, selection, reports on the terminal. It holds no science."""
