"""Clusters, the invariant net, and the script of energies and forces in a tiny configuration."""

import csv
import functools
import json
import re
import shutil
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st
from tests.support.cases import slow
from train import plot
from train.forces import __main__ as forces
from train.forces import clusters, dynamics, nets, recipes, table
from train.lib.run import errors, files, identity

pytest.importorskip("ase", reason="the extra `forces` is not installed")
TINY = ["--num_workers=0", "--num_seeds=1", "--steps=2", "--hidden=4", "--system=cu9al4"]
TINY += ["--num_configurations=10", "--md_steps=20"]


@pytest.fixture
def run(run_script, monkeypatch):
    monkeypatch.setattr(clusters, "NUM_TEST", 4)
    monkeypatch.setattr(clusters, "SETTLING_STEPS", 2)
    monkeypatch.setattr(clusters, "STEPS_APART", 1)
    monkeypatch.setitem(clusters.SYSTEMS, "cu9al4", [(3, 2)])
    # The third method is a net more to trace and to export, and no other code.
    monkeypatch.delitem(recipes.METHOD_NAMES, "half")
    return functools.partial(run_script, forces)


def plain_net(inputs, units):
    """Build a net of few operations: energies are the squares of positions, with weights."""
    shape = inputs["positions"].shape[1:]
    positions = keras.Input(shape, name="positions")
    species = keras.Input(shape[:1], name="species", dtype="int32")
    squares = keras.layers.Flatten()(keras.ops.square(positions))
    return keras.Model({"positions": positions, "species": species}, keras.layers.Dense(1)(squares))


@pytest.fixture(scope="module")
def mixed():
    """Two clusters of different sizes, padded."""
    rng = np.random.RandomState(0)
    return clusters.padded([clusters.droplet(sizes, rng) for sizes in [(3, 1), (2, 1)]])


def test_forces_are_the_slopes_of_energies(mixed):
    atoms = mixed.atoms(0)
    atoms.calc = clusters.emt()
    step = np.zeros([4, 3])
    step[1, 2] = 1e-4
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * step
        moved.calc = clusters.emt()
        energies.append(moved.get_potential_energy())
    slope = (energies[0] - energies[1]) / 2e-4
    assert atoms.get_forces()[1, 2] == pytest.approx(-slope, abs=1e-5)
    assert np.isnan(mixed.forces[1, 3]).all()
    assert mixed.counts.tolist() == [[3, 1], [2, 1]]
    np.testing.assert_array_equal(mixed.gradients[:, 0], -mixed.forces)


def test_the_cluster_as_a_whole_neither_moves_nor_turns():
    rng = np.random.RandomState(0)
    atoms = clusters.droplet((6, 3), rng)
    clusters.thermalize(atoms, rng)
    np.testing.assert_allclose(atoms.get_momenta().sum(0), 0, atol=1e-10)
    np.testing.assert_allclose(atoms.get_angular_momentum(), 0, atol=1e-10)
    assert 200 < atoms.get_temperature() < 1200


def test_the_net_is_invariant_and_sees_no_padding(mixed):
    net = nets.atomic_energies(mixed.inputs, units=4)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=[3, 3]))
    energies = net(mixed.inputs).numpy()
    swapped = [1, 0, 2, 3]  # two atoms of copper
    for positions in (
        mixed.positions @ turn,
        mixed.positions + 5,
        mixed.positions[:, swapped],
        np.where(mixed.is_atom[..., None], mixed.positions, 77),
    ):
        moved = {"positions": positions.astype("float32"), "species": mixed.species}
        np.testing.assert_allclose(net(moved), energies, atol=2e-4)
    jet = st.SobolevModel(net, wrt="positions").predict_jet(mixed.inputs)
    assert np.isfinite(jet.derivatives[0]).all()
    assert (jet.derivatives[0][1, 0, 3] == 0).all()


def test_an_atom_alone_sees_nothing_and_neighbors_fade_at_the_cutoff():
    layer = nets.Surroundings()
    species = tf.constant([[1, 2]])

    def seen(distance):
        return layer(tf.constant([[[0.0, 0, 0], [distance, 0, 0]]]), species).numpy()[0, 0]

    assert (seen(nets.CUTOFF + 0.1) == 0).all()
    assert seen(2.5).max() > 0.1
    # One neighbor: the three sums are b, b² and b², of the bumps of aluminum.
    radial, vector, tensor = np.reshape(seen(2.5), [3, nets.NUM_BUMPS, 2])
    assert (radial[:, 0] == 0).all()
    np.testing.assert_allclose(vector, radial**2, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(tensor, radial**2, rtol=1e-5, atol=1e-9)


def test_reference_energies_by_hand():
    counts = [[1, 0], [0, 1], [2, 1]]
    species = np.array([[1, 0, 0], [2, 0, 0], [1, 1, 2]], "int32")
    energies = np.array([[2.0], [3.0], [7.0]])
    zeros = np.zeros([3, 3, 3])
    data = clusters.Configurations(zeros, species, energies, zeros)
    assert data.counts.tolist() == counts
    np.testing.assert_allclose(recipes.reference_energies(data), [2, 3])
    np.testing.assert_allclose(nets.ReferenceEnergy([2, 3])(species), energies)


def test_half_of_the_forces_are_missing(mixed):
    assert list(recipes.labels(mixed, "values", 0)) == ["value"]
    missing = np.isnan(recipes.labels(mixed, "half", 0)["d1"]).all((1, 2, 3))
    assert missing.sum() == 1


def test_a_calculator_pads_a_cluster_that_is_smaller_than_the_net(mixed):
    def jet(positions, species):
        assert positions.shape == (1, 4, 3)
        assert species.numpy().tolist() == [[1, 1, 2, 0]]
        return {"value": tf.reduce_sum(positions)[None, None], "d1": 2 * positions[:, None]}

    atoms = mixed.atoms(1)
    atoms.calc = dynamics.calculator(jet, room=4)
    assert atoms.get_potential_energy() == pytest.approx(mixed.positions[1].sum(), rel=1e-5)
    np.testing.assert_allclose(atoms.get_forces(), -2 * mixed.positions[1, :3])


def test_errors_leave_padding_out_and_drift_is_the_largest_change():
    assert recipes.rmse(np.array([1.0, 2.0, 9.0]), np.array([1.0, 0.0, np.nan])) == pytest.approx(
        1000 * 2**0.5
    )
    assert dynamics.drift(np.array([1.0, 1.002, 0.997])) == pytest.approx(3)


def test_medians_and_ratios_by_hand():
    rows = [
        {"system": "cu9al4", "method": m, "energy_rmse": 1.0, "force_rmse": e, "seconds": 1.0}
        for m, errors in {"values": [8.0, 10.0, 12.0], "sobolev": [2.0, 3.0, 1.0]}.items()
        for e in errors
    ]
    medians = table.medians(rows)
    assert [m["force_rmse"] for m in medians] == [[10, 8, 12], [2, 1, 3]]
    assert [m["force_ratio"] for m in medians] == [1, 0.2]
    assert "(1.0 to 3.0)" in table.text(medians)


@pytest.mark.parametrize(
    "net", [plain_net, *slow(nets.atomic_energies)]
)  # the script's own net takes most of its time to trace and to export
def test_a_run_ends_with_tables_and_figures_and_goes_on_where_it_stopped(
    net, run, tmp_path, monkeypatch
):
    monkeypatch.setattr(nets, "atomic_energies", net)
    arguments = [*TINY, f"--workdir={tmp_path}"]
    code, out, err = run(*arguments)
    assert code == 0, err
    assert out.startswith(f"2 nets in {tmp_path}\n")
    assert "EMT itself" in out
    assert f" -m train.plot {tmp_path} RUN\n" in out
    for name in ("errors.png", "forces.png", "dynamics.png"):
        assert (tmp_path / name).stat().st_size > 10_000
    with open(tmp_path / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == list(recipes.METHOD_NAMES)
    assert all(float(row["force_rmse"]) > 0 for row in rows)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert list(summary)[:3] == ["script", "what", "headline"]
    assert summary["headline"]["value"] == float(rows[1]["force_rmse"])
    assert set(summary["dynamics"]) == {"emt", *recipes.METHOD_NAMES}
    assert summary["dynamics"]["emt"]["off"] == 0

    # The exported model, as a calculator, says what the net said.
    test = clusters.load(tmp_path, "cu9al4", 4, clusters.TEST_SEED)
    atoms = test.atoms(0)
    atoms.calc = dynamics.calculator(recipes.load_model(tmp_path, task("sobolev")), room=5)
    predicted = recipes.read_net(tmp_path, **task("sobolev").key)
    assert atoms.get_potential_energy() == pytest.approx(predicted["energies"][0, 0], rel=1e-5)
    np.testing.assert_allclose(atoms.get_forces(), predicted["forces"][0], atol=1e-4)

    (tmp_path / "metrics.csv").unlink()  # as if killed before it
    code, out, err = run(*arguments)
    assert code == 0, err
    assert "2 of 2 nets are done" in out
    with open(tmp_path / "metrics.csv") as file:
        assert list(csv.DictReader(file)) == rows

    for name, message in {
        "data/cu9al4-4-2.npz": "it is the file of system water, expected that of system cu9al4",
        "dynamics/sobolev.npz": "it is the file of method water, expected that of method sobolev",
    }.items():
        whole = (tmp_path / name).read_bytes()
        arrays = files.read_npz(tmp_path / name, leave_out=(identity.PART,))
        identity.write_npz(
            tmp_path / name, arrays, {"system": "cu9al4", message.split()[5]: "water"}
        )
        with pytest.raises(errors.UsageError, match=message):
            plot.main([str(tmp_path)])
        (tmp_path / name).write_bytes(whole)

    # A plot makes no data, and leaves the run as it is.
    (tmp_path / "data").rename(tmp_path.parent / "data")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(errors.UsageError, match=r"data/cu9al4-4-2\.npz cannot be .*; its command"):
        plot.main([str(tmp_path)])
    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path.parent / "data").rename(tmp_path / "data")

    nets_path = tmp_path / "nets" / "cu9al4-values-0.npz"
    nets_path.write_bytes(nets_path.read_bytes()[:100])
    values, sobolev = (recipes.is_done(tmp_path, task(method)) for method in recipes.METHOD_NAMES)
    assert (values, sobolev) == (False, True)
    model = tmp_path / "nets" / "cu9al4-sobolev-0" / "saved_model.pb"
    model.write_bytes(model.read_bytes() + b" ")  # another net's
    assert not recipes.is_done(tmp_path, task("sobolev"))

    config = (tmp_path / "config.json").read_text()
    for systems in ("[]", "[1]", '["water"]'):
        (tmp_path / "config.json").write_text(re.sub(r"(?s)\[\s*\"cu9al4\"\s*\]", systems, config))
        with pytest.raises(errors.UsageError, match="is damaged: its systems are"):
            plot.main([str(tmp_path)])
    (tmp_path / "config.json").write_text(config)

    shutil.rmtree(tmp_path / "nets")  # as in train/results
    (tmp_path / "errors.png").unlink()
    plot.main([str(tmp_path)])
    assert (tmp_path / "errors.png").exists()


def task(method):
    return recipes.Task("cu9al4", method, 0, 10, 2, 4)


def test_what_a_killed_export_has_left_is_removed(mixed, tmp_path, monkeypatch):
    class Untrained:
        def predict_jet(self, inputs, batch_size):
            return st.Jet(mixed.energies, [mixed.gradients])

        def export(self, path):
            (tmp_path / path).mkdir()

    monkeypatch.setattr(clusters, "load", lambda *_: mixed)
    monkeypatch.setattr(recipes, "train", lambda data, task: Untrained())
    left = tmp_path / "nets" / "cu9al4-values-0.new-0123abcd"
    left.mkdir(parents=True)
    recipes.train_and_save(tmp_path, task("values"))
    assert not left.exists()
    assert recipes.net_path(tmp_path, **task("values").key).exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--system=water"], "--system=water: expected cu9al4 or mixed"),
        (["--num_configurations=3"], "--num_configurations=3"),
        (["--seed=4294967295"], "the last seed is 4294967297, expected at most"),
        (["--num_configuration=20"], "did you mean --num_configurations?"),
        (["--jit_compile"], "jit_compile"),
        (["--num_seeds=2147483647"], "--num_seeds=2147483647 needs 6e+03 GiB"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, refused):
    assert message in refused(forces, *arguments)


def test_without_ase_the_script_says_what_to_install(monkeypatch, run_script, tmp_path):
    monkeypatch.setitem(sys.modules, "ase", None)
    code, _, err = run_script(forces, f"--workdir={tmp_path / 'run'}")
    assert code == 1
    assert err.endswith(': ASE is not installed: pip install -e ".[forces]"\n')
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_not_finished_is_not_drawn(tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps({"format": 1, "flags": {}, "script": "forces"})
    )
    with pytest.raises(errors.UsageError, match="is not finished"):
        plot.main([str(tmp_path)])
