"""Full-batch fits for small data: L-BFGS and Levenberg-Marquardt."""
