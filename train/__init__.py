"""Runnable experiments: `python -m train.NAME`."""

from train.lib.run import tf_quiet

tf_quiet.import_tensorflow()  # Here, because nothing of train is imported earlier.
