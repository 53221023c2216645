"""Runnable experiments: `python -m train.NAME`."""

from train.lib.run import tf_quiet

# Here, since nothing of train is imported earlier: TensorFlow prints its noise when it is first
# imported. Every script imports it anyway, through Keras or sobolev_tf, also for --help.
tf_quiet.import_tensorflow()
