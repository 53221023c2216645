"""What Keras 3 lacks: strategies, several steps as one program, batching, callbacks, export."""
