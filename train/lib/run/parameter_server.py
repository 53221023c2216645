"""Asynchronous training under a parameter server, where updates race (section 4.3's Hogwild).

The cluster comes from TF_CONFIG: tasks `ps` hold the weights, tasks `worker` take steps, and the
`chief` distributes batches; all run the same command. Keras's `fit` does not support this
strategy, so the loop here is the coordinator's own.

What races: gradients are taken at weights that others change meanwhile, and momenta and moving
averages, which are read and written back, overwrite each other. What does not: sums of metrics and
counts of steps, evaluations and checkpoints, for which the workers stop.
"""

import functools
import os
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from train.lib.run import checkpoints, tf_config, tf_servers
from train.lib.run.errors import CommandError, UsageError, last_line

WAIT = 60  # seconds for servers to come up
ROUND = 8  # steps of each worker between two looks at the clock


def serve_unless_chief() -> None:
    """Serve until the process ends, if it is a `worker` or `ps` of TF_CONFIG."""
    cluster, job = _config()
    if job in ("worker", "ps"):
        print(f"serving as {job} in {cluster}; Ctrl-C ends it", flush=True)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # TensorFlow's `join` lets no Python run
        try:
            server = tf_servers.serve()
        except tf.errors.OpError as error:
            raise CommandError(f"cannot serve as {job}: {last_line(error)}") from error
        server.join()


def strategy() -> tf.distribute.ParameterServerStrategy:
    """Return a ParameterServerStrategy of TF_CONFIG's cluster, all of whose servers answer.

    Raises:
      UsageError: for a TF_CONFIG that is missing or names no server or worker, and, after WAIT
        seconds, for an address that does not answer.
    """
    cluster, _ = _config()
    tf_servers.wait({job: cluster[job] for job in ("ps", "worker")}, WAIT)
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    return tf.distribute.ParameterServerStrategy(resolver)


def _config() -> tuple[Mapping[str, Sequence[str]], str]:
    """Return ({job: addresses}, this task's job) of TF_CONFIG."""
    text = os.environ.get("TF_CONFIG", "")
    try:
        return tf_config.parse(text)
    except ValueError as error:
        raise UsageError(
            "--strategy=parameter_server: expected TF_CONFIG with addresses of ps and worker and a "
            f"task, {text or 'nothing'} is given ({error}); python -m train.cluster starts all on "
            "this machine"
        ) from error


def fit_and_evaluate(
    model: keras.Model,
) -> tuple[Callable[..., Any], Callable[..., dict[str, float]]]:
    """Return a model's (fit, evaluate): its own, or under this strategy those of this module."""
    if isinstance(model.distribute_strategy, tf.distribute.ParameterServerStrategy):
        return functools.partial(fit, model), functools.partial(evaluate, model)
    return model.fit, model.evaluate


def fit(
    model: keras.Model,
    data: tf.data.Dataset,
    initial_epoch: int,
    epochs: int,
    steps_per_epoch: int,
    validation_data: tf.data.Dataset | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **unused: Any,
) -> None:
    """Train as a Keras model's `fit` does: each batch of `data` goes to a worker that is free.

    Training continues without a worker that dies; its batch goes to another one. Callbacks are
    called after each round of some steps.

    Raises:
      CommandError: if a parameter server is gone, and the weights with it.
    """
    strategy = model.distribute_strategy
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    test = _test_function(model)

    @tf.function(autograph=False)
    def step(batch):
        strategy.run(model.train_step, args=(batch,))

    callback_list = keras.callbacks.CallbackList(callbacks, model=model)
    batches = iter(data)
    counts = {name: o.iterations for name, o in checkpoints.optimizers(model).items()}
    with strategy.scope():
        updates = updates_of_step(model)
    for variable in (*model.metrics_variables, *counts.values()):
        # One operation on the server: Keras would read, add and write, and lose updates in between.
        variable.assign_add = functools.partial(_add, variable)
    taken = int(model.optimizer.iterations.numpy())
    size = ROUND * len(_config()[0]["worker"])
    callback_list.on_train_begin()
    try:
        for epoch in range(initial_epoch, epochs):
            model.reset_metrics()
            callback_list.on_epoch_begin(epoch)
            for first in range(0, steps_per_epoch, size):
                done = min(first + size, steps_per_epoch)
                for _ in range(first, done):
                    coordinator.schedule(step, args=(next(batches),))
                coordinator.join()
                taken += done - first
                for name, count in counts.items():
                    # Counts a batch once that a dead worker had begun.
                    count.assign(taken * updates[name])
                logs = _numbers(model.get_metrics_result())
                callback_list.on_train_batch_end(done - 1, logs)
            if validation_data is not None:
                results = evaluate(model, validation_data, callbacks, test)
                logs |= {f"val_{name}": value for name, value in results.items()}
            callback_list.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
    except (tf.errors.UnavailableError, tf.errors.AbortedError) as error:
        raise CommandError(
            f"a parameter server of {', '.join(_config()[0]['ps'])} is gone, with its weights: "
            "start it again; the same command resumes from the last checkpoint"
        ) from error
    callback_list.on_train_end(logs)


def updates_of_step(model: keras.Model) -> dict[str, int]:
    """Return how many updates each optimizer of `model` makes in a training step, by its name."""
    updates = dict.fromkeys(checkpoints.optimizers(model), 1)
    if "critic_optimizer" in updates:
        updates["critic_optimizer"] = model.critic_updates.total
    return updates


def _test_function(model: keras.Model) -> Callable[[Any], Any]:
    return tf.function(model.test_step, autograph=False, reduce_retracing=True)


def evaluate(
    model: keras.Model,
    data: Iterable[Any],
    callbacks: Sequence[keras.callbacks.Callback] = (),
    test: Callable[[Any], Any] | None = None,
    **unused: Any,
) -> dict[str, float]:
    """Return the logs of a model's `evaluate`, computed by the coordinator."""
    test = test or _test_function(model)
    callback_list = keras.callbacks.CallbackList(callbacks, model=model)
    model.reset_metrics()
    for index, batch in enumerate(data):
        test(batch)
        callback_list.on_test_batch_end(index)
    return {
        name: value
        for name, value in _numbers(model.get_metrics_result()).items()
        if not name.startswith("cut")
    }


def _add(variable: keras.Variable, value: Any) -> None:
    variable.value.assign_add(tf.cast(value, variable.dtype))


def _numbers(logs: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in logs.items()}
