"""SobolevModel: equations 1 and 2 as a Keras model.

| module | holds |
| --- | --- |
| sobolev | `SobolevModel`: its arguments, and `adapt` |
| net_model | the net's values, jets, deviations and SavedModel |
| equation_steps | its training and test steps, losses and metrics |
| equation_model | Keras's methods around them: compile, fit, evaluate, predict, files |
| equation | one batch: what the net predicts, and what it is compared with |
| terms | predicted terms, labels and a target's terms, by name |
| objective | losses, weights and component weights of terms |
| coupled_entries | losses that compare entries, and what missing ones add |
| labels, label_shapes, label_blocks, sample_weights, missing | what users may pass, in one form |
| gate, surely_right, named_arrays | the one check of what users pass: rows, numbers, weights |
| partly_missing, lost_entries | labels of which some entries are missing |
| contradictions, coupled_rows, digits | warnings about data that pass |
| feed, not_finite | what Keras's `fit` is called with, and why a loss is not finite |
| inputs, scaling, scaled_target, statistics | what is differentiated, and z-scores around it |
| problem | the loss of all data as a function of the weights, for solvers |
"""
