"""Prices and deltas of options from simulated payoffs, with pathwise slopes and without."""
