"""NetModel: the parts of an equation's model, and what the model answers without being trained."""

import itertools
from typing import Any

import keras
import tensorflow as tf

from sobolev_tf import jets
from sobolev_tf.keras_support import export, strategies
from sobolev_tf.keras_support.fingerprint import parts_of
from sobolev_tf.keras_support.graph_errors import own_errors
from sobolev_tf.model import gradients
from sobolev_tf.model.compiled_jet import CompiledFunctions, CompiledJet
from sobolev_tf.model.equation import Equation
from sobolev_tf.model.input_batches import input_batches, shown_batches
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

    def __init__(
        self, equation: Equation, target: Any, projection: Projection | None, **kwargs: Any
    ) -> None:
        # Transparent to dtypes: the net itself decides what to cast.
        super().__init__(autocast=False, **kwargs)
        self.equation = equation
        self.net, self.order, self.target = equation.net, equation.order, target
        self.scaling, self.projection = equation.scaling, projection
        self._full_jet = CompiledJet(equation)
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
          steps: how many batches of a data set are read; None for all.

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

    def export(self, filepath: str, **kwargs: Any) -> None:
        """Write a SavedModel that answers values and derivatives: see `export.export_jets`.

        Args:
          filepath: its directory, which appears whole or not at all; an older one is replaced.

        Raises:
          ValueError: for Keras's other arguments, or a model that is not built.
        """
        export.refuse_options(self, kwargs)
        layers, served, specs = [self.net, self.scaling], self.equation.served, self.equation.specs
        export.export_jets(layers, served, specs(), self.order, filepath)

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
        self.solver_functions.forget()

    def _cast(self, x):
        """x as the equation takes it; builds a model that is not built yet."""
        x = self.equation.cast(x)
        if not self.built:
            self.build(keras.tree.map_structure(lambda t: tuple(t.shape), x))
        return x
