"""Prices and deltas of options from simulated payoffs, with and without pathwise slopes."""
