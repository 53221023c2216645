"""Clusters of copper and aluminum: configurations, energies and forces by ASE's EMT calculator."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from train.lib.run import identity, schema
from train.lib.run.errors import CommandError, reading

SPECIES = ("Cu", "Al")  # 1 and 2 in a net's inputs; 0 is padding
# {name of a system: atoms of copper and of aluminum in each of its trajectories}
SYSTEMS = {
    "cu9al4": [(9, 4)] * 5,  # one trajectory does not leave its basin in some ten picoseconds
    "mixed": [(6, 2), (5, 4), (8, 2), (4, 7), (7, 5)],
}
SYSTEM_NAMES = {"cu9al4": "Cu9Al4", "mixed": "8 to 12 atoms"}  # as people read them
TEMPERATURE = 700  # kelvin
TIME_STEP = 2.0  # femtoseconds
SETTLING_STEPS, STEPS_APART = 500, 40  # of the trajectories that configurations come from
NUM_TEST = 200
TRAIN_SEED, TEST_SEED = 1, 2  # of the start and the thermostat of each trajectory


@dataclasses.dataclass(frozen=True)
class Configurations:
    """B configurations of at most N atoms each.

    Attributes:
      positions: [B,N,3], in Å; 0 where there is no atom.
      species: [B,N], 1 for copper, 2 for aluminum, 0 for no atom.
      energies: [B,1], in eV.
      forces: [B,N,3], in eV/Å; NaN where there is no atom.
    """

    positions: np.ndarray
    species: np.ndarray
    energies: np.ndarray
    forces: np.ndarray

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        """The net's inputs."""
        return {"positions": self.positions, "species": self.species}

    @property
    def is_atom(self) -> np.ndarray:
        """Where there is an atom, [B,N]."""
        return self.species > 0

    @property
    def gradients(self) -> np.ndarray:
        """The energies' derivatives with respect to positions [B,1,N,3]: minus the forces."""
        return -self.forces[:, None]

    @property
    def counts(self) -> np.ndarray:
        """How many atoms of each species, [B,2]."""
        return np.stack([(self.species == i + 1).sum(1) for i in range(len(SPECIES))], 1)

    def atoms(self, row: int) -> Any:
        """Return a configuration as ASE's atoms, without padding."""
        from ase import Atoms

        there = self.is_atom[row]
        symbols = [SPECIES[i - 1] for i in self.species[row, there]]
        return Atoms(symbols, self.positions[row, there])


def need_ase() -> None:
    """Raise CommandError if ASE, which makes the data, is not installed."""
    try:
        import ase  # noqa: F401
    except ImportError as error:
        raise CommandError('ASE is not installed: pip install -e ".[forces]"') from error


def load(folder: Path, system: str, count: int, seed: int) -> Configurations:
    """Return `count` configurations of a system's trajectories, made at the first call.

    Args:
      folder: folder of the run, which keeps them.
      system: one of `SYSTEMS`.
      count: how many; an equal share of each trajectory.
      seed: seed of the trajectories; other seeds give independent configurations.
    """
    path = data_path(folder, system, count, seed)
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        compositions = SYSTEMS[system]
        shares = [len(part) for part in np.array_split(np.arange(count), len(compositions))]
        jobs = zip(compositions, shares, strict=True)
        rows = [
            row
            for number, (composition, share) in enumerate(jobs)
            for row in trajectory(composition, share, seed=100 * seed + number)
        ]
        arrays = dataclasses.asdict(padded(rows))
        arrays |= {"species": arrays["species"].astype("float32")}
        identity.write_npz(path, arrays, {"system": system, "count": count, "seed": seed})
    return read(folder, system, count, seed)


def read(folder: Path, system: str, count: int, seed: int) -> Configurations:
    """Return the configurations that `load` has made; takes what it does.

    Raises:
      DamagedError: their file is missing, cut short, of others, or holds something else.
    """
    path = data_path(folder, system, count, seed)
    remedy = "its command makes it again"
    with reading(path, f"remove it; {remedy}" if path.exists() else remedy, "cannot be read"):
        arrays = identity.read_npz(path, {"system": system, "count": count, "seed": seed})
        largest = max(map(sum, SYSTEMS[system]))
        shape = [count, largest, 3]
        shapes = {"positions": shape, "forces": shape, "species": shape[:2], "energies": [count, 1]}
        schema.check_arrays(arrays, shapes)
    return Configurations(**arrays | {"species": arrays["species"].astype("int32")})


def data_path(folder: Path, system: str, count: int, seed: int) -> Path:
    """Return the path of the file of configurations."""
    return folder / "data" / f"{system}-{count}-{seed}.npz"


def padded(rows: Sequence[Any]) -> Configurations:
    """Return ASE's atoms, which have a calculator, as arrays that hold the largest of them."""
    most = max(map(len, rows))
    positions = np.zeros([len(rows), most, 3], "float32")
    species = np.zeros([len(rows), most], "int32")
    forces = np.full([len(rows), most, 3], np.nan, "float32")
    for row, atoms in enumerate(rows):
        there = slice(len(atoms))
        positions[row, there] = atoms.get_positions()
        species[row, there] = [1 + SPECIES.index(s) for s in atoms.get_chemical_symbols()]
        forces[row, there] = atoms.get_forces()
    energies = np.array([[atoms.get_potential_energy()] for atoms in rows], "float32")
    return Configurations(positions, species, energies, forces)


def trajectory(composition: tuple[int, int], count: int, seed: int) -> Iterator[Any]:
    """Yield configurations of molecular dynamics at 700 K, far enough apart to differ.

    Args:
      composition: atoms of copper and of aluminum.
      count: how many configurations.
      seed: seed of the first positions and the thermostat.
    """
    from ase import units
    from ase.md.langevin import Langevin

    rng = np.random.RandomState(seed)
    atoms = droplet(composition, rng)
    thermalize(atoms, rng)
    dynamics = Langevin(
        atoms,
        2 * TIME_STEP * units.fs,
        temperature_K=TEMPERATURE,
        friction=0.01 / units.fs,
        fixcm=False,  # it may drift: positions are centered below
        rng=rng,
    )
    dynamics.run(SETTLING_STEPS)
    for _ in range(count):
        dynamics.run(STEPS_APART)
        atoms.positions -= atoms.get_center_of_mass()
        still = atoms.copy()
        still.calc = emt()
        yield still


def droplet(composition: tuple[int, int], rng: np.random.RandomState) -> Any:
    """Return a compact cluster at a minimum of its energy, from random positions in a ball."""
    from ase import Atoms
    from ase.optimize import FIRE

    symbols = [s for s, n in zip(SPECIES, composition, strict=True) for _ in range(n)]
    positions: list[np.ndarray] = []
    while len(positions) < len(symbols):
        point = rng.uniform(-4, 4, 3)
        others = np.reshape(positions, [-1, 3])
        if np.linalg.norm(point) < 4 and (np.linalg.norm(others - point, axis=1) > 2.2).all():
            positions.append(point)
    atoms = Atoms(symbols, positions)
    atoms.calc = emt()
    FIRE(atoms, logfile=None).run(fmax=0.05, steps=300)
    return atoms


def thermalize(atoms: Any, rng: np.random.RandomState) -> None:
    """Draw velocities of 700 K; the cluster as a whole neither moves nor turns."""
    from ase import units

    masses = atoms.get_masses()[:, None]
    velocities = rng.normal(size=[len(atoms), 3]) * np.sqrt(units.kB * TEMPERATURE / masses)
    velocities -= np.sum(masses * velocities, 0) / masses.sum()
    arms = atoms.positions - atoms.get_center_of_mass()
    inertia = np.sum(masses[..., None] * (_squares(arms) - arms[:, :, None] * arms[:, None]), 0)
    turning = np.linalg.solve(inertia, np.sum(masses * np.cross(arms, velocities), 0))
    atoms.set_velocities(velocities - np.cross(turning, arms))


def _squares(arms: np.ndarray) -> np.ndarray:
    return np.sum(arms**2, 1)[:, None, None] * np.eye(3)


def emt() -> Any:
    """Return a new EMT calculator, effective medium theory (Jacobsen, Stoltze, Norskov 1996)."""
    from ase.calculators.emt import EMT

    return EMT()
