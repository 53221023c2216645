"""Set Keras up as the scripts need it, regardless of ~/.keras/keras.json and KERAS_BACKEND.

A run must not depend on settings that its config.json does not hold.
"""

import os


def before_import() -> None:
    """Choose the backends that Keras and Matplotlib read as they are imported."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["MPLBACKEND"] = "agg"  # figures are written only; another name may end the import


def after_import() -> None:
    """Set what Keras would otherwise read from its file."""
    import keras  # Not above: `before_import` must come first.

    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("float32")
