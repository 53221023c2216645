"""Train small models under MultiWorkerMirroredStrategy, and write their weights.

    TF_CONFIG=... python tests/support/workers.py OUT.npz

Without TF_CONFIG it does the same in one process. Run by test_strategies.py.
"""

import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import keras
import numpy as np
import tensorflow as tf

import sobolev_tf as st
from sobolev_tf.distillation import PolicyDivergence

strategy = (
    tf.distribute.MultiWorkerMirroredStrategy()
    if "TF_CONFIG" in os.environ
    else tf.distribute.get_strategy()
)
RNG = np.random.default_rng(0)
X = RNG.normal(size=[32, 3]).astype("float32")
Y = np.sin(X).sum(1, keepdims=True)
DY = np.cos(X)[:, None]
LABELS = RNG.integers(0, 3, 32)


def dataset(*arrays):
    """Global batches of 16; every worker is given its own half of each."""
    data = tf.data.Dataset.from_tensor_slices(arrays).batch(16)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return data.with_options(options)


def sobolev():
    model = st.SobolevModel(st.nets.mlp(3, hidden=[8], activation="tanh"))
    model.compile(keras.optimizers.SGD(0.1), loss_weights=[1.0, 0.5], metrics=["mae"])
    return model, dataset(X, (Y, DY))


def decoupled():
    inputs = keras.Input([3])
    h = keras.layers.Dense(8, "tanh", name="hidden")(inputs)
    net = keras.Model(inputs, keras.layers.Dense(3)(h))
    model = st.DecoupledModel(st.split(net, at=["hidden"]), critic=st.synthetic.dense_critic)
    model.compile(
        optimizer=keras.optimizers.SGD(0.1),
        critic_optimizer=keras.optimizers.SGD(0.01),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        critic_updates="sync",
    )
    return model, dataset(X, LABELS)


def distiller():
    def net(width):
        layers = [keras.layers.Dense(width, "tanh"), keras.layers.Dense(3)]
        return keras.Sequential([keras.Input([3]), *layers])

    # Replicas draw their own directions; the squared norm over a whole basis is the same in all.
    model = st.PolicyDistiller(net(8), net(16), alpha=0.1, projections=3, orthogonal=True)
    losses = [PolicyDivergence(), st.losses.SquaredNorm()]
    model.compile(keras.optimizers.SGD(0.1), losses)
    return model, dataset(X)


arrays = {}
for name, make in {"sobolev": sobolev, "decoupled": decoupled, "distiller": distiller}.items():
    keras.utils.set_random_seed(1)
    with strategy.scope():
        model, data = make()
    history = model.fit(data, epochs=2, validation_data=data, verbose=0).history
    arrays |= {f"{name}/{i}": v.numpy() for i, v in enumerate(model.trainable_variables)}
    arrays |= {f"{name}/{log}": values for log, values in history.items()}
np.savez(sys.argv[1], **arrays)
