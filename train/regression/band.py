"""The figure of a posterior: a function of one variable, its slope, and bands around both."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import sobolev_tf as st
from train.lib.run import files
from train.regression import other_functions, recipes

POINTS = np.array([0.02, 0.12, 0.3, 0.38, 0.7, 0.98])[:, None]
DEVIATIONS = 1.96  # half of a band's height


def draw(path: Path) -> Path:
    """Fit values and slopes of six points, and draw value and slope with bands of 95 %."""
    from matplotlib.figure import Figure

    keras.utils.set_random_seed(0)
    wave = other_functions.wave
    labels = [np.asarray(label) for label in st.targets.tabulate(wave, POINTS)]
    model = recipes.modern(POINTS, labels, hidden=[64, 64], steps=100, folds=3)
    x = np.linspace(-0.15, 1.15, 261)[:, None]
    true = st.jet(wave, tf.constant(x))
    jet, std = model.predict_jet(x), model.predict_std(x, verbose=0)
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.subplots(2, 1, sharex=True)
    terms = (
        ("value", true.value, jet.value, std.value, labels[0]),
        ("slope", true.derivatives[0], jet.derivatives[0], std.derivatives[0], labels[1]),
    )
    for ax, (name, truth, predicted, deviation, label) in zip(axes, terms, strict=True):
        truth, predicted, deviation = (np.ravel(t) for t in (truth, predicted, deviation))
        low, high = predicted - DEVIATIONS * deviation, predicted + DEVIATIONS * deviation
        ax.fill_between(x[:, 0], low, high, color="C0", alpha=0.25, lw=0, label="95 %")
        ax.plot(x[:, 0], predicted, "C0", label="predicted")
        ax.plot(x[:, 0], truth, "k--", lw=1, label="true")
        ax.plot(POINTS[:, 0], np.ravel(label), "ko", ms=5, label="labels")
        ax.set_ylabel(name)
        margin = 0.8 * np.ptp(truth)
        ax.set_ylim(truth.min() - margin, truth.max() + margin)
    axes[0].legend(ncols=4, loc="upper center")
    axes[1].set_xlabel("x")
    files.write_png(path, figure, dpi=110)
    return path
