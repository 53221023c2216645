"""A force field of copper and aluminium clusters, from energies and forces."""
