"""Guarded data sets: what is looked at once, what is traced once, and who sees a wrong batch."""

import gc

import numpy as np
import pytest
import tensorflow as tf

from sobolev_tf.keras_support import guarded_data
from sobolev_tf.keras_support.guarded_data import all_finite, all_true, guard, same_rows
from sobolev_tf.keras_support.tensor_source import source

X = np.arange(8, dtype="float32").reshape(4, 2)


def finite(batch):
    return all_finite(tf.nest.flatten(batch))


class Refused(ValueError):
    pass


def refuse(batch, number, row):
    raise Refused(f"batch {number} from row {row}")


def spoilt(row=3):
    x = X.copy()
    x[row] = np.nan
    return x


def slices(x):
    return tf.data.Dataset.from_tensor_slices((x, {"value": x[:, :1]}))


CHAINS = {
    "one tensor": lambda x: tf.data.Dataset.from_tensors((x, x)).repeat(3),
    "rows": lambda x: slices(x).shuffle(4).batch(2).prefetch(1),
    "rows of a share": lambda x: slices(x).shard(1, 0).skip(0).take(4).batch(3),
    "options": lambda x: slices(x).batch(2).repeat().with_options(tf.data.Options()),
    "parallel": lambda x: slices(x).batch(2, num_parallel_calls=2),
}


def unchanged(*parts):
    return parts


@pytest.mark.parametrize("name", CHAINS)
def test_tensors_are_looked_at_once(name):
    data = CHAINS[name](X)
    assert guard(data, finite, refuse) is data
    with pytest.raises(tf.errors.OpError, match="Refused: batch"):
        list(guard(CHAINS[name](spoilt()), finite, refuse).take(3))


@pytest.mark.parametrize("name", CHAINS)
def test_batches_of_a_function_are_looked_at_each(name):
    """A function may make NaN of right rows."""
    assert source(CHAINS[name](X).map(unchanged)) is None
    data = CHAINS[name](X).map(lambda x, y: (tf.where(x == 7, np.nan, x), y))
    with pytest.raises(tf.errors.OpError, match="Refused: batch"):
        list(guard(data, finite, refuse).take(3))
    right = CHAINS[name](X).map(unchanged)
    guarded = guard(right, finite, refuse)
    assert guarded.cardinality() == right.cardinality()
    assert guarded.element_spec == right.element_spec
    assert len(list(guarded.take(2))) == 2


def test_rows_that_are_not_batched_are_no_source():
    assert source(slices(X)) is None
    assert source(slices(X).batch(2).batch(2)) is None
    assert source(tf.data.Dataset.from_tensors(X).batch(1)) is None
    assert source(tf.data.Dataset.range(4).batch(2)) is None


def test_the_wrong_batch_and_its_first_row_are_numbered():
    data = slices(spoilt()).batch(3).map(unchanged)
    with pytest.raises(tf.errors.OpError, match="Refused: batch 1 from row 3"):
        list(guard(data, finite, refuse))


class Counted:
    """A check that counts how often it is traced."""

    traces = 0

    def __call__(self, batch):
        self.traces += 1
        return finite(batch)


def test_data_sets_of_a_structure_share_a_trace_and_have_looks_of_their_own():
    surely_right, seen = Counted(), {"one": [], "other": []}
    data = [slices(spoilt(row)).batch(2).map(unchanged) for row in (0, 2)]
    guarded = [
        guard(each, surely_right, lambda batch, number, row, name=name: seen[name].append(row))
        for each, name in zip(data, seen, strict=True)
    ]
    for one, other in zip(*guarded, strict=True):
        assert len(one) == len(other)
    assert seen == {"one": [0], "other": [2]}
    assert surely_right.traces == 1
    guard(slices(X).batch(2, drop_remainder=True).map(unchanged), surely_right, refuse)
    assert surely_right.traces == 2


def test_a_data_set_keeps_what_it_is_made_of_and_is_let_go():
    data = guard(slices(spoilt()).batch(2).map(unchanged), Counted(), refuse)
    checks = len(guarded_data._CHECKS)
    guarded_data._traced.cache_clear()
    gc.collect()
    with pytest.raises(tf.errors.OpError, match="Refused: batch 1"):
        list(data.prefetch(1))
    del data
    gc.collect()
    assert len(guarded_data._CHECKS) < checks


def test_ragged_text_and_sparse_entries_pass_beside_dense_ones():
    ragged = tf.ragged.constant([[1.0], [2.0, 3.0], [], [4.0]])
    for other in (ragged, tf.sparse.eye(4, 2), np.array(["a", "b", "c", "d"])):
        for x, wrong in ((X, False), (spoilt(), True)):
            data = tf.data.Dataset.from_tensor_slices((x, other)).batch(2)
            guarded = guard(data, lambda batch: all_finite([batch[0]]), refuse)
            if wrong:
                with pytest.raises(tf.errors.OpError, match="Refused: batch 1 from row 2"):
                    list(guarded)
            else:
                assert len(list(guarded)) == 2


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_a_number_that_is_not_finite_is_seen_in_every_place(wrong, dtype):
    large = np.zeros([300, 300])
    for place in range(3):
        tensors = [tf.constant(a, "float32") for a in (X, large)] + [tf.constant(X, dtype)]
        assert all_finite(tensors)
        spoiled = tensors[place].numpy().copy()
        spoiled[-1, -1] = wrong
        tensors[place] = tf.constant(spoiled)
        assert not all_finite(tensors)


def test_checks_are_joined():
    yes, no = tf.constant(True), tf.constant(False)
    assert all_true([])
    assert all_true([None, yes])
    assert not all_true([yes, None, no, yes])
    assert same_rows([tf.ones(3), tf.ones([3, 2]), tf.constant(1.0)]) is None
