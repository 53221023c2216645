"""One fit for small data: a kernel net, or an MLP if that predicts held-out points better."""

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sobolev_tf import nets, require, warn
from sobolev_tf.keras_support.calls import called_as
from sobolev_tf.keras_support.progress import is_shown
from sobolev_tf.model.sobolev import SobolevModel
from sobolev_tf.solvers import surrogate_labels
from sobolev_tf.solvers.gaussian_process import GaussianProcess, Labels, Prior
from sobolev_tf.solvers.kernel_posterior import KernelPosterior
from sobolev_tf.solvers.kernel_units import kernel_net
from sobolev_tf.solvers.laplace import renew_posterior
from sobolev_tf.solvers.lbfgs import fit_lbfgs, scipy_optimize
from sobolev_tf.solvers.least_squares import fit_least_squares
from sobolev_tf.solvers.noisy_slopes import choose_prior

_CALLER = "fit_surrogate"
_NETS = ("auto", "kernel", "mlp")
_KERNEL_LABELS = 6000  # of one output, at most, since the equations are solved exactly
_GOOD = 0.01  # with a smaller left-out error, over the values' deviation, no MLP is tried
_MLP_LABELS = 1000  # of more, Gauss-Newton uses a part, and L-BFGS continues with all
_HIDDEN = (64, 64)
_ITERATIONS = 100
_SMALLEST_SLOPE = 1e-3  # relative to the largest


@dataclasses.dataclass(frozen=True)
class Surrogate:
    """What `fit_surrogate` chose, and why.

    Attributes:
      net: "kernel" or "mlp".
      errors: for each candidate, the root mean square error at held-out points over the standard
        deviation of the values.
      value_noise, slope_noise: for a kernel net, the standard deviations of the labels' noise as
        the evidence estimates them: of values [K] in z-scores, of slopes [K] over the typical size
        of each slope; NaN without labels of slopes.
      uses_slopes: for a kernel net, whether it uses labels of slopes [K]. It does not if there are
        none, or if values alone predict left-out values better.
    """

    net: str
    errors: dict[str, float]
    value_noise: np.ndarray | None = None
    slope_noise: np.ndarray | None = None
    uses_slopes: np.ndarray | None = None


@called_as("fit_surrogate(x, (y, dy))")
def fit_surrogate(
    x: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    net: str = "auto",
    seed: int = 0,
    verbose: str | int = "auto",
) -> SobolevModel:
    """Fit values and slopes of a smooth function of 1 to 20 inputs; the data decide on the net.

    For some hundreds of points. The first candidate is a kernel net (`kernel_units`): the posterior
    mean of a Gaussian process in closed form, with a length scale for each input. Evidence
    determines its prior and the noise of the labels (`kernel_evidence`); noisy slopes are used only
    where they help values (`noisy_slopes`), and a warning says where not. If its error at left-out
    points is above 1 % of the standard deviation of the values, it is compared on held-out points
    with a SiLU net that `fit_least_squares(regularization="evidence")` fits, and the better one is
    fitted to all points. If there are too many labels for a kernel net, the SiLU net is fitted.

    Of more than 1,000 labels, `fit_least_squares` sees a part, and `fit_lbfgs` continues with all:
    that takes SciPy. `predict_std` then knows the part only.

    Args:
      x: points [B,D]. Equal rows, with equal labels, are one row with the sum of their weights.
        Leave out copies that differ by rounding or missing labels: they hide the noise.
      y: labels as for `SobolevModel.fit`: values, (value, d1), or a dict with one or both; NaN
        marks missing entries.
      sample_weight: [B], at least 0. The noise of a row of weight w has 1/w of the variance; rows
        of weight 0 are left out. Less than 1e-20 of the largest weight counts as that.
      net: "auto", or "kernel" or "mlp" to choose yourself.
      seed: seed of the choice of held-out points, and of the MLP's initial weights.
      verbose: 1 shows lines of progress with the time left at most, and what was chosen; 0 shows
        nothing, "auto" shows them on a terminal only.

    Returns:
      A fitted `SobolevModel` in float64, compiled with missing="nan". Its predictions are in the
      units of x and y; `predict_std` gives their standard deviations. `model.surrogate` describes
      the choice; it is not saved with the model.

    Raises:
      ValueError: data have another shape or are not finite; for an MLP in a strategy's scope.
      ImportError: the SiLU net is fitted to more than 1,000 labels, without SciPy.

    Example:

    >>> x = np.linspace(-1, 1, 6)[:, None]
    >>> model = fit_surrogate(x, (np.sin(3 * x), 3 * np.cos(3 * x)))
    >>> bool(np.abs(model.predict([[0.1]], verbose=0) - np.sin(0.3)).max() < 1e-3)
    True
    """
    require.one_of(_CALLER, "net", net, _NETS)
    require.one_of(_CALLER, "verbose", verbose, ("auto", 0, 1, False, True))
    shown = is_shown(verbose)
    seed = require.whole_number(_CALLER, "seed", seed, at_least=0)
    x, y, weights = surrogate_labels.checked(_CALLER, x, y, sample_weight)
    data = _Data(x, y, weights, seed, shown)
    errors: dict[str, float] = {}
    model = None
    if net == "auto":
        net, model, errors = _choose(data)
    if model is None:
        model = data.kernel_model() if net == "kernel" else data.mlp_model()
    model.surrogate = data.report(net, errors)
    _warn_of_unused_slopes(data.processes)
    if shown:
        print(f"{_CALLER}: {model.surrogate}")
    return model


class _Data:
    """Points and labels, and the models that are fitted on them.

    Args:
      x: [B,D].
      y: value [B,K] and d1 [B,K,D], or one of the two.
      weights: [B], or None.
      seed: as for `fit_surrogate`.
      shown: whether fits show their progress.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: dict[str, np.ndarray],
        weights: np.ndarray | None,
        seed: int,
        shown: bool,
    ) -> None:
        self.x, self.y, self.weights, self.seed, self.shown = x, y, weights, seed, shown
        self.outputs = next(iter(y.values())).shape[1]
        slopes = y.get("d1", np.full([1, self.outputs, 1], np.nan))
        self.has_slopes = ~np.isnan(slopes).all((0, 2))  # [K], also once they are left out
        self.priors: list[Prior] | None = None
        self.processes: list[GaussianProcess] = []

    def rows(self, rows: np.ndarray) -> "_Data":
        """Return some of the points with the priors of all."""
        labels = {name: label[rows] for name, label in self.y.items()}
        weights = None if self.weights is None else self.weights[rows]
        part = _Data(self.x[rows], labels, weights, self.seed, self.shown)
        part.priors = self.priors
        return part

    def most_labels(self) -> int:
        """Return how many labels the output has that has most."""
        counts = [np.sum(~np.isnan(label), (0, *range(2, label.ndim))) for label in self.y.values()]
        return int(np.max(np.sum(counts, 0)))

    def kernel_model(self) -> SobolevModel:
        """Fit a kernel net.

        Raises:
          ValueError: covariances are not finite.
        """
        points, dims = self.x.shape
        model = SobolevModel(kernel_net(points, dims, self.outputs))
        _compile(model)
        model.adapt(self.x, self.y)
        labels = list(self._labels(model))
        try:
            if self.priors is None:
                self.priors = [choose_prior(k, self.seed, int(self.shown)) for k in labels]
            self.processes = [
                GaussianProcess(of_output, prior)
                for of_output, prior in zip(labels, self.priors, strict=True)
            ]
        except np.linalg.LinAlgError as error:
            raise ValueError(
                f"{_CALLER}: {error}: take x, y and sample_weight in other units."
            ) from error
        for k, process in enumerate(self.processes):
            layer = model.net.get_layer(f"kernel_{k}")
            layer.centers.assign(process.labels.points)
            layer.lengths.assign(process.prior.lengths)
            layer.alpha.assign(process.prior.alpha)
            layer.readout.assign(process.readout)
            layer.trend.assign(process.trend)
        model.optimizer.build(model.trainable_variables)  # a .keras file has its state
        kernel_posterior = KernelPosterior(self.outputs, points, dims)
        kernel_posterior.assign(self.processes)
        model.set_posterior(kernel_posterior)
        return model

    def leave_out_unused_slopes(self) -> None:
        """Take the slopes that the kernel net does not use from the labels of the other fits."""
        if unused := _unused_slopes(self.processes):
            slopes = self.y["d1"].copy()
            slopes[:, unused] = np.nan
            self.y = self.y | {"d1": slopes}
            if np.isnan(slopes).all():
                del self.y["d1"]

    def mlp_model(self) -> SobolevModel:
        """Fit an MLP. Raises ImportError without SciPy, ValueError in a strategy's scope."""
        self.refuse_mlp_without_scipy()
        if tf.distribute.has_strategy():
            name = type(tf.distribute.get_strategy()).__name__
            raise ValueError(f"{_CALLER}: an MLP takes one device: leave the scope of {name}.")
        if self.shown:
            print(f"MLP: fit to {len(self.x)} points")
        count = self._first_points()
        dims = self.x.shape[1]
        net = nets.mlp(dims, self.outputs, _HIDDEN, activation="silu", dtype="float64")
        for k, layer in enumerate(net.layers):  # without a change of Keras's global seed
            initializer = keras.initializers.GlorotUniform(len(net.layers) * self.seed + k)
            layer.kernel.assign(initializer(layer.kernel.shape, "float64"))
        model = SobolevModel(net)
        _compile(model, component_weights="rms")
        model.adapt(self.x, self.y)
        order = np.random.default_rng(self.seed).permutation(len(self.x))
        first = self.rows(order[:count])
        start = np.concatenate([np.ravel(w) for w in model.trainable_variables])
        history = fit_least_squares(
            model,
            first.x,
            first.y,
            sample_weight=first.weights,
            iterations=_ITERATIONS,
            regularization="evidence",
            verbose=int(self.shown),
        )
        if count < len(self.x):
            fit_lbfgs(
                model,
                self.x,
                self.y,
                sample_weight=self.weights,
                iterations=_ITERATIONS,
                verbose=int(self.shown),
            )
            renew_posterior(model, first.x, first.y, first.weights, start, history.rho, _CALLER)
        return model

    def refuse_mlp_without_scipy(self) -> None:
        """Refuse an MLP from so many labels that L-BFGS continues its fit.

        Raises:
          ImportError: there are so many, and SciPy is not installed.
        """
        if self._first_points() < len(self.x):
            scipy_optimize(f"{_CALLER} of an MLP from more than {_MLP_LABELS:,} labels")

    def error(self, model: SobolevModel) -> float:
        """Compute a model's root mean square error on these points, over the deviation.

        Of values, or of slopes where there are no values.
        """
        jet = model.predict_jet(self.x)
        name = "value" if "value" in self.y else "d1"
        predicted = jet.value if name == "value" else jet.derivatives[0]
        deviation = np.array(model.scaling.value_deviation)
        error = (predicted - self.y[name]) / deviation.reshape(1, -1, *[1] * (predicted.ndim - 2))
        return _root_mean_square(error)

    def left_out_error(self) -> float:
        """Compute the kernel net's error of points that are left out one by one."""
        errors = np.array([process.left_out_errors() for process in self.processes])
        return _root_mean_square(errors)

    def report(self, net: str, errors: dict[str, float]) -> Surrogate:
        """Report on the fit of a net."""
        if net == "mlp" or not self.processes:
            return Surrogate(net, errors)
        deviations = [np.sqrt(process.variance) for process in self.processes]
        noises = [
            [p.prior.value_noise * s, p.prior.slope_noise * s]
            for p, s in zip(self.processes, deviations, strict=True)
        ]
        values, slopes = np.array(noises).T
        slopes = np.where(self.has_slopes, slopes, np.nan)
        errors = errors or {"kernel": self.left_out_error()}
        used = [p.labels.present[:, 1:].any() for p in self.processes]
        return Surrogate(net, errors, values, slopes, np.array(used))

    def _first_points(self):
        """How many points Gauss-Newton sees."""
        labels = self.outputs * self.most_labels()
        return max(2, len(self.x) * _MLP_LABELS // max(labels, _MLP_LABELS))

    def _labels(self, model):
        """The z-scored labels of each output."""
        scaling = model.scaling
        points, dims = self.x.shape
        entries = np.full([points, self.outputs, 1 + dims], np.nan)
        if "value" in self.y:
            entries[..., 0] = scaling.scale_y(tf.constant(self.y["value"])).numpy()
        if "d1" in self.y:
            entries[..., 1:] = scaling.scale_derivative(tf.constant(self.y["d1"]), 1).numpy()
        z = scaling.scale_x(tf.constant(self.x)).numpy()
        for k in range(self.outputs):
            yield Labels(z, entries[:, k], _sizes(entries[:, k, 1:]), self.weights)


def _choose(data: _Data) -> tuple[str, SobolevModel | None, dict[str, float]]:
    """Choose by errors on points that were held out.

    Returns:
      The net's name, its model if it is fitted already, and the errors by name.
    """
    if data.most_labels() > _KERNEL_LABELS:
        return "mlp", None, {}
    model = data.kernel_model()
    left_out = data.left_out_error()
    if not left_out > _GOOD:
        return "kernel", model, {"kernel": left_out}
    try:
        data.refuse_mlp_without_scipy()
    except ImportError as error:
        warn.at_users_line(f"{error} So no MLP was tried.")
        return "kernel", model, {"kernel": left_out}
    data.leave_out_unused_slopes()
    order = np.random.default_rng(data.seed).permutation(len(data.x))
    cut = max(1, len(order) // 5)
    held_out, rest = data.rows(order[:cut]), data.rows(order[cut:])
    candidates = {"kernel": rest.kernel_model, "mlp": rest.mlp_model}
    errors = {name: held_out.error(fit()) for name, fit in candidates.items()}
    if errors["kernel"] <= errors["mlp"]:
        return "kernel", model, errors
    return "mlp", None, errors


def _compile(model: SobolevModel, component_weights: str | None = None) -> None:
    model.compile("adam", component_weights=component_weights, missing="nan")


def _warn_of_unused_slopes(processes: list[GaussianProcess]) -> None:
    if unused := _unused_slopes(processes):
        warn.at_users_line(
            f"{_CALLER}: slopes of output {', '.join(map(str, unused))} are left out, since values "
            "alone predict left-out values better: they are noisy or wrong; check_labels tells."
        )


def _unused_slopes(processes: list[GaussianProcess]) -> list[int]:
    """The outputs whose values are predicted from values alone."""
    return [k for k, process in enumerate(processes) if not process.prior.uses_slopes]


def _root_mean_square(errors: np.ndarray) -> float:
    """Of entries that are not missing; NaN where all are."""
    known = errors[~np.isnan(errors)]
    return float(np.sqrt(np.mean(known**2))) if known.size else float("nan")


def _sizes(slopes: np.ndarray) -> np.ndarray:
    """Typical sizes of slopes [n,D]: [D]; 1 if there are none."""
    present = ~np.isnan(slopes)
    squares = np.where(present, slopes, 0) ** 2
    sizes = np.sqrt(squares.sum(0) / np.maximum(present.sum(0), 1))
    largest = sizes.max()
    return np.maximum(sizes, _SMALLEST_SLOPE * largest) if largest > 0 else np.ones_like(sizes)
