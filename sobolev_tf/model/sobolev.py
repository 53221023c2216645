"""SobolevModel: a Keras model that learns values and derivatives together (equation 1)."""

from typing import Any

import keras

from sobolev_tf import require
from sobolev_tf.keras_support import arrays, options, pitfalls
from sobolev_tf.model import arguments, saving, scores
from sobolev_tf.model.equation import Equation
from sobolev_tf.model.equation_model import EquationModel
from sobolev_tf.model.gate import Gate
from sobolev_tf.model.statistics import fit_statistics
from sobolev_tf.projections import Projection
from sobolev_tf.targets import Teacher


@keras.saving.register_keras_serializable(package="sobolev_tf")
class SobolevModel(EquationModel):
    """A network that learns a function's value and its derivatives up to `order`.

    Equation 1: the loss is the sum over j = 0..J of w_j l_j(D^j m(x), D^j f(x)), with m the net
    and f the labels, or a live target. With a projection it is equation 2: order j compares P
    random directions per example, drawn anew at every training step.

    Labels: see `model.labels`; losses and weights: see `compile`. Only missing labels are
    gradient-stopped. Dropout and BatchNormalization run in training mode inside `fit`: the latter
    couples the rows of a batch, and derivatives then carry the other rows' share.

    Args:
      net: any Keras model x [B,*in] -> [B,*out], one tensor out, built or not.
      order: J, the highest order that is compared; 0 compares values only.
      target: `targets.Function`, `targets.Teacher`, `targets.FiniteDifferences` or any callable
        of tensors: `fit(x)` takes its labels from here, inside the step. Where labels are passed
        to `fit`, they alone are compared.
      wrt: for a net of several inputs, the name or names of those to differentiate.
      projection: a `Projection`, or its side: "output" for D^j <m, v>, "input" for derivatives
        along v. None compares full derivatives. Evaluation draws the same directions each time.
      projections, contraction, unbiased, orthogonal, seed: beside a side, the `Projection`'s
        count and other fields.

    Raises:
      ValueError: for an unknown setting, or a net of several outputs or of unknown axes.

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
        arguments.refuse_no_target(caller, target)
        if isinstance(target, Teacher):
            target.refuse_shared_weights(caller, net)
        chosen = arguments.as_projection(
            projection,
            seed,
            count=projections,
            contraction=contraction,
            unbiased=unbiased,
            orthogonal=orthogonal,
        )
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
        """Learn in z-scores of x and y, and by the chain rule of every derivative.

        x [B,D] is scaled component by component; x of more axes by one mean and one deviation,
        which keeps the geometry of images and positions. Without values, or where they are
        constant, y's deviation is the typical length of its z-scored gradient. NaN entries of
        labels are left out, and so are rows of weight 0 and what `mask` says is padding.

        `predict`, `predict_jet`, metrics, and the saved and the exported model keep the user's
        units. Losses and random directions are in z-scores, and so are metrics of output
        projections, which mix the outputs' units.

        Args:
          x, y: as for `fit`, arrays or a data set of batches, read once; with a live target x is
            enough.
          batch_size: rows of arrays that are read at once.
          steps: how many batches of a data set are read; None for all.
          sample_weight: as for `fit`. Rows of weight 0 do not count; other weights are all one.
          mask: of arrays, booleans [B] with the first axes of *in, such as [B,N] for positions
            [B,N,3]: False for padding, which counts neither in x nor in the derivatives.
          scale_x: False leaves x as it is, where the net has lengths of its own such as cutoffs.

        Raises:
          ValueError: for no data, data without end, numbers that are not finite, labels of
            another shape, or a net that masks padding in an x that is scaled.
        """
        scale_x = require.switch(f"{type(self).__name__}.adapt", "scale_x", scale_x)
        gate = Gate(f"{type(self).__name__}.adapt", self.order, "nan")
        looked = arrays.are_arrays(x)
        if looked:
            x, y, sample_weight = gate.arrays(x, y, sample_weight)
        if scale_x:
            pitfalls.refuse_to_move_masks(gate.caller, self.net, self.equation.inputs.chosen)
        batches = arguments.label_batches(
            x, y, sample_weight, mask, batch_size, steps, gate.caller, self.equation.inputs
        )
        if not looked:
            batches = ((*gate.look(b[:3], number), None) for number, b in enumerate(batches))
        # Projections are for targets whose full derivatives would be too many.
        order = 0 if self.projection else self.order
        known = (
            (*self.equation.known(self._cast(x), y, weights, self.target, order), real)
            for x, y, weights, real in batches
        )
        classes = self.compiled and self.objective.classes
        statistics = fit_statistics(
            known, lambda: self.equation.output_dims, classes, self.equation.is_float64(), scale_x
        )
        scales = statistics.scales()
        if self.compiled:
            scores.refuse_losses_of_raw_values(gate.caller, self.objective, *scales[2:])
        self.scaling.set(*scales)
        self.label_sizes = statistics.label_sizes()
        if self.compiled and self.objective.balance(self.label_sizes):
            self.forget_functions()

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments for a saved model."""
        return saving.config(self)
