"""SobolevModel: equations 1 and 2 as a Keras model.

| module | holds |
| --- | --- |
| sobolev | `SobolevModel`: its arguments, and `adapt` |
| equation_model | how an equation is trained: compile, fit, steps, losses, metrics, files |
| equation | one batch: what the net predicts, and what it is compared with |
| terms | predicted terms, labels and a target's terms, by name |
| objective | losses, weights and component weights of terms |
| coupled_entries | losses that compare entries, and what missing ones add |
| labels, label_shapes, sample_weights, missing | what users may pass, in one form |
| gate, digits | what users pass, checked once: rows, finite numbers, weights, masks, digits |
| feed, not_finite | what Keras's `fit` is called with, and why a loss is not finite |
| inputs, scaling, scaled_target, statistics | what is differentiated, and z-scores around it |
| problem | the loss of all data as a function of the weights, for solvers |
"""
