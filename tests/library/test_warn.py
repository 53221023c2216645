"""Warnings show the line from which the user called the library."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import sobolev_tf as st

X = np.linspace(-1, 1, 8)[:, None]
Y, DY = np.sin(X), np.cos(X)[:, None]


def compiled(activation="tanh", **arguments):
    model = st.SobolevModel(st.nets.mlp(1, hidden=[4], activation=activation), **arguments)
    model.compile("sgd")
    return model


def half_in_python(x):
    return tf.sin(x) + tf.numpy_function(np.sin, [x], x.dtype)


def far_from_zero():
    compiled().fit(X, (Y + 1e8, DY), verbose=0)


def a_target_partly_in_python():
    compiled(target=half_in_python).fit(X.astype("float32"), verbose=0)


def kinks_at_order_two():
    curvature = np.zeros([8, 1, 1, 1])
    compiled("relu", order=2).fit(X, (Y, DY, curvature), verbose=0)


def rounded_values():
    st.targets.tabulate(st.targets.FiniteDifferences(lambda x: np.round(np.sin(x), 3)), X)


def a_schedule_without_a_rate():
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1)
    st.fit_lbfgs(compiled(), X, (Y, DY), iterations=1, callbacks=[schedule], verbose=0)


def a_student_that_ends_in_softmax():
    policy = keras.Sequential([keras.Input([2]), keras.layers.Dense(3, "softmax")])
    st.PolicyDistiller(policy)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (far_from_zero, "float32 holds"),
        (a_target_partly_in_python, "runs in Python"),
        (kinks_at_order_two, "piecewise linear"),
        (rounded_values, "mostly rounding"),
        (a_schedule_without_a_rate, "no learning rate"),
        (a_student_that_ends_in_softmax, "ends in softmax"),
    ],
)
def test_a_warning_shows_the_users_line(call, text):
    first = call.__code__.co_firstlineno
    last = max(line for *_, line in call.__code__.co_lines())
    with pytest.warns(UserWarning, match=text) as warned:
        call()
    for warning in (warning for warning in warned if text in str(warning.message)):
        assert warning.filename == __file__
        assert first < warning.lineno <= last
