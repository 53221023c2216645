import io

import keras
import numpy as np
import pytest
import tensorflow as tf

from train.lib.run import progress, report
from train.lib.run.errors import CommandError


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
    assert " left, loss " in lines[2]
    assert lines[-1].startswith("step 12/12, 0:00:00 left, loss ")


def test_progress_of_a_run_that_has_only_an_epoch_s_end_to_catch_up_with():
    """Killed between an epoch's last step and its evaluation: no batch comes before the end."""
    out = io.StringIO()
    callback = progress.Progress(12, out=out, seconds=0)
    callback.step = 6
    callback.on_epoch_begin(0)
    callback.on_epoch_end(0, {"loss": 1.0})
    assert out.getvalue() == "step 6/12, loss 1\n"


def test_progress_off_a_terminal_is_rare():
    out = io.StringIO()
    fitted(progress.Progress(12, out=out, seconds=60))
    # Before and after the first step, the ends of the four epochs, and the last step.
    assert len(out.getvalue().splitlines()) == 7


def test_figure_without_cuts_and_with(tmp_path):
    rows = [{"step": s, "accuracy": 0.1, "val_accuracy": 0.2} for s in (1, 2)]
    report.draw(tmp_path / "plain.png", "t", rows, [], {"chance": 0.1})
    rows = [row | {"cut1_cosine": 0.1, "cut1_norm_ratio": 1.0, "cut1_loss": 1.0} for row in rows]
    report.draw(tmp_path / "cut.png", "t", rows, ["a"], {"chance": 0.1, "pixels": 0.15})
    assert all((tmp_path / name).stat().st_size > 5000 for name in ("plain.png", "cut.png"))


def test_an_export_that_answers_differently_is_an_error(tmp_path):
    class Twofaced(keras.Sequential):
        def export(self, path):
            weights = self.get_weights()
            self.set_weights([w + 1 for w in weights])
            super().export(path, verbose=False)
            self.set_weights(weights)

    model = Twofaced([keras.Input([2]), keras.layers.Dense(1)])
    with pytest.raises(CommandError, match="answers differently"):
        report.export(model, tmp_path / "saved", np.ones([3, 2], "float32"))


def test_a_full_disk_ends_an_export_in_one_line(tmp_path):
    class Full:
        def export(self, path):
            raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    with pytest.raises(CommandError, match="saved: No space left on device; make room"):
        report.export(Full(), tmp_path / "saved", np.zeros([1, 2]))


def test_what_has_diverged_is_not_exported_in_silence(tmp_path):
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    model.set_weights([np.full([2, 1], np.nan), np.zeros([1])])
    with pytest.raises(CommandError, match=r"other than finite numbers .*it diverged"):
        report.export(model, tmp_path / "saved", np.ones([3, 2], "float32"))
