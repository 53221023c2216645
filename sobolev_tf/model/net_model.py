"""NetModel: the values, jets, deviations and the SavedModel of an `Equation`'s net."""

import functools
import itertools
from typing import Any

import keras
import tensorflow as tf

from sobolev_tf import jets, require
from sobolev_tf.keras_support import export, strategies
from sobolev_tf.keras_support.by_shape import has_open_axes
from sobolev_tf.keras_support.compile_settings import refuse_averages, refuse_unseen_weights
from sobolev_tf.keras_support.errors import errors_of
from sobolev_tf.keras_support.fingerprint import Fingerprint, parts_of
from sobolev_tf.keras_support.graph_errors import own_errors
from sobolev_tf.model import posterior
from sobolev_tf.model.compiled_jet import CompiledFunctions, CompiledJet
from sobolev_tf.model.equation import Equation
from sobolev_tf.model.input_batches import input_batches, shown_batches
from sobolev_tf.model.posterior import Posterior
from sobolev_tf.model.settled import as_target, refuse_replacement
from sobolev_tf.projections import Projection


class NetModel(strategies.DistributedModel):
    """A Keras model around an `Equation`: its values, its jets, its SavedModel.

    Functions are compiled again if the net has changed, see `keras_support.fingerprint`.

    Args:
      equation: the net with its inputs and scaling, and the terms that it is trained on.
      target: supplies labels inside the step, or None.
      projection: the `Projection` of equation 2, or None for full derivatives.
      **kwargs: arguments of `keras.Model`, such as `name`.
    """

    posterior: Posterior | None
    _std: CompiledJet

    def __init__(
        self, equation: Equation, target: Any, projection: Projection | None, **kwargs: Any
    ) -> None:
        # The net itself decides what to cast; a mixed policy here would round the scaling.
        policy = keras.dtype_policies.get(kwargs.pop("dtype", None) or keras.config.dtype_policy())
        super().__init__(autocast=False, dtype=policy.variable_dtype, **kwargs)
        self.equation = equation
        self.net, self.order, self.target = equation.net, equation.order, target
        self.scaling, self.projection = equation.scaling, projection
        self._full_jet = CompiledJet(equation.jet)
        self.restore_posterior(None)
        self.solver_functions = CompiledFunctions()
        self._fingerprint = Fingerprint()

    @property
    def layers(self) -> list[keras.layers.Layer]:
        """The net, its scaling, and a target that is a layer: what Keras writes to files."""
        target = self.target
        return super().layers + ([target] if isinstance(target, keras.layers.Layer) else [])

    def build(self, input_shape: Any) -> None:
        """Build the net and its scaling for inputs [B,*in]: see `Equation.build`."""
        # In files shapes are lists.
        input_shape = keras.tree.map_shape_structure(tuple, input_shape)
        self.equation.build(input_shape, owner=type(self).__name__)

    def build_from_config(self, config: dict) -> None:
        """Build as before the model was saved; Keras would pass over an error here."""
        if "input_shape" in config:
            self.build(config["input_shape"])

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
        """Compute values and full derivatives as NumPy arrays, in your units.

        Args:
          x: arrays, lists of rows, or a data set or PyDataset of batches, whose labels are ignored.
          batch_size: number of rows of arrays that are computed at a time.
          verbose: 1 shows a progress line, 0 shows none, "auto" shows it on a terminal only.
          steps: number of batches to read; None for all.

        Returns:
          A `Jet`: value [B,*out], derivatives D^j [B,*out,*in × j].

        Raises:
          ValueError: x has another shape than the net takes, or a data set is endless.
        """
        caller = f"{type(self).__name__}.predict_jet"
        batches = input_batches(x, batch_size, steps, caller, self.equation.inputs)
        cast = (self._cast(batch, caller) for batch in shown_batches(batches, verbose))
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
        """Compute standard deviations of values and gradients, in your units.

        They are those of the posterior of `fit_surrogate` or `fit_least_squares(...,
        regularization="evidence")`, to first order in the weights. Each row costs one reverse pass
        for each of its entries.

        Args:
          x: as for `predict`.
          batch_size: number of rows of arrays that are computed at a time; None for 32.
          verbose: 1 shows a progress line, 0 shows none, "auto" shows it on a terminal only.
          steps: number of batches to read; None for all.
          noise: whether to add the noise of the labels, as the fit estimated it. The deviations are
            then those of a new label instead of the function.

        Returns:
          A `Jet` of NumPy arrays: value [B,*out], one derivative [B,*out,*in].

        Raises:
          ValueError: there is no posterior, or weights or scaling have changed since the fit; or as
            for `predict_jet`.
        """
        caller = f"{type(self).__name__}.predict_std"
        noise = require.switch(caller, "noise", noise)
        posterior.refuse_without(caller, self.posterior, self.has_current_posterior())
        size = posterior.BATCH_SIZE if batch_size is None else batch_size
        batches = input_batches(x, size, steps, caller, self.equation.inputs)
        cast = (self._cast(batch, caller) for batch in shown_batches(batches, verbose))
        self.forget_stale_functions()
        first = next(cast)
        if not len(self.equation.inputs.point(first)):
            raise ValueError(f"{caller}: x has 0 rows, at least 1 is needed.")
        with own_errors(caller):
            return self._std.over(itertools.chain([first], cast), noise)

    def set_posterior(self, layer: Posterior | None) -> None:
        """Set the posterior of the current weights; None removes it.

        Args:
          layer: a `Posterior`, which is saved and exported with the model.
        """
        if layer is not None:
            layer.of_weights.assign(posterior.weights_checksum(self.equation))
        self.restore_posterior(layer)

    def restore_posterior(self, layer: Posterior | None) -> None:
        """Set a posterior that has the checksum of its weights, such as one from a file."""
        # Past Keras's tracking: a built model accepts no more layers.
        deviations = functools.partial(posterior.standard_deviations, layer, self.equation)
        object.__setattr__(self, "posterior", layer)
        object.__setattr__(self, "_std", CompiledJet(deviations))

    def has_current_posterior(self) -> bool:
        """Tell whether there is a posterior of the current weights."""
        if self.posterior is None or not self.built:
            return False
        checksum = keras.ops.convert_to_numpy(self.posterior.of_weights)
        return int(checksum) == posterior.weights_checksum(self.equation)

    def export(
        self,
        filepath: str,
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        **kwargs: Any,
    ) -> None:
        """Write a SavedModel that computes values and derivatives.

        Its signatures are `serving_default`, `jet`, `jvp`, `vjp`, and `std` if `predict_std` works;
        see `keras_support.export.export_jets`.

        Args:
          filepath: the directory, which appears whole or not at all. It may exist only if it is a
            SavedModel, which is replaced.
          format: "tf_saved_model", the only one.
          verbose: whether to print the path at the end. None: no.

        Raises:
          ValueError: another format or another argument of Keras's `export` is passed, or the model
            is not built.
        """
        export.refuse_options(self, format, kwargs)
        equation, layers, std = self.equation, [self.net, self.scaling], None
        if self.has_current_posterior():
            layers.append(self.posterior)

            def std(*x):
                x = equation.structure(list(x))
                jet = posterior.standard_deviations(self.posterior, equation, x, noise=False)
                return {"value": jet.value, "d1": jet.derivatives[0]}

        served, specs = equation.served, equation.specs()
        export.export_jets(layers, served, specs, self.order, filepath, std, bool(verbose))

    def __setattr__(self, name: str, value: Any) -> None:
        refuse_replacement(self, name, value)
        if name == "target":
            # Past Keras's tracking: a target is no part of the student, and may be replaced.
            object.__setattr__(self, name, as_target(self, value))
            if hasattr(self.target, "jet"):  # a black box, which XLA cannot call
                self.jit_compile = False
            if self.compiled:
                self.forget_functions()
            return
        super().__setattr__(name, value)

    def traced_from(self) -> list:
        """List what the compiled functions depend on: layers, target, settings of `compile`."""
        settings = [getattr(self, name, None) for name in ("objective", "missing", "optimizer")]
        settings += [self.jit_compile, self.run_eagerly, repr(self.projection)]
        nets = [self.net, self.scaling, self.target, getattr(self.target, "fn", None)]
        return parts_of(nets, *settings)

    def has_open_axes(self) -> bool:
        """Tell whether an input of the net has axes of any size beside the rows."""
        return has_open_axes(self.equation.inputs.known_shape())

    def known_outputs(self) -> tuple:
        """Return the shape *out of a row's outputs; () before the net is built."""
        return self.equation.output_dims

    def make_train_function(self, force: bool = False) -> None:
        """Make Keras's train function, after a check that the optimizer has the net's weights."""
        caller = f"{type(self).__name__}.fit"
        refuse_unseen_weights(caller, self.optimizer, self.trainable_variables)
        refuse_averages(caller, "optimizer", self.optimizer, self.trainable_variables)
        super().make_train_function(force)

    def forget_functions(self) -> None:
        """Forget the compiled functions: each is compiled again when it is next called."""
        super().forget_functions()
        self._forget_own_functions()

    def forget_stale_functions(self) -> None:
        """Forget compiled functions besides Keras's if what they were traced from has changed."""
        if self.built and self._fingerprint.changed(self.traced_from()):
            self._forget_own_functions()

    def _forget_own_functions(self):
        self._full_jet.forget()
        self._std.forget()
        self.solver_functions.forget()

    def build_for(self, x: Any, caller: str = "") -> None:
        """Build a model that is not built yet for x [B,*in]; errors name the caller."""
        self._cast(x, caller)

    def _cast(self, x, caller=""):
        """x as tensors of the net's dtype; builds a model that is not built yet."""
        with errors_of(caller):
            x = self.equation.cast(x)
        if not self.built:
            self.build(keras.tree.map_structure(lambda t: tuple(t.shape), x))
        return x
