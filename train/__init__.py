"""Runnable experiments: `python -m train.NAME`."""

from train.lib.run import interrupts, keras_settings, standard_streams, tf_quiet

# Here, since nothing of train is imported earlier: TensorFlow prints its noise when it is first
# imported. Every script imports it anyway, through Keras or sobolev_tf, also for --help.
standard_streams.prepare()
interrupts.prepare()
keras_settings.before_import()
tf_quiet.import_tensorflow()
keras_settings.after_import()
