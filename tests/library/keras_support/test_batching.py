"""Arrays as data sets: seeds, rows, dtypes and sizes."""

import keras
import numpy as np
import pytest

from sobolev_tf.keras_support import batching


def test_keras_seed_fixes_the_order_of_endless_batches():
    orders = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        data = batching.batches(np.arange(12), 4).take(6)
        orders.append(np.concatenate([batch.numpy() for batch in data]).tolist())
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0][:12]) == list(range(12)) == sorted(orders[0][12:])


@pytest.mark.parametrize(
    ("arrays", "size", "message"),
    [
        ((np.zeros(4), np.zeros(3)), 2, "fit: array 0 has 4 rows and array 1 has 3"),
        ((np.zeros(0), np.zeros(0)), 2, "fit: there is no data"),
        ((np.zeros(4),), 0, "fit: batch_size is a whole number of at least 1, got 0"),
        ((np.zeros(4),), "2", "fit: batch_size is a whole number of at least 1, got '2'"),
    ],
)
def test_endless_batches_have_rows(arrays, size, message):
    with pytest.raises(ValueError, match=message):
        batching.batches(arrays, size, caller="fit")


def test_a_pass_has_every_row_once_in_the_arrays_dtype():
    x = np.arange(11) + 2.0**40
    data = batching.one_pass((x, {"a": np.arange(11)}), 4, shuffle=True)
    assert data.cardinality().numpy() == 3
    passes = [np.concatenate([x.numpy() for x, _ in data]) for _ in range(2)]
    assert passes[0].dtype == np.float64
    assert [sorted(each) for each in passes] == [x.tolist()] * 2
    assert passes[0].tolist() != passes[1].tolist()
    ordered = batching.one_pass(x, 4, shuffle=False)
    assert [batch.numpy().tolist() for batch in ordered] == [
        x[:4].tolist(),
        x[4:8].tolist(),
        x[8:].tolist(),
    ]
