"""SobolevModel: a Keras model that learns values and derivatives together (equation 1)."""

from typing import Any

import keras

from sobolev_tf import require
from sobolev_tf.keras_support import arrays, options, pitfalls
from sobolev_tf.keras_support.errors import errors_of
from sobolev_tf.model import arguments, saving, scores
from sobolev_tf.model.equation import Equation
from sobolev_tf.model.equation_model import EquationModel
from sobolev_tf.model.gate import Gate
from sobolev_tf.model.statistics import fit_statistics
from sobolev_tf.projections import Projection


@keras.saving.register_keras_serializable(package="sobolev_tf")
class SobolevModel(EquationModel):
    """A network that learns a function's value and its derivatives up to `order`.

    The loss is the sum over j = 0..J of w_j l_j(D^j m(x), D^j f(x)), where m is the net, and f the
    labels or a target (equation 1). With a projection, order j compares derivatives along P random
    directions per example, which are drawn anew at every training step (equation 2).

    For the forms of labels see `model.labels`, for losses and weights `compile`. Nothing is
    gradient-stopped, except missing labels. Dropout and BatchNormalization run in training mode
    inside `fit`. BatchNormalization couples the rows of a batch, so that the derivative of a row
    contains contributions of other rows.

    Args:
      net: any Keras model x [B,*in] -> [B,*out] with one output, built or not.
      order: J, the highest order of derivatives; 0 compares values only.
      target: `targets.Function`, `targets.Teacher`, `targets.FiniteDifferences` or any callable
        of tensors, which supplies the labels of `fit(x)` inside the step. If labels are passed to
        `fit`, only these are compared. A Keras model, or a SavedModel (its path, or loaded),
        becomes a `targets.Teacher`, which is frozen. `model.target` may be set again at any time.
      wrt: for a net with several inputs, the name or names of those to differentiate.
      projection: a `Projection`, or its side: "output" for D^j <m, v>, "input" for derivatives
        along v. None compares full derivatives. Every evaluation in batches of one size uses the
        same directions, which are others for every row.
      projections, contraction, unbiased, orthogonal, seed: `count` and the other fields of the
        `Projection`, if `projection` is a side.

    Raises:
      ValueError: a setting is unknown, or the net has several outputs or unknown axes.

    Example:

    >>> import numpy as np
    >>> model = SobolevModel(keras.Sequential([keras.Input([2]), keras.layers.Dense(1)]))
    >>> model.compile("adam", loss=["mse", "mae"], loss_weights=[1.0, 0.5])
    >>> x, y, dy = np.zeros([8, 2], "f"), np.zeros([8, 1], "f"), np.zeros([8, 2], "f")
    >>> sorted(model.fit(x, (y, dy), verbose=0).history)
    ['d1_loss', 'loss', 'value_loss']
    >>> model.predict_jet(x).derivatives[0].shape
    (8, 1, 2)
    """

    def __init__(
        self,
        net: keras.Model,
        order: int = 1,
        *,
        target: Any = None,
        wrt: str | list[str] | None = None,
        projection: Projection | str | None = None,
        projections: int = 1,
        contraction: str = "distinct",
        unbiased: bool = False,
        orthogonal: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        caller = type(self).__name__
        options.refuse_unknown(caller, kwargs, SobolevModel.__init__, SobolevModel.compile)
        require.model(caller, "net", net)
        order = require.whole_number(caller, "order", order, at_least=0)
        chosen = arguments.as_projection(
            caller,
            projection,
            seed,
            count=projections,
            contraction=contraction,
            unbiased=unbiased,
            orthogonal=orthogonal,
        )
        with errors_of(caller):
            super().__init__(Equation(net, order, wrt), target, chosen, **kwargs)
        self.wrt = wrt

    def adapt(
        self,
        x: Any,
        y: Any = None,
        batch_size: int = 1024,
        steps: int | None = None,
        *,
        sample_weight: Any = None,
        mask: Any = None,
        scale_x: bool = True,
    ) -> None:
        """Scale x and y to z-scores, and derivatives by the chain rule.

        x [B,D] is scaled component by component; x with more axes by one mean and one deviation,
        which keeps the geometry of images and positions. If there are no values, or they are
        constant, the deviation of y is the typical length of its z-scored gradient. Missing labels,
        rows of weight 0 and padding (`mask`) do not count.

        `predict`, `predict_jet`, metrics, and saved and exported models keep your units. Losses and
        random directions are in z-scores, and so are metrics of projections of the outputs, which
        mix units.

        Args:
          x, y: as for `fit`: arrays, or a data set of batches, which is read once. With a target, x
            is enough.
          batch_size: number of rows of arrays that are read at a time.
          steps: number of batches of a data set to read; None for all.
          sample_weight: as for `fit`. Only whether a weight is 0 matters.
          mask: for arrays, booleans [B] with the first axes of *in, such as [B,N] for positions
            [B,N,3]; False for padding, which counts neither in x nor in the derivatives.
          scale_x: whether to scale x. Pass False if the net has lengths of its own, such as a
            cutoff.

        Raises:
          ValueError: there is no data, a data set is endless, numbers are not finite, labels have
            another shape, or the net masks padding in an x that would be scaled.
        """
        scale_x = require.switch(f"{type(self).__name__}.adapt", "scale_x", scale_x)
        gate = Gate(f"{type(self).__name__}.adapt", self.order, "nan")
        gate.squared = True  # deviations are roots of mean squares
        checked = arrays.are_arrays(x)
        if checked:
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(
                gate.arrays(x, y, sample_weight)
            )
        if scale_x:
            pitfalls.refuse_to_move_masks(gate.caller, self.net, self.equation.inputs.is_chosen)
        batches = arguments.label_batches(
            x, y, sample_weight, mask, batch_size, steps, gate.caller, self.equation.inputs
        )
        if not checked:
            batches = _checked(gate, batches)
        # With a projection, full derivatives of the target may be too large.
        order = 0 if self.projection else self.order
        known = (
            (*self.equation.known(self._cast(x, gate.caller), y, weights, self.target, order), real)
            for x, y, weights, real in batches
        )
        with errors_of(gate.caller):
            statistics = fit_statistics(
                known, lambda: self.equation.output_dims, self.equation.is_float64(), scale_x
            )
        scales = statistics.scales()
        if self.compiled:
            scores.refuse_losses_of_unscaled_numbers(
                gate.caller, self.objective, scales, self.projection
            )
        self.scaling.set(*scales)
        self.reset_metrics()  # their sums are of other predictions, and around another mean
        self.set_label_sizes(statistics.label_sizes())

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments for a saved model."""
        return saving.config(self)


def _checked(gate, batches):
    """Batches of a stream, checked and with their arrays in their plain form."""
    start = 0
    for number, batch in enumerate(batches):
        x, y, sample_weight = gate.check_batch(batch[:3], number, start)
        yield x, y, sample_weight, None
        start += int(keras.tree.flatten(x)[0].shape[0])
