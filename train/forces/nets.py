"""An invariant net of atomic energies in the manner of Behler and Parrinello (2007).

Each atom sees sums over its neighbors, within a cutoff, of bumps of their distance times powers
of their direction; the sums' squared norms are the angular functions, since a double sum over
cos θ, or over cos² θ, is a square. They do not change when the cluster is moved or turned, nor
where atoms of one species change places.
"""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

CUTOFF = 6.5  # Å
NUM_BUMPS = 12  # of the distance
NUM_SPECIES = 2


@keras.saving.register_keras_serializable(package="forces")
class Surroundings(keras.layers.Layer):
    """What each atom sees: positions [B,N,3] and species [B,N] to [B,N,F]."""

    def call(self, positions: tf.Tensor, species: tf.Tensor) -> tf.Tensor:
        atoms = tf.cast(species > 0, positions.dtype)
        others = 1 - tf.eye(tf.shape(species)[1], dtype=positions.dtype)
        pairs = atoms[:, :, None] * atoms[:, None, :] * others  # [B,N,N]
        apart = positions[:, None, :, :] - positions[:, :, None, :]
        # 1 where there is no pair: a root has no slope at 0.
        distances = tf.sqrt(tf.reduce_sum(apart**2, -1) + 1 - pairs)
        directions = apart / distances[..., None]
        bumps = self._bumps(distances) * pairs[..., None]  # [B,N,N,R]
        kinds = tf.one_hot(species - 1, NUM_SPECIES, dtype=positions.dtype)
        weights = bumps[..., None] * kinds[:, None, :, None, :]  # [B,N,N,R,S]
        weights = tf.reshape(weights, [*tf.unstack(tf.shape(bumps)), NUM_SPECIES])
        squares = directions[..., :, None] * directions[..., None, :]
        radial = tf.reduce_sum(weights, 2)
        vector = tf.einsum("bijrs,bijx->birsx", weights, directions)
        tensor = tf.einsum("bijrs,bijxy->birsxy", weights, squares)
        sums = [radial, tf.reduce_sum(vector**2, -1), tf.reduce_sum(tensor**2, [-2, -1])]
        features = NUM_BUMPS * NUM_SPECIES
        flat = [tf.reshape(s, [-1, species.shape[1], features]) for s in sums]
        return tf.concat(flat, -1) * atoms[..., None]

    def _bumps(self, distances):
        """Gaussians of the distance [...,R], which end smoothly at the cutoff."""
        centers = np.linspace(2.0, CUTOFF - 0.5, NUM_BUMPS)
        width = centers[1] - centers[0]
        end = 0.5 * (tf.cos(math.pi * tf.minimum(distances / CUTOFF, 1.0)) + 1)
        return tf.exp(-(((distances[..., None] - centers) / width) ** 2)) * end[..., None]


@keras.saving.register_keras_serializable(package="forces")
class SumOverAtoms(keras.layers.Layer):
    """Sums atomic energies [B,N,S], one for each species that an atom may be, to [B,1]."""

    def call(self, energies: tf.Tensor, species: tf.Tensor) -> tf.Tensor:
        kinds = tf.one_hot(species - 1, NUM_SPECIES, dtype=energies.dtype)
        return tf.reduce_sum(energies * kinds, [1, 2])[:, None]


@keras.saving.register_keras_serializable(package="forces")
class ReferenceEnergy(keras.layers.Layer):
    """The sum of reference energies, one for each species: species [B,N] to [B,1].

    Args:
      energies: energies of an atom of each species, in eV.
    """

    def __init__(self, energies: Any, **kwargs: Any) -> None:
        super().__init__(trainable=False, **kwargs)
        self.energies = [float(energy) for energy in energies]

    def call(self, species: tf.Tensor) -> tf.Tensor:
        kinds = tf.one_hot(species - 1, NUM_SPECIES)
        return tf.reduce_sum(kinds * tf.constant(self.energies), [1, 2])[:, None]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "energies": self.energies}


def atomic_energies(inputs: dict[str, np.ndarray], units: int) -> keras.Model:
    """Build the net: positions [B,N,3] and species [B,N] to one energy, [B,1].

    Args:
      inputs: inputs of the training data, whose features get mean 0 and deviation 1 in the net.
      units: number of units of each of the two hidden layers.
    """
    shape = inputs["positions"].shape[1:]
    positions = keras.Input(shape, name="positions")
    species = keras.Input(shape[:1], name="species", dtype="int32")
    seen = Surroundings()(positions, species)
    features = Surroundings()(tf.constant(inputs["positions"]), tf.constant(inputs["species"]))
    of_atoms = features.numpy()[inputs["species"] > 0]
    h = keras.layers.Normalization(mean=of_atoms.mean(0), variance=of_atoms.var(0) + 1e-6)(seen)
    for _ in range(2):
        h = keras.layers.Dense(units, "silu")(h)
    energies = keras.layers.Dense(NUM_SPECIES)(h)
    energy = SumOverAtoms()(energies, species)
    return keras.Model({"positions": positions, "species": species}, energy)
