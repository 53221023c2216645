"""What a saved model is compared with."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from train.lib.run import export
from train.lib.run.errors import CommandError


def test_an_export_that_answers_differently_is_an_error(tmp_path):
    class Twofaced(keras.Sequential):
        def export(self, path):
            weights = self.get_weights()
            self.set_weights([w + 1 for w in weights])
            super().export(path, verbose=False)
            self.set_weights(weights)

    model = Twofaced([keras.Input([2]), keras.layers.Dense(1)])
    with pytest.raises(CommandError, match="outputs differ from the model"):
        export.save(model, tmp_path / "saved", np.ones([3, 2], "float32"))


def test_a_full_disk_ends_an_export_in_one_line(tmp_path):
    class Full:
        def export(self, path):
            raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    with pytest.raises(CommandError, match="saved: No space left on device; make room"):
        export.save(Full(), tmp_path / "saved", np.zeros([1, 2]))


def test_what_has_diverged_is_not_exported_in_silence(tmp_path):
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    model.set_weights([np.full([2, 1], np.nan), np.zeros([1])])
    with pytest.raises(CommandError, match=r"test images are not finite: it diverged"):
        export.save(model, tmp_path / "saved", np.ones([3, 2], "float32"))
