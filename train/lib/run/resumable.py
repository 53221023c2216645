"""Keras `fit` for runs that are killed: the same command goes on from the last checkpoint.

`fit` cannot restore the position of a data set. Here the data is an endless stream that begins
at any step, a pure function of its seed; so the model's state and the step are all there is to
save. A run killed inside an epoch first trains the rest of it, on the restored metrics.
"""

import contextlib
import os
import signal

import keras
import tensorflow as tf

from train.lib.run import parameter_server
from train.lib.run.checkpoints import Checkpoints, optimizers
from train.lib.run.metrics_csv import History
from train.lib.run.save_callback import Diverged, Saver

FRESH = {"step": 0, "epoch_ended": True, "seconds": 0.0}


def fit(
    model,
    make_stream,
    run,
    epochs,
    steps_per_epoch,
    validation_data=None,
    callbacks=(),
    save_steps=None,
    save_minutes=5,
    keep=3,
    monitor=None,
    mode="max",
    verbose="auto",
):
    """Train a compiled Keras model from where `run` stands, and return the rows of metrics.csv.

    `make_stream(step)` returns an endless tf.data.Dataset of batches that begins with the batch
    of that global step. A checkpoint is written every `save_steps` steps, every `save_minutes`
    minutes and at the end of an epoch; the last `keep` and the best by `monitor` stay.

    All randomness of the model must come from seed generators (Keras layers do so): the state
    of `tf.random.uniform` and the like is in no variable. Callbacks see `on_train_begin` twice
    when an epoch was resumed, and their Python state is not restored.

    Raises ValueError for settings that cannot resume exactly, UsageError if the run is of
    another net or length of epoch, Diverged for a loss that is not finite, Stopped on SIGTERM
    and Ctrl-C.

        with run_folder.Run(cli.workdir(settings), settings.stored()) as run:
            rows = resumable.fit(model, lambda step: stream(0, start_step=step), run, 3, 100)
    """
    check_settings(model, steps_per_epoch)
    build(model, make_stream(0).element_spec)
    validation_data = direct(model.distribute_strategy, validation_data)
    checkpoints = Checkpoints(run.path("checkpoints"), keep, monitor, mode)
    replicas = model.distribute_strategy.num_replicas_in_sync
    here = {"steps_per_epoch": steps_per_epoch, "replicas": replicas}
    run.add_facts(**here)
    start = checkpoints.restore_latest(model) or FRESH | here
    # Where the epoch's end was not reached, its row is written again.
    history = History(run.path("metrics.csv"), start["step"] - (not start["epoch_ended"]))
    total = epochs * steps_per_epoch
    if start["step"] and start["step"] < total:
        print(f"{run.folder}: going on at step {start['step']} of {total}")
    elif start["step"]:
        print(f"{run.folder}: all {total} steps are done; another --workdir starts afresh")

    with caught_signals() as caught, diverged(run.folder):
        saver = Saver(
            *(checkpoints, history, caught, start, total, save_steps, save_minutes),
            validates=validation_data is not None,
        )
        common = {"callbacks": [*callbacks, saver], "verbose": verbose, "shuffle": False}
        train, _ = parameter_server.loops(model)
        epoch, done = divmod(start["step"], steps_per_epoch)
        model.stop_training = False
        if done:
            train(
                direct(model.distribute_strategy, make_stream(start["step"])),
                initial_epoch=epoch,
                epochs=epoch + 1,
                steps_per_epoch=steps_per_epoch - done,
                validation_data=validation_data,
                **common,
            )
            epoch += 1
        elif not start["epoch_ended"]:
            logs = start["train_logs"]
            finish_epoch(model, epoch - 1, logs, validation_data, common["callbacks"])
        if epoch < epochs and not model.stop_training:
            train(
                direct(model.distribute_strategy, make_stream(epoch * steps_per_epoch)),
                initial_epoch=epoch,
                epochs=epochs,
                steps_per_epoch=steps_per_epoch,
                validation_data=validation_data,
                **common,
            )
    return [{name: float(value) for name, value in row.items()} for row in history.rows]


def check_settings(model, steps_per_epoch):
    """Raise ValueError for settings with which `fit` cannot resume where it stopped."""
    if steps_per_epoch % model.steps_per_execution:
        raise ValueError(
            f"steps_per_epoch={steps_per_epoch} must be a multiple of "
            f"steps_per_execution={model.steps_per_execution}: Keras would train more steps."
        )
    for name, optimizer in optimizers(model).items():
        if optimizer.use_ema:
            raise ValueError(f"{name} has use_ema=True, which overwrites the weights after `fit`.")


def build(model, element_spec):
    """Create every variable that training will use, so that a checkpoint finds its place.

    Raises ValueError if an optimizer besides `optimizer` is not built: only the model knows
    what it updates, and builds it in `compile`.
    """
    with model.distribute_strategy.scope():
        # Private, but what `fit` calls, and there only under a strategy: without one, metrics
        # would be created inside the first step.
        model._symbolic_build(data_batch=element_spec)
    for name, optimizer in optimizers(model).items():
        if not optimizer.built:
            raise ValueError(f"{name} has no variables: build it in the model's `compile`.")


def direct(strategy, dataset):
    """Return `dataset` for Keras, read directly where the strategy has one replica, on a CPU.

    A MirroredStrategy would put an iterator for each device in between, whose autotuning thread
    sleeps for up to a minute at a time, and is waited for at the end of `fit`.
    """
    if dataset is None or not isinstance(strategy, tf.distribute.MirroredStrategy):
        return dataset
    devices = strategy.extended.worker_devices
    if len(devices) > 1 or "CPU" not in devices[0]:
        return dataset
    options = tf.distribute.InputOptions(
        experimental_fetch_to_device=False,
        experimental_replication_mode=tf.distribute.InputReplicationMode.PER_REPLICA,
    )
    return strategy.distribute_datasets_from_function(lambda _: dataset, options)


def finish_epoch(model, epoch, logs, validation_data, callbacks):
    """Do what `fit` does after an epoch's last step: validate and tell the callbacks."""
    told = keras.callbacks.CallbackList(callbacks, model=model)
    told.on_train_begin()
    told.on_epoch_begin(epoch)
    if validation_data is not None:
        _, evaluate = parameter_server.loops(model)
        found = evaluate(validation_data, return_dict=True, verbose=0, callbacks=callbacks[-1:])
        logs = logs | {f"val_{name}": value for name, value in found.items()}
    told.on_epoch_end(epoch, logs)


@contextlib.contextmanager
def diverged(folder):
    """Turn what a model raises of its own accord, for a loss that is not finite, into Diverged."""
    try:
        yield
    except FloatingPointError as error:
        raise Diverged(f"{folder}: {error}; a lower rate needs another --workdir") from error


@contextlib.contextmanager
def caught_signals():
    """Collect SIGTERM and SIGINT in a list instead of dying; a second one kills as usual."""
    caught = []

    def note(number, frame):
        caught.append(number)
        signal.signal(number, before[number])
        # Not by `print`, which the signal may have interrupted.
        os.write(2, b"\nStops after this step, and saves. Once more: stops at once.\n")

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
