"""Sobolev training for TensorFlow and Keras: networks that match values and derivatives."""

__version__ = "0.1.0"
