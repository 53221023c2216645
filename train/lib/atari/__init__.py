"""Atari: games, policies, recordings."""
