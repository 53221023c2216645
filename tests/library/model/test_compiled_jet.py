"""What TensorFlow says of the compiled jets of many models."""

import logging

import numpy as np

import sobolev_tf as st
from sobolev_tf import jets
from sobolev_tf.model.compiled_jet import CompiledJet


def _square(x):
    return jets.Jet(x**2, (2 * x,))


def test_jets_of_many_models_raise_no_warning_of_retracing(caplog):
    with caplog.at_level(logging.WARNING, logger="tensorflow"):
        for _ in range(6):
            jet = CompiledJet(_square).over([np.ones([2, 1]), np.ones([3, 1])])
    assert jet.value.tolist() == [[1.0]] * 5
    assert jet.derivatives[0].tolist() == [[2.0]] * 5
    assert not caplog.records


def test_predict_jet_of_many_sizes_raises_no_warning_of_retracing(caplog):
    model = st.SobolevModel(st.nets.mlp(1, 1, (2,)))
    with caplog.at_level(logging.WARNING, logger="tensorflow"):
        for rows in range(1, 13):
            assert model.predict_jet(np.ones([rows, 1])).value.shape == (rows, 1)
    assert not caplog.records
