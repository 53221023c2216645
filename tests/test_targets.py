"""targets: where labels come from."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf import targets


def teacher_net():
    return keras.Sequential(
        [keras.Input([2]), keras.layers.Dense(4), keras.layers.BatchNormalization()]
    )


def test_tabulate_in_batches_and_without_rows():
    x = np.random.default_rng(0).normal(size=[7, 2]).astype("f")
    y, d1, d2 = targets.tabulate(lambda x: x**2, x, order=2, batch_size=3)
    np.testing.assert_allclose(y, x**2)
    np.testing.assert_allclose(d1, 2 * x[:, :, None] * np.eye(2), rtol=1e-6)
    assert d2.shape == (7, 2, 2, 2)
    assert targets.tabulate(lambda x: x**2, x[:0])[1].shape == (0, 2, 2)


def test_a_table_keeps_rows_together():
    x = np.arange(10, dtype="f")[:, None]
    table = targets.Table(x, x, 2 * x)
    for batch, (y, dy) in table.dataset(4, seed=1).take(6):
        assert batch.shape == (4, 1)
        np.testing.assert_array_equal(batch, y)
        np.testing.assert_array_equal(2 * batch, dy)
    with pytest.raises(ValueError, match="'d1': 9"):
        targets.Table(x, x, x[1:])


def test_a_teacher_is_frozen_for_good():
    net = teacher_net()
    teacher = targets.Teacher(net)
    holder = keras.Sequential([keras.Input([2]), teacher])
    holder.trainable = True
    before = net.get_weights()
    teacher(np.ones([3, 2], "f"), training=True)
    assert not holder.trainable_variables
    for a, b in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_target_is_saved_only_if_its_code_can_be_found_again():
    assert targets.serialize(targets.Function(lambda x: x)) is None
    assert targets.serialize(None) is None
    config = targets.serialize(targets.Teacher(teacher_net()))
    assert isinstance(keras.saving.deserialize_keras_object(config), targets.Teacher)
    assert targets.Function(tf.sin)([0.0]).shape == [1]
