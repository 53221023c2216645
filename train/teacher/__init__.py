"""`python -m train.teacher`."""
