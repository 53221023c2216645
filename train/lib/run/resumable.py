"""Keras `fit` for runs that are killed: the same command resumes from the last checkpoint.

`fit` cannot restore the position of a data set. Here the data is an endless stream that begins
at any step, a pure function of its seed; so the model's state and the step are all there is to
save. A run killed inside an epoch first trains the rest of it, on the restored metrics.
"""

import contextlib
import dataclasses
import math
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from train.lib.run import parameter_server, workers
from train.lib.run.checkpoints import Checkpoints, optimizers, stem
from train.lib.run.errors import UsageError
from train.lib.run.metrics_csv import History
from train.lib.run.run_folder import Run
from train.lib.run.save_callback import Diverged, Position, Saver


@dataclasses.dataclass(frozen=True)
class Saving:
    """When a checkpoint is written, and which ones stay.

    Args:
      minutes: the longest time between two checkpoints.
      steps: the most steps between two checkpoints; None for any number.
      keep: how many of the last checkpoints stay.
      monitor: log by which to keep the best one besides; None keeps no best one.
      mode: "max" if the best `monitor` is the highest, "min" if it is the lowest.
    """

    minutes: float = 5
    steps: int | None = None
    keep: int = 3
    monitor: str | None = None
    mode: str = "max"


EVERY_FIVE_MINUTES = Saving()


def fit(
    model: keras.Model,
    make_stream: Callable[[int], tf.data.Dataset],
    run: Run,
    epochs: int,
    steps_per_epoch: int,
    *,
    validation_data: tf.data.Dataset | None = None,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    saving: Saving = EVERY_FIVE_MINUTES,
    verbose: str | int = "auto",
) -> list[dict[str, float]]:
    """Train a compiled Keras model from where `run` stands.

    All randomness of the model must come from seed generators (Keras layers do so): the state
    of `tf.random.uniform` and the like is in no variable. Callbacks see `on_train_begin` twice
    when an epoch was resumed, and their Python state is not restored.

    Args:
      model: the model; every optimizer that it has is built in `compile`.
      make_stream: step -> endless dataset of batches that begins with the batch of that step. At
        one of several workers, of its share, in batches of one replica; so is validation_data.
      run: the open run folder; gets checkpoints and metrics.csv.
      epochs: length of the whole run.
      steps_per_epoch: steps between two rows of metrics.csv, each after a validation.
      validation_data: what to evaluate on at the end of an epoch.
      callbacks: Keras callbacks.
      saving: when to write checkpoints, and which to keep. At the end of an epoch, always.
      verbose: as in `keras.Model.fit`.

    Returns:
      The rows of metrics.csv.

    Raises:
      ValueError: for settings with which a run cannot resume exactly.
      UsageError: if the run is of another net or another length of epoch.
      Diverged: for a loss that is not finite.
      Stopped: on SIGTERM and Ctrl-C.

    Example:
        with run_folder.Run(cli.workdir(settings), settings.stored()) as run:
            rows = resumable.fit(model, lambda step: stream(0, start_step=step), run, 3, 100)
    """
    check_settings(model, steps_per_epoch)
    build(model, make_stream(0).element_spec)
    checkpoints = Checkpoints(
        run.path("checkpoints"),
        saving.keep,
        saving.monitor,
        saving.mode,
        run=run.id if workers.is_chief(model.distribute_strategy) else None,
        before_save=run.refuse_if_removed,
    )
    facts = {
        "steps_per_epoch": steps_per_epoch,
        "replicas": model.distribute_strategy.num_replicas_in_sync,
    }
    run.add_facts(**facts)
    total = epochs * steps_per_epoch
    restored = restore(model, checkpoints, run, total)
    position = Position.of(restored)
    # Where the epoch's end was not reached, its row is written again.
    last_row = position.step if position.epoch_ended else position.step - 1
    known_logs = sorted(restored.get("logs", position.train_logs))
    history = History(
        run.path("metrics.csv"),
        last_row,
        columns=["epoch", "step", "seconds", *known_logs],
    )
    check_last_row(history, last_row, steps_per_epoch)
    if position.epoch_ended:
        check_logs(history, restored.get("logs", {}))
    if position.step and position.step < total:
        print(f"{run.folder}: resuming at step {position.step} of {total}")
    elif position.step:
        print(f"{run.folder}: all {total} steps are done; another --workdir starts afresh")

    with caught_signals() as caught, diverged(run.folder):
        saver = Saver(
            checkpoints,
            history,
            position,
            steps_per_epoch=steps_per_epoch,
            total=total,
            facts=facts,
            save_steps=saving.steps,
            save_minutes=saving.minutes,
            validates=validation_data is not None,
            caught=caught,
        )
        train_rest(
            model,
            make_stream,
            position,
            epochs,
            steps_per_epoch,
            validation_data=direct(model.distribute_strategy, validation_data),
            callbacks=[*callbacks, saver],
            verbose=verbose,
        )
    return [{name: float(value) for name, value in row.items()} for row in history.rows]


def restore(model: keras.Model, checkpoints: Checkpoints, run: Run, total: int) -> dict[str, Any]:
    """Put the newest state of the run into `model`, and return its facts; {} without one.

    Of several workers, the chief has the run folder, and sends what the others need of it.
    """
    strategy = model.distribute_strategy
    facts = None
    if workers.is_chief(strategy):
        facts = checkpoints.restore_latest(model, total, needs=Position.NEEDS)
    if workers.are_several(strategy):
        step = int(workers.gather(strategy, np.array(facts["step"] if facts else -1))[0])
        checkpoint = checkpoints.folder / f"{stem(step)}.npz"
        workers.copy_files(strategy, [checkpoint, run.path("metrics.csv")])
        if not workers.is_chief(strategy):
            facts = checkpoints.restore_latest(model, total, needs=Position.NEEDS)
            checkpoint.unlink(missing_ok=True)
    return facts or {}


def train_rest(
    model: keras.Model,
    make_stream: Callable[[int], tf.data.Dataset],
    position: Position,
    epochs: int,
    steps_per_epoch: int,
    *,
    validation_data: Any,
    callbacks: list[keras.callbacks.Callback],
    verbose: str | int,
) -> None:
    """Train from `position` to the end: the rest of a begun epoch, then whole ones."""
    keras_fit, _ = parameter_server.fit_and_evaluate(model)
    epoch, steps_done = divmod(position.step, steps_per_epoch)

    def train(step: int, last_epoch: int, steps: int) -> None:
        keras_fit(
            direct(model.distribute_strategy, make_stream(step)),
            initial_epoch=epoch,
            epochs=last_epoch,
            steps_per_epoch=steps,
            validation_data=validation_data,
            callbacks=callbacks,
            verbose=verbose,
            shuffle=False,
        )

    model.stop_training = False
    if steps_done:
        train(position.step, epoch + 1, steps_per_epoch - steps_done)
        epoch += 1
    elif not position.epoch_ended:
        finish_epoch(model, epoch - 1, position.train_logs, validation_data, callbacks)
    if epoch < epochs and not model.stop_training:
        train(epoch * steps_per_epoch, epochs, steps_per_epoch)


def check_last_row(history: History, step: int, steps_per_epoch: int) -> None:
    """Raise UsageError unless metrics.csv ends with the last epoch that has ended by `step`."""
    last = history.rows[-1]["step"] if history.rows else 0
    expected = step // steps_per_epoch * steps_per_epoch
    if last != expected:
        raise UsageError(
            f"{history.path} ends at step {last:g}, but the last checkpoint is later: expected a "
            f"row of step {expected}; {remedy(history)}"
        )


def check_logs(history: History, logs: Mapping[str, float]) -> None:
    """Raise UsageError if the last row of metrics.csv has other logs than the checkpoint."""
    row = history.rows[-1] if history.rows else {}
    for name, value in logs.items():
        if row[name] != value and not math.isnan(value):
            raise UsageError(
                f"{history.path} is of another run or was changed: {name} is {row[name]:g} at step "
                f"{row['step']:g}, and {value:g} in the checkpoint; {remedy(history)}"
            )


def remedy(history: History) -> str:
    """Return what to do about a metrics.csv that is not that of the checkpoints."""
    folder = history.path.parent  # of a run, or of one of its nets
    return f"remove {folder}, and the same command trains it again, or choose another --workdir"


def check_settings(model: keras.Model, steps_per_epoch: int) -> None:
    """Raise ValueError for settings with which `fit` cannot resume where it stopped."""
    if steps_per_epoch % model.steps_per_execution:
        raise ValueError(
            f"steps_per_epoch={steps_per_epoch} must be a multiple of "
            f"steps_per_execution={model.steps_per_execution}: Keras would train more steps."
        )
    for name, optimizer in optimizers(model).items():
        if optimizer.use_ema:
            raise ValueError(f"{name} has use_ema=True, which overwrites the weights after `fit`.")


def build(model: keras.Model, element_spec: Any) -> None:
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


def direct(strategy: tf.distribute.Strategy, dataset: tf.data.Dataset | None) -> Any:
    """Return `dataset` for Keras, read directly if the strategy has one replica, on a CPU.

    One of several workers reads directly, too: its data is its share already.

    A MirroredStrategy would put an iterator for each device in between, whose autotuning thread
    sleeps for up to a minute at a time, and is waited for at the end of `fit`.
    """
    if dataset is not None and workers.are_several(strategy):
        return strategy.distribute_datasets_from_function(lambda _: dataset)
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


def finish_epoch(
    model: keras.Model,
    epoch: int,
    logs: Mapping[str, float],
    validation_data: Any,
    callbacks: list[keras.callbacks.Callback],
) -> None:
    """Do what `fit` does after an epoch's last step: validate and call the callbacks."""
    callback_list = keras.callbacks.CallbackList(callbacks, model=model)
    callback_list.on_train_begin()
    callback_list.on_epoch_begin(epoch)
    if validation_data is not None:
        _, evaluate = parameter_server.fit_and_evaluate(model)
        results = evaluate(validation_data, return_dict=True, verbose=0, callbacks=callbacks[-1:])
        logs = {**logs, **{f"val_{name}": value for name, value in results.items()}}
    callback_list.on_epoch_end(epoch, logs)


@contextlib.contextmanager
def diverged(folder: Path) -> Iterator[None]:
    """Turn the FloatingPointError of a model whose loss is not finite into Diverged."""
    try:
        yield
    except FloatingPointError as error:
        raise Diverged(
            f"{folder}: {error}; try a lower learning rate in another --workdir"
        ) from error


@contextlib.contextmanager
def caught_signals() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT in a list instead of dying; a second one kills as usual."""
    caught: list[int] = []

    def note(number, frame):
        caught.append(number)
        signal.signal(number, before[number])
        # Not by `print`, which the signal may have interrupted.
        os.write(2, b"\nStopping after this step, and saving. Once more stops at once.\n")

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
