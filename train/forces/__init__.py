"""A force field of copper and aluminum clusters, from energies and forces."""
