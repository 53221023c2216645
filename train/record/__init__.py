"""`python -m train.record`."""
