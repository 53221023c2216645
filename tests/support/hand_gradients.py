"""A training step of a DecoupledModel by hand: explicit output gradients, stage by stage."""

import tensorflow as tf


def hand_gradients(model, x, y, weight):
    """Updates of SGD at rate 1, stage by stage with explicit output gradients, and the targets."""
    weight = tf.constant(weight)
    n = len(x)
    tapes, ins, outs = [], [], []
    h = tf.constant(x)
    for stage in model.stages:
        tape = tf.GradientTape(persistent=True)
        with tape:
            tape.watch(h)
            out = stage(h, training=True)
        tapes.append(tape)
        ins.append(h)
        outs.append(out)
        h = out
    with tf.GradientTape() as tape:
        tape.watch(outs[-1])
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, outs[-1])
    arriving = tape.gradient(losses, outs[-1])  # per example
    synthetic, critic_tapes, values = [], [], []
    for critic, h in zip(model.critics, outs[:-1], strict=False):
        critic_tape = tf.GradientTape(persistent=True)
        if model.method == "direct":
            with critic_tape:
                synthetic.append(critic([h, tf.one_hot(y, 3, dtype=h.dtype)]))
                m = losses  # not predicted
        else:
            with critic_tape, tf.GradientTape() as tape:
                tape.watch(h)
                m = tf.nn.sparse_softmax_cross_entropy_with_logits(y, critic(h))
            with critic_tape:
                synthetic.append(tape.gradient(m, h))
        critic_tapes.append(critic_tape)
        values.append(m)
    true, bootstrapped, updates = [], [], []
    full = arriving
    for k in (2, 1, 0):
        handed = synthetic[k] if model.synthetic_gradients and k < 2 else full if k == 2 else None
        if model.method == "backprop":
            handed = full
        if handed is not None:
            share = handed * (weight / n)[:, None]
            updates = tapes[k].gradient(outs[k], model.stages[k].weights, share) + updates
            bootstrapped.insert(0, tapes[k].gradient(outs[k], ins[k], handed))
        full = tapes[k].gradient(outs[k], ins[k], full)
        true.insert(0, full)
    targets = (true if model.gradient_target == "true" else bootstrapped)[1:]
    value_weight = 2.0 * (model.method in ("sobolev", "critic"))
    gradient_weight = 0.5 * (model.method in ("sobolev", "vfbn", "direct"))
    critic_updates = []
    for critic, tape, m, sg, g, h in zip(
        model.critics, critic_tapes, values, synthetic, targets, outs, strict=False
    ):
        with tape:
            objective = value_weight * tf.reduce_sum(weight * tf.abs(m - losses)) / n
            objective += gradient_weight * tf.reduce_sum(weight[:, None] * tf.abs(sg - g)) / n
            if label_weight := model.critic_loss.label_weight:
                predicted, actual = tf.nn.log_softmax(critic(h)), tf.nn.log_softmax(outs[-1])
                classes = predicted - tf.stop_gradient(actual)
                objective += label_weight * tf.reduce_sum(weight[:, None] * classes**2) / n
        critic_updates += tape.gradient(objective, critic.trainable_variables)
    return updates, critic_updates
