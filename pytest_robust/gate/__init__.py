"""The release gate: any model on any images, attacked and measured, with results that explain themselves."""
