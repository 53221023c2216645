"""The floor under figure 4: the best policy that does not look at the frame."""

import numpy as np

import sobolev_tf as st


def constant(train, test, divergence):
    """How far a constant policy comes: {"test_kl", "test_action_error"}.

    It is the one of the lowest mean KL to the teacher's logits `train` [T,A], and is tested on
    those of `test`. Of D_KL(π ‖ π*) that is the normalised geometric mean of π*, of D_KL(π* ‖ π)
    the mean.

    >>> teacher = np.log([[0.8, 0.2], [0.2, 0.8]]).astype("f")
    >>> {name: round(x, 3) for name, x in constant(teacher, teacher, "student_teacher").items()}
    {'test_kl': 0.223, 'test_action_error': 0.5}
    """
    logs = st.distillation.log_policy(train).numpy().astype(np.float64)
    geometric = divergence == "student_teacher"
    best = logs.mean(0) if geometric else np.log(np.exp(logs).mean(0))
    answers = np.broadcast_to(best.astype(np.float32), test.shape)
    metrics = {
        "test_kl": st.distillation.KL(divergence),
        "test_action_error": st.distillation.ActionError(),
    }
    for metric in metrics.values():
        metric.update_state(test, answers)
    return {name: max(float(metric.result()), 0.0) for name, metric in metrics.items()}


def entropy(logits):
    """Mean entropy of policies given as logits [T,A], in nats.

    >>> round(entropy(np.zeros([2, 4], "f")), 4)  # log 4
    1.3863
    """
    logs = st.distillation.log_policy(logits).numpy()
    return float(-(np.exp(logs) * logs).sum(-1).mean())
