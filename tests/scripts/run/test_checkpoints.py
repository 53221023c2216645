"""Checkpoints: everything comes back, and nothing wrong or damaged does."""

import resource

import keras
import numpy as np
import pytest

from train.lib.run import checkpoints, resumable
from train.lib.run.checkpoints import Checkpoints
from train.lib.run.errors import UsageError

SPEC = (keras.KerasTensor([None, 3]), keras.KerasTensor([None, 2]))


class WithCritic(keras.Model):
    """A model with two optimizers, sub-models in a list, a tracker and a seed generator."""

    def __init__(self, width=4):
        super().__init__()
        self.net = keras.Sequential([keras.Input([3]), keras.layers.Dense(width)])
        self.heads = [keras.layers.Dropout(0.5), keras.layers.BatchNormalization()]
        self.last = keras.layers.Dense(2)
        self.seed_generator = keras.random.SeedGenerator(7)
        self.tracker = keras.metrics.Mean(name="cosine")

    def build(self, shape):
        for head in self.heads:
            head.build([None, self.net.output_shape[-1]])
        self.last.build([None, self.net.output_shape[-1]])

    def call(self, x, training=False):
        h = self.net(x)
        for head in self.heads:
            h = head(h, training=training)
        return self.last(h)

    def compile(self, critic_optimizer, **kwargs):
        super().compile(**kwargs)
        self.critic_optimizer = critic_optimizer
        self.critic_optimizer.build(self.net.trainable_variables)


def make(width=4, built=True):
    model = WithCritic(width)
    model.compile(
        keras.optimizers.Adam(), optimizer="sgd", loss="mse", metrics=["mae"], run_eagerly=True
    )
    if built:
        resumable.build(model, SPEC)
    return model


def scramble(model, seed=0):
    """Give every variable other values and return them."""
    rng = np.random.default_rng(seed)
    for variable in checkpoints.named_variables(model).values():
        variable.assign(rng.integers(1, 99, variable.shape))
    return checkpoints.capture(model)


def equal(first, second):
    return first.keys() == second.keys() and all((first[k] == second[k]).all() for k in first)


def test_all_state_comes_back(tmp_path):
    model = make()
    state = scramble(model)
    store = Checkpoints(tmp_path)
    store.save(model, 5, seconds=1.5)
    other = make()  # Keras numbers its layers anew.
    assert store.restore_latest(other) == {"format": 1, "step": 5, "seconds": 1.5}
    assert equal(state, checkpoints.capture(other))
    names = " ".join(state)
    for name in ("seed_generator", "moving_mean", "cosine/total", "absolute_error/total"):
        assert name in names
    assert {name.split("/")[0] for name in state} == {
        *("model", "metrics", "optimizer", "critic_optimizer")
    }
    assert sum("seed_generator_state" in name for name in state) == 2


def test_an_empty_folder_restores_nothing(tmp_path):
    assert Checkpoints(tmp_path / "new").restore_latest(make()) is None


def test_state_comes_back_under_two_replicas(tmp_path, two_replicas):
    with two_replicas.scope():
        model, other = make(), make()
    for i, copy in enumerate(checkpoints.copies(model.heads[1].moving_mean)):
        copy.assign(np.full(4, i))  # In training, too, each replica moves its own.
    Checkpoints(tmp_path).save(model, 2)
    Checkpoints(tmp_path).restore_latest(other)
    assert equal(checkpoints.capture(model), checkpoints.capture(other))
    first, second = checkpoints.copies(other.heads[1].moving_mean)
    assert (first.numpy() == 0).all()
    assert (second.numpy() == 1).all()
    assert sum("@" in name for name in checkpoints.capture(model)) == 1


def test_the_last_and_the_best_stay(tmp_path):
    model = make()
    store = Checkpoints(tmp_path, keep=2, monitor="val_loss", mode="min")
    for step, loss in enumerate([0.5, 0.1, float("nan"), 0.4, 0.3]):
        store.save(model, step, logs={"val_loss": loss})
    store.save(model, 5)  # Inside an epoch: no value.
    assert [path.name for path in store.paths()] == [
        f"step-000000000{step}.npz" for step in (1, 4, 5)
    ]
    assert store.best() == store.paths()[0]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_checkpoint_gives_way_to_the_one_before(tmp_path, capsys, share):
    model, store = make(), Checkpoints(tmp_path)
    state = scramble(model)
    store.save(model, 1)
    scramble(model, seed=1)
    store.save(model, 2)
    newest = store.paths()[-1]
    newest.write_bytes(newest.read_bytes()[: int(share * newest.stat().st_size)])
    assert store.restore_latest(model)["step"] == 1
    assert equal(state, checkpoints.capture(model))
    err = capsys.readouterr().err
    assert "step-0000000002.npz is damaged" in err
    assert err.count("\n") == 1
    assert newest.with_suffix(".damaged").exists()


def test_where_no_checkpoint_can_be_read_a_line_says_so(tmp_path, capsys):
    model, store = make(), Checkpoints(tmp_path)
    assert store.restore_latest(model) is None
    assert capsys.readouterr().err == ""
    store.save(model, 3)
    store.paths()[0].write_text("x")
    assert store.restore_latest(model) is None
    damaged, last = capsys.readouterr().err.splitlines()
    assert "step-0000000003.npz is damaged" in damaged
    assert last == f"{tmp_path}: no checkpoint can be read: starts at step 0"


def test_changed_bytes_are_noticed(tmp_path):
    model, store = make(), Checkpoints(tmp_path)
    scramble(model)
    store.save(model, 1)
    scramble(model, seed=1)
    kernel = model.last.kernel.numpy().tobytes()
    store.save(model, 2)
    newest = store.paths()[-1]
    content = newest.read_bytes()
    assert content.count(kernel) == 1
    newest.write_bytes(content.replace(kernel, bytes(len(kernel))))
    assert store.restore_latest(model)["step"] == 1


def test_nothing_is_unpickled(tmp_path):
    store = Checkpoints(tmp_path)
    state = {"model/0000/x": np.array([print], dtype=object)}
    with pytest.raises(ValueError, match="allow_pickle"):
        checkpoints.write(tmp_path / "step-0000000001.npz", state, {"format": 1, "step": 1})
    assert store.paths() == []


def test_another_net_is_an_error(tmp_path):
    store = Checkpoints(tmp_path)
    store.save(make(width=4), 1)
    model = make(width=5)
    before = checkpoints.capture(model)
    with pytest.raises(UsageError, match=r"another net: .*\[3, 4\] there, float32 \[3, 5\] here"):
        store.restore_latest(model)
    assert equal(before, checkpoints.capture(model))
    assert len(store.paths()) == 1  # It is not damaged.


def test_another_format_is_an_error(tmp_path):
    model, store = make(), Checkpoints(tmp_path)
    state = checkpoints.capture(model)
    checkpoints.write(tmp_path / "step-0000000001.npz", state, {"format": 9, "step": 1})
    with pytest.raises(UsageError, match="format 9, this version reads 1"):
        store.restore_latest(model)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_weights_are_never_saved(tmp_path, value):
    model, store = make(), Checkpoints(tmp_path)
    model.last.bias.assign([0, value])
    with pytest.raises(checkpoints.NonFinite, match="bias is no longer finite"):
        store.save(model, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path):
    model, store = make(), Checkpoints(tmp_path)
    store.save(model, 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: .*step-0000000002\.npz"):
            store.save(model, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000000001.npz"]


def test_leftovers_are_removed(tmp_path):
    (tmp_path / ".step-0000000001.npz.tmp").write_bytes(b"half")
    Checkpoints(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_optimizer_without_variables_is_an_error():
    model = make(built=False)
    model.critic_optimizer = keras.optimizers.Adam()
    with pytest.raises(ValueError, match="critic_optimizer has no variables"):
        resumable.build(model, SPEC)


@pytest.mark.parametrize(
    "facts",
    [
        [],
        None,
        {"format": 1},
        {"format": 1, "step": "2"},
        {"format": 1, "step": -3},
        {"format": 1, "step": 2, "logs": []},
        {"format": 1, "step": 2, "seconds": "long"},
        {"format": 1, "step": 2, "epoch_ended": 1},
    ],
)
def test_facts_of_another_shape_are_damaged(tmp_path, capsys, facts):
    model, store = make(), Checkpoints(tmp_path, monitor="loss")
    store.save(model, 1, epoch_ended=True)
    checkpoints.write(tmp_path / "step-0000000002.npz", checkpoints.capture(model), facts)
    assert store.best() is None
    assert store.restore_latest(model, needs={"epoch_ended": bool})["step"] == 1
    assert "step-0000000002.npz is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("step", [999, 3, 1])
def test_a_step_outside_the_run_is_refused(tmp_path, step):
    model, store = make(), Checkpoints(tmp_path)
    state = checkpoints.capture(model)
    checkpoints.write(tmp_path / "step-0000000002.npz", state, {"format": 1, "step": step})
    with pytest.raises(UsageError, match=f"of step {step} of 24: it is damaged; remove it"):
        store.restore_latest(model, total=24)
    checkpoints.write(tmp_path / "step-0000000999.npz", state, {"format": 1, "step": 999})
    with pytest.raises(UsageError, match="of step 999 of 24"):
        store.restore_latest(model, total=24)


def test_weights_that_are_not_finite_are_damaged(tmp_path, capsys):
    model, store = make(), Checkpoints(tmp_path)
    state = checkpoints.capture(model)
    name = next(name for name in state if name.endswith("kernel"))
    state = state | {name: np.full_like(state[name], np.nan)}
    checkpoints.write(tmp_path / "step-0000000002.npz", state, {"format": 1, "step": 2})
    assert store.restore_latest(model) is None
    assert "kernel is not finite" in capsys.readouterr().err


def test_the_checkpoint_of_another_run_is_refused(tmp_path):
    model, store = make(), Checkpoints(tmp_path, run="0123abcd")
    store.save(model, 1)
    assert store.restore_latest(model)["run"] == "0123abcd"
    before = checkpoints.capture(model)
    with pytest.raises(UsageError, match=r"is not of this run: it is the file of run 0123abcd, ex"):
        Checkpoints(tmp_path, run="ffff0000").restore_latest(model)
    for name, array in checkpoints.capture(model).items():
        np.testing.assert_array_equal(array, before[name])
    checkpoints.write(tmp_path / "step-0000000001.npz", before, {"format": 1, "step": 1})
    assert Checkpoints(tmp_path, run="ffff0000").restore_latest(model)["step"] == 1  # an older one
