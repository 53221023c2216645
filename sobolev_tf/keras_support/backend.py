"""Keras's backend must be TensorFlow: importing this module raises an error if it is not."""

import os


def require_tensorflow() -> None:
    """Refuse another backend than TensorFlow, before anything else imports Keras.

    Raises:
      ImportError: names the backend that Keras uses, and the setting to change.
    """
    try:
        import keras
    except ImportError as error:
        backend = os.environ.get("KERAS_BACKEND", "tensorflow")
        if backend == "tensorflow" or "keras" in str(error.name):
            raise
    else:
        backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ImportError(
            f"sobolev_tf needs Keras's TensorFlow backend, and Keras uses {backend}: set "
            'KERAS_BACKEND=tensorflow before Python starts, or "backend" in ~/.keras/keras.json.'
        )


require_tensorflow()
