"""Asynchronous training under a parameter server, where updates race (section 4.3's Hogwild).

The cluster comes from TF_CONFIG: tasks `ps` hold the weights, tasks `worker` take steps, and the
`chief` hands out batches; all run the same command. Keras's `fit` does not know this strategy, so
the loop here is the coordinator's own. Gradients are taken at weights that others change
meanwhile, and momenta and moving averages, which are read and written back, overwrite each other.
Sums of metrics and counts of steps do not race. Held-out numbers and checkpoints are taken while
nobody works.
"""

import functools
import json
import os
import signal

import keras
import tensorflow as tf

from train.lib.run import checkpoints, tf_servers
from train.lib.run.errors import CommandError, UsageError

WAIT = 60  # seconds for servers to come up
ROUND = 8  # steps of each worker between two looks at the clock


def serve_if_asked():
    """In the process of a `worker` or `ps` of TF_CONFIG: serves, until the process is ended."""
    cluster, job = _config()
    if job in ("worker", "ps"):
        print(f"serving as {job} in {cluster}; Ctrl-C ends it", flush=True)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # TensorFlow's `join` lets no Python run
        tf_servers.serve().join()


def strategy():
    """A ParameterServerStrategy of TF_CONFIG's cluster, all of whose servers answer.

    Raises UsageError for a TF_CONFIG that is missing or names no server or worker, and, after
    WAIT seconds, for an address that does not answer.
    """
    cluster, _ = _config()
    tf_servers.wait({job: cluster[job] for job in ("ps", "worker")}, WAIT)
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    return tf.distribute.ParameterServerStrategy(resolver)


def _config():
    """({job: addresses}, this task's job) of TF_CONFIG."""
    given = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(given)
        cluster, job = config["cluster"], config["task"]["type"]
        known = all(cluster[name] for name in ("ps", "worker")) and job in ("chief", *cluster)
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise UsageError(
            "--strategy=parameter_server: expected TF_CONFIG with addresses of ps and worker and a "
            f"task, given {given or 'none'!r}; python -m train.cluster starts all on this machine"
        )
    return cluster, job


def loops(model):
    """(fit, evaluate) of a Keras model: its own, or under this strategy those of this module."""
    if isinstance(model.distribute_strategy, tf.distribute.ParameterServerStrategy):
        return functools.partial(fit, model), functools.partial(evaluate, model)
    return model.fit, model.evaluate


def fit(
    model,
    data,
    initial_epoch,
    epochs,
    steps_per_epoch,
    validation_data=None,
    callbacks=(),
    **_,
):
    """As a Keras model's `fit`, each batch of the stream `data` to whichever worker is free.

    A worker that dies is done without, and its batch goes to another one. Callbacks are told of
    batches after each round of some steps.

    Raises CommandError if a server is gone, and the weights with it.
    """
    strategy = model.distribute_strategy
    workers = tf.distribute.coordinator.ClusterCoordinator(strategy)
    test = _test_function(model)

    @tf.function(autograph=False)
    def step(batch):
        strategy.run(model.train_step, args=(batch,))

    told = keras.callbacks.CallbackList(callbacks, model=model)
    batches = iter(data)
    counts = [optimizer.iterations for optimizer in checkpoints.optimizers(model).values()]
    for variable in (*model.metrics_variables, *counts):
        # One operation on the server: Keras reads, adds and writes, and loses what came between.
        variable.assign_add = functools.partial(_add, variable)
    taken, size = int(model.optimizer.iterations.numpy()), ROUND * len(_config()[0]["worker"])
    told.on_train_begin()
    try:
        for epoch in range(initial_epoch, epochs):
            model.reset_metrics()
            told.on_epoch_begin(epoch)
            for first in range(0, steps_per_epoch, size):
                done = min(first + size, steps_per_epoch)
                for _ in range(first, done):
                    workers.schedule(step, args=(next(batches),))
                workers.join()
                taken += done - first
                for count in counts:
                    count.assign(taken)  # a batch that a dead worker had begun counts once
                logs = _numbers(model.get_metrics_result())
                told.on_train_batch_end(done - 1, logs)
            if validation_data is not None:
                found = evaluate(model, validation_data, callbacks, test)
                logs |= {f"val_{name}": value for name, value in found.items()}
            told.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
    except (tf.errors.UnavailableError, tf.errors.AbortedError) as error:
        raise CommandError(
            f"a parameter server of {', '.join(_config()[0]['ps'])} is gone, with its weights: "
            "start it again, and the same command, which goes on at the last checkpoint"
        ) from error
    told.on_train_end(logs)


def _test_function(model):
    return tf.function(model.test_step, autograph=False, reduce_retracing=True)


def evaluate(model, data, callbacks=(), test=None, **_):
    """As a Keras model's `evaluate`, by the coordinator alone; the logs."""
    test = test or _test_function(model)
    told = keras.callbacks.CallbackList(callbacks, model=model)
    model.reset_metrics()
    for number, batch in enumerate(data):
        test(batch)
        told.on_test_batch_end(number)
    return {
        name: value
        for name, value in _numbers(model.get_metrics_result()).items()
        if not name.startswith("cut")
    }


def _add(variable, value):
    variable.value.assign_add(tf.cast(value, variable.dtype))


def _numbers(logs):
    return {name: float(value) for name, value in logs.items()}
