"""Full-batch fits for small data.

| module | holds |
| --- | --- |
| surrogate, surrogate_labels | `fit_surrogate`: a kernel net or an MLP, whichever fits better |
| gaussian_process, kernel_covariance, kernel_evidence | the kernel net's closed form and prior |
| kernel_units, kernel_posterior, noisy_slopes | the kernel net as layers, and its deviations |
| least_squares, laplace | `fit_least_squares`: Levenberg-Marquardt, and its deviations |
| lbfgs | `fit_lbfgs` |
| full_batch | what both of these share: callbacks, progress, compiled functions |
"""
