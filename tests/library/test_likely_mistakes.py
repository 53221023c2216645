"""The likeliest mistakes of a first script are one line that says what to do instead."""

import keras
import numpy as np
import pytest

import sobolev_tf as st
from tests.support.refusals import refused_in_one_line

X = np.random.default_rng(0).uniform(-1, 1, [12, 3]).astype("float32")
Y, DY = X[:, :1] * X[:, 1:2], np.stack([X[:, 1], X[:, 0], 0 * X[:, 2]], 1)[:, None]


def compiled(activation="relu"):
    model = st.SobolevModel(st.nets.mlp(3, hidden=[4], activation=activation))
    model.compile()
    return model


def stages():
    net = keras.Sequential([keras.Input([4]), keras.layers.Dense(8, name="h1")])
    net.add(keras.layers.Dense(3))
    return st.split(net, at=["h1"])


MISTAKES = {
    "third argument": (
        lambda: st.fit_surrogate(X, Y, DY),
        r"fit_surrogate: too many .*: pass derivatives as in fit_surrogate\(x, \(y, dy\)\)",
    ),
    "by name": (lambda: st.fit_surrogate(X, Y, dy=DY), r"'dy': pass derivatives as in fit_surro"),
    "fourth argument": (
        lambda: st.fit_lbfgs(compiled(), X, Y, DY),
        r"fit_lbfgs: .*fit_lbfgs\(model, x, \(y, dy\)\)",
    ),
    "least squares": (
        lambda: st.fit_least_squares(compiled(), X, Y, DY),
        r"fit_least_squares: .*fit_least_squares\(model, x, \(y, dy\)\)",
    ),
    "labels together": (
        lambda: st.check_labels(X, (Y, DY)),
        r"check_labels: missing .*'dy': pass derivatives as in check_labels\(x, y, dy\)",
    ),
    "adapt": (lambda: compiled().adapt(X, Y, DY), r"adapt: batch_size is .*\(x, \(y, dy\)\)"),
    "name": (
        lambda: st.fit_surrogate(X, {"value": Y, "dy": DY}),
        r"fit_surrogate: y has the unknown name 'dy': labels are value and d1; did you mean 'd1'\?",
    ),
    "letter": (lambda: compiled().fit(X, {"value": Y, "dl": DY}), r"'dl': .* did you mean 'd1'\?"),
    "weight": (
        lambda: compiled().fit(X, Y, sample_weight={"val": np.ones(12)}),
        r"sample_weight has the unknown name 'val': .* did you mean 'value'\?",
    ),
    "text": (
        lambda: compiled().fit(X, (Y, DY.astype(str))),
        r'label d1 holds <U\d+, expected numbers: pass dy.astype\("float32"\)',
    ),
    "words": (
        lambda: compiled().fit(X, np.full(12, "cat")),
        r"np.unique\(y, return_inverse=True\)",
    ),
    "weights in a list": (
        lambda: compiled().fit(X, Y, sample_weight=[1.0] * 12),
        r"fit: sample_weight .* a list of numbers: pass np.asarray\(sample_weight\)",
    ),
    "surrogate's weights": (
        lambda: st.fit_surrogate(X, Y, sample_weight=[1.0] * 12),
        r"fit_surrogate: sample_weight .*: pass np.asarray\(sample_weight\)",
    ),
    "rows": (lambda: compiled().fit(X, (Y, DY[..., :2])), r"label d1 has shape \[12, 1, 2\]"),
    "softsign": (
        lambda: compiled("softsign").fit(X, (Y, DY)),
        r"fit: TensorFlow has no gradient of SoftsignGrad, .*: use another activation",
    ),
    "softsign by hand": (
        lambda: st.fit_lbfgs(compiled("softsign"), X, (Y, DY)),
        r"fit_lbfgs: TensorFlow has no gradient of SoftsignGrad",
    ),
    "no critic": (lambda: st.DecoupledModel(stages()), "critic=st.synthetic.dense_critic"),
    "pixels": (
        lambda: st.jet(lambda x: x, np.zeros([2, 8, 8, 1], "uint8")),
        r'jet: x holds uint8, .*: pass x.astype\("float32"\) / 255',
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_likely_mistake_is_one_line_with_its_remedy(mistake):
    refused_in_one_line(*MISTAKES[mistake])
