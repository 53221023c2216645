"""Runnable experiments: `python -m train.NAME`."""

from train.lib import quiet

quiet.import_tensorflow()  # Here, because nothing of train is imported earlier.
