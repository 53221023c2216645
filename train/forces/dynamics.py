"""Molecular dynamics with an exported model: how well it conserves energy, compared with EMT."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from train.forces import clusters, recipes
from train.lib.run import identity, schema
from train.lib.run.errors import reading

EVERY = 10  # steps between two records
START_SEED = 3  # of the velocities


def calculator(signature: Any, room: int) -> Any:
    """Return an ASE calculator that asks the jet signature of a SavedModel.

    Args:
      signature: takes positions [1,N,3] and species [1,N], gives the energy and its derivative.
      room: N; fewer atoms are padded.
    """
    from ase.calculators.calculator import Calculator, all_changes

    class Exported(Calculator):
        implemented_properties = ("energy", "forces")

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            count = len(self.atoms)
            positions = np.zeros([1, room, 3], "float32")
            positions[0, :count] = self.atoms.positions
            species = np.zeros([1, room], "int32")
            symbols = self.atoms.get_chemical_symbols()
            species[0, :count] = [1 + clusters.SPECIES.index(s) for s in symbols]
            jet = signature(positions=tf.constant(positions), species=tf.constant(species))
            self.results["energy"] = float(jet["value"][0, 0])
            self.results["forces"] = -jet["d1"].numpy()[0, 0, :count].astype("float64")

    return Exported()


def run(atoms: Any, calc: Any, steps: int) -> np.ndarray:
    """Follow velocity Verlet; return [T,3]: picoseconds, total energy and EMT's own, in eV.

    Args:
      atoms: with their positions; velocities of 700 K are drawn, the same at every call.
      calc: what the forces come from.
      steps: how many, of 2 fs.
    """
    from ase import units
    from ase.md.verlet import VelocityVerlet

    atoms = atoms.copy()
    clusters.thermalize(atoms, np.random.RandomState(START_SEED))
    atoms.calc = calc
    dynamics = VelocityVerlet(atoms, clusters.TIME_STEP * units.fs)
    rows = []

    def record():
        true = atoms.copy()
        true.calc = clusters.emt()
        kinetic = atoms.get_kinetic_energy()
        total = atoms.get_potential_energy() + kinetic
        time = dynamics.nsteps * clusters.TIME_STEP / 1000
        rows.append([time, total, true.get_potential_energy() + kinetic])

    dynamics.attach(record, interval=EVERY)
    dynamics.run(steps)
    return np.array(rows)


def drift(energies: np.ndarray) -> float:
    """Return the largest distance of total energies [T] from the first one, in meV."""
    return float(recipes.MILLI * np.abs(energies - energies[0]).max())


def make(folder: Path, tasks: list[recipes.Task], steps: int) -> dict[str, np.ndarray]:
    """Run each task's exported model, and EMT, from the first test configuration.

    Runs that are in the folder are not made again.

    Returns:
      {method, or "emt": [T,3] as `run` gives it}.
    """
    test = clusters.load(folder, tasks[0].system, clusters.NUM_TEST, clusters.TEST_SEED)
    atoms = test.atoms(0)
    runs = {}
    by_name: dict[str, recipes.Task | None] = {task.method: task for task in tasks}
    for name, task in ({"emt": None} | by_name).items():
        path = folder / "dynamics" / f"{name}.npz"
        path.parent.mkdir(exist_ok=True)
        stated = {"system": tasks[0].system, "method": name, "md_steps": steps}
        if task:
            stated |= recipes.with_model(folder, task)
        if not path.exists():
            room = test.species.shape[1]
            calc = calculator(recipes.load_model(folder, task), room) if task else clusters.emt()
            identity.write_npz(path, {"energies": run(atoms, calc, steps)}, stated)
        runs[name] = read(folder, stated)
    return runs


def read(folder: Path, stated: Mapping[str, Any]) -> np.ndarray:
    """Return a run that `make` has written.

    Args:
      folder: folder of the script's run.
      stated: its system, method ("emt" without a net) and md_steps, and the net's `Task`.
    """
    path = folder / "dynamics" / f"{stated['method']}.npz"
    with reading(path, "remove it, and run the command again", "cannot be read"):
        arrays = identity.read_npz(path, stated)
        schema.check_arrays(arrays, {"energies": [stated["md_steps"] // EVERY + 1, 3]})
    return arrays["energies"]
