"""The progress line."""

import io
import re

import keras
import numpy as np

from train.lib.run import progress


def fitted(callback, steps_per_epoch=3, epochs=2):
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones([4 * steps_per_epoch, 2], "float32")
    for _ in range(2):
        model.fit(x, x[:, :1], batch_size=4, epochs=epochs, verbose=0, callbacks=[callback])
    return model


def test_progress_counts_the_steps_of_the_whole_run():
    out = io.StringIO()
    fitted(progress.Progress(12, out=out, seconds=0))
    lines = out.getvalue().splitlines()
    assert lines[0] == "step 0/12, tracing the first step"
    assert lines[1].startswith("step 1/12, loss ")
    assert re.match(r"step 2/12, 0:00:\d\d left, [\d.e+]+ steps/s, loss ", lines[2])
    assert re.match(r"step 12/12, [\d.e+]+ steps/s, loss ", lines[-1])


def test_progress_of_a_run_that_has_only_an_epoch_s_end_to_catch_up_with():
    """Killed between an epoch's last step and its evaluation: no batch comes before the end."""
    out = io.StringIO()
    callback = progress.Progress(12, out=out, seconds=0)
    callback.meter = progress.Meter(12, done=6)
    callback.on_epoch_begin(0)
    callback.on_epoch_end(0, {"loss": 1.0})
    assert out.getvalue() == "step 6/12, loss 1\n"


def test_progress_off_a_terminal_is_rare():
    out = io.StringIO()
    fitted(progress.Progress(12, out=out, seconds=60))
    # Before and after the first step, the ends of the four epochs, and the last step.
    assert len(out.getvalue().splitlines()) == 7
