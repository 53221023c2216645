"""One student net: how it is made, trained, tested, searched for, and played."""

import dataclasses
import math

import keras
import numpy as np
import tensorflow as tf

import sobolev_tf as st
from train.lib.atari import environment, play, policies, recordings
from train.lib.run import export, files, metrics_csv, progress, resumable, run_folder, schedule
from train.lib.run.errors import UsageError, one_line

METHODS = {"regular": 1, "sobolev": 4}  # what a step costs, roughly
SHOWN = {"kl": "KL", "d1_loss": "gradient", "val_kl": "test KL", "val_action_error": "test error"}
CHECKED = 64  # stacks on which the teacher has to answer what was recorded
TEST_BATCH = 500


@dataclasses.dataclass(frozen=True)
class Study:
    """What all nets of a run share: the game, the recording, the teacher and the settings.

    teacher: differentiable, frames -> logits; None where no method needs it.
    """

    game: str
    recording: recordings.Recording
    teacher: object
    batch_size: int
    divergence: str
    projections: int
    schedule: str
    seed: int
    jit: bool

    def student(self, method, rate, alpha, steps):
        """A fresh student, compiled for a training of so many steps."""
        keras.utils.set_random_seed(self.seed)
        model = st.PolicyDistiller(
            st.nets.atari_student(
                len(environment.ACTIONS[self.game]), environment.BACKGROUND[self.game]
            ),
            teacher=self.teacher if method == "sobolev" else None,
            alpha=alpha if method == "sobolev" else 0,
            divergence=self.divergence,
            uint8_images=True,
            projections=self.projections,
            seed=self.seed,
        )
        if self.schedule == "cosine":
            rate = keras.optimizers.schedules.CosineDecay(rate, steps)
        model.compile(keras.optimizers.Adam(rate), jit_compile=self.jit)
        return model

    def stream(self, steps, start=0):
        return recordings.random_batches(self.recording, steps, self.batch_size, self.seed, start)


def try_out(path, study, method, rate, alpha, train, test, steps):
    """The KL on the steps `test` after a short training on `train`; kept in the file `path`."""
    if path.exists():
        found = run_folder.read_json(path, "kl")["kl"]
        return math.inf if found is None else found
    model = study.student(method, rate, alpha, steps)
    try:
        told = [progress.Progress(steps, SHOWN, left="left of this trial")]
        model.fit(study.stream(train), steps_per_epoch=steps, callbacks=told, verbose=0)
        found = model.evaluate(
            recordings.in_order(study.recording, test, TEST_BATCH), verbose=0, return_dict=True
        )["kl"]
    except FloatingPointError:  # too high a rate
        found = math.inf
    found = found if math.isfinite(found) else math.inf
    facts = {"method": method, "rate": rate, "alpha": alpha, "steps": steps}
    files.write_json(path, {"kl": found, **facts})
    return found


def distil(folder, study, method, percent, rate, alpha, steps, train, test, settings):
    """Trains a net in a run folder of its own, or goes on with it, to summary.json."""
    given = {"percent": percent, "method": method, "rate": rate, "alpha": alpha, "steps": steps}
    with run_folder.Run(folder, given, "distill net") as run:
        run.add_facts(training_steps=len(train), test_steps=len(test))
        model = study.student(method, rate, alpha, steps)
        epochs, steps_per_epoch = schedule.pieces(steps, settings["evaluations"])
        rows = resumable.fit(
            model,
            lambda start: study.stream(train, start),
            run,
            epochs,
            steps_per_epoch,
            validation_data=recordings.in_order(study.recording, test, TEST_BATCH),
            callbacks=[progress.Progress(steps, SHOWN, left="left of this net")],
            saving=resumable.Saving(minutes=settings["save_minutes"], keep=1),
            verbose=0,
        )
        images, _ = next(iter(recordings.in_order(study.recording, test[:4], 4)))
        export.save(model, run.path("saved_model"), images)
        last = rows[-1]
        run.write_summary(
            given
            | {"training_steps": len(train), "test_steps": len(test)}
            | {"test_kl": last["val_kl"], "test_action_error": last["val_action_error"]}
            | {"seconds": last["seconds"]}
        )


def rows(folder, percent, method):
    """A finished net's rows for the run's metrics.csv."""
    names = {"seconds": "seconds", "kl": "kl", "action_error": "action_error"}
    names |= {"val_kl": "test_kl", "val_action_error": "test_action_error"}
    remedy = f"remove {folder}, and the same command trains it again"
    return [
        {"percent": percent, "method": method, "step": int(row["step"])}
        | {new: row[old] for old, new in names.items()}
        for row in metrics_csv.read_rows(folder / "metrics.csv", ["step", *names], remedy=remedy)
    ]


def true_scores(folder, game, episodes, seed):
    """True scores of the exported student at play, kept in its folder."""
    path = folder / f"play-{episodes}.json"
    if not path.exists():
        policy = policies.load(folder / "saved_model", game)
        files.write_json(path, play.scores(policy, game, episodes, seed).tolist())
    return run_folder.read_json(path)


def differentiable(path, game, recording):
    """The teacher at `path` as frames -> logits.

    Raises UsageError where it is of another layout, is not the recorded one, or has no gradient.
    """
    net = st.nets.with_patch_convolutions(policies.load(path, game).net)

    def teacher(frames):
        return policies.logits_and_value(net(frames))[0]

    steps = np.arange(CHECKED) * len(recording.places) // CHECKED
    frames, logits = recording.batch(steps.astype(np.int32))
    frames = tf.cast(frames, tf.float32)
    try:
        st.vjp(teacher, frames[:1], logits[:1])
    except policies.UNREADABLE as error:
        raise UsageError(
            f"{path} has no gradient in frames ({one_line(error)}): expected a net that takes "
            "floats; --method=regular needs none"
        ) from error
    answers, recorded = (st.distillation.log_policy(each) for each in (teacher(frames), logits))
    difference = np.abs(answers - recorded).max()
    if not difference < 1e-2:
        raise UsageError(
            f"{path} answers other logits than were recorded: log-policies differ by "
            f"{difference:.2g}, expected at most 0.01; give the --teacher that was recorded"
        )
    return teacher
