"""A run: its folder, flags, errors, strategy, checkpoints, resuming, progress."""
