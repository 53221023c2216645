"""NetModel: the parts of an equation's model, and what the model answers without being trained."""

import functools
import itertools
from typing import Any

import keras
import tensorflow as tf

from sobolev_tf import jets, require
from sobolev_tf.keras_support import export, strategies
from sobolev_tf.keras_support.fingerprint import parts_of
from sobolev_tf.keras_support.graph_errors import own_errors
from sobolev_tf.model import gradients, posterior
from sobolev_tf.model.compiled_jet import CompiledFunctions, CompiledJet
from sobolev_tf.model.equation import Equation
from sobolev_tf.model.input_batches import input_batches, shown_batches
from sobolev_tf.model.posterior import Posterior
from sobolev_tf.model.settled import refuse_replacement
from sobolev_tf.projections import Projection


class NetModel(strategies.DistributedModel):
    """A Keras model around an `Equation`: its values, its jets, its SavedModel.

    Its compiled functions follow the net: see `keras_support.fingerprint`.

    Args:
      equation: the net with its inputs and scaling, and the terms that it is trained on.
      target: supplies labels inside the step, or None.
      projection: of equation 2, or None for full derivatives.
      **kwargs: Keras's, such as name.
    """

    posterior: Posterior | None
    _std: CompiledJet

    def __init__(
        self, equation: Equation, target: Any, projection: Projection | None, **kwargs: Any
    ) -> None:
        # Transparent to dtypes: the net itself decides what to cast.
        super().__init__(autocast=False, **kwargs)
        self.equation = equation
        self.net, self.order, self.target = equation.net, equation.order, target
        self.scaling, self.projection = equation.scaling, projection
        self._full_jet = CompiledJet(equation.jet)
        self.restore_posterior(None)
        self.solver_functions = CompiledFunctions()

    def build(self, input_shape: Any) -> None:
        """Build the net and its scaling for inputs [B,*in]: see `Equation.build`."""
        self.equation.build(input_shape, owner=type(self).__name__)

    def call(self, x: Any, training: bool | None = None) -> tf.Tensor:
        """Compute values [B,*out] at x [B,*in], in the user's units."""
        return self.equation.value(x, training)

    def predict_jet(
        self,
        x: Any,
        batch_size: int = 256,
        verbose: str | int = 0,
        steps: int | None = None,
    ) -> jets.Jet:
        """Compute values [B,*out] and full derivatives D^j [B,*out,*in × j] as NumPy arrays.

        Args:
          x: arrays, lists of rows, or a data set or PyDataset of batches, whose labels are left
            aside.
          batch_size: rows of arrays that are computed at once.
          verbose: 1 shows a line of progress, 0 none; "auto" shows it on a terminal.
          steps: how many batches are read; None for all.

        Raises:
          ValueError: for x of another shape than the net takes, or data without end.
        """
        caller = f"{type(self).__name__}.predict_jet"
        batches = input_batches(x, batch_size, steps, caller, self.equation.inputs)
        cast = (self._cast(batch) for batch in shown_batches(batches, verbose))
        first = next(cast)  # builds a net that is not built yet
        self.forget_stale_functions()
        with own_errors(caller):
            return self._full_jet.over(itertools.chain([first], cast))

    def predict_std(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        steps: int | None = None,
        noise: bool = False,
    ) -> jets.Jet:
        """Compute standard deviations of values [B,*out] and of gradients [B,*out,*in].

        They are those of the posterior that `fit_least_squares(..., regularization="evidence")`
        leaves: what the labels do not settle, to first order in the weights. Each row costs as
        many reverse passes as it has entries.

        Args:
          x: as for `predict`.
          batch_size: rows of arrays that are computed at once; None for 32.
          verbose: 1 shows a line of progress, 0 none; "auto" shows it on a terminal.
          steps: how many batches are read; None for all.
          noise: whether the noise of labels is added, as the fit estimated it: the deviations of
            a new label, not of the function.

        Returns:
          A `Jet` of NumPy arrays, in the user's units.

        Raises:
          ValueError: there is no posterior, or the weights changed since; or as `predict_jet`.
        """
        caller = f"{type(self).__name__}.predict_std"
        noise = require.switch(caller, "noise", noise)
        posterior.refuse_without(caller, self.posterior, self.has_current_posterior())
        size = posterior.BATCH_SIZE if batch_size is None else batch_size
        batches = input_batches(x, size, steps, caller, self.equation.inputs)
        cast = (self._cast(batch) for batch in shown_batches(batches, verbose))
        self.forget_stale_functions()
        first = next(cast)
        if not len(self.equation.inputs.point(first)):
            raise ValueError(f"{caller}: x has 0 rows, at least 1 is needed.")
        with own_errors(caller):
            return self._std.over(itertools.chain([first], cast), noise)

    def set_posterior(self, layer: Posterior | None) -> None:
        """Take the posterior of the weights that the model has now; None for none.

        Args:
          layer: it is no layer of the model, but saved and exported with it.
        """
        if layer is not None:
            layer.of_weights.assign(posterior.weights_checksum(self.equation))
        self.restore_posterior(layer)

    def restore_posterior(self, layer: Posterior | None) -> None:
        """Take a posterior that knows which weights it is of, such as one from a file."""
        # Past Keras's tracking: a built model accepts no more layers.
        deviations = functools.partial(posterior.standard_deviations, layer, self.equation)
        object.__setattr__(self, "posterior", layer)
        object.__setattr__(self, "_std", CompiledJet(deviations))

    def has_current_posterior(self) -> bool:
        """Tell whether there is a posterior, and the weights are those that it is of."""
        if self.posterior is None or not self.built:
            return False
        return int(self.posterior.of_weights) == posterior.weights_checksum(self.equation)

    def export(self, filepath: str, **kwargs: Any) -> None:
        """Write a SavedModel that answers values and derivatives: see `export.export_jets`.

        Where `predict_std` answers, the SavedModel has its signature `std`.

        Args:
          filepath: its directory, which appears whole or not at all; an older one is replaced.

        Raises:
          ValueError: for Keras's other arguments, or a model that is not built.
        """
        export.refuse_options(self, kwargs)
        equation, layers, std = self.equation, [self.net, self.scaling], None
        if self.has_current_posterior():
            layers.append(self.posterior)

            def std(*x):
                x = equation.structure(list(x))
                jet = posterior.standard_deviations(self.posterior, equation, x, noise=False)
                return {"value": jet.value, "d1": jet.derivatives[0]}

        export.export_jets(layers, equation.served, equation.specs(), self.order, filepath, std)

    def __setattr__(self, name: str, value: Any) -> None:
        refuse_replacement(self, name, value)
        super().__setattr__(name, value)

    def traced_from(self) -> list:
        """List what the compiled functions depend on: layers, target, settings of `compile`."""
        settings = [getattr(self, name, None) for name in ("objective", "missing", "optimizer")]
        settings += [self.jit_compile, self.run_eagerly, repr(self.projection)]
        nets = [self.net, self.scaling, self.target, getattr(self.target, "fn", None)]
        return parts_of(nets, *settings)

    def make_train_function(self, force: bool = False) -> None:
        """Make the train function as Keras does, where the optimizer knows all weights."""
        caller = f"{type(self).__name__}.fit"
        gradients.refuse_unseen_weights(self.optimizer, self.trainable_variables, caller)
        super().make_train_function(force)

    def forget_functions(self) -> None:
        """Drop the compiled functions: they are made anew when they are next called."""
        super().forget_functions()
        self._full_jet.forget()
        self._std.forget()
        self.solver_functions.forget()

    def _cast(self, x):
        """x as the equation takes it; builds a model that is not built yet."""
        x = self.equation.cast(x)
        if not self.built:
            self.build(keras.tree.map_structure(lambda t: tuple(t.shape), x))
        return x
