"""The baseline of figure 4: the best policy that ignores the frames."""

import numpy as np

import sobolev_tf as st


def constant(train: np.ndarray, test: np.ndarray, divergence: str) -> dict[str, float]:
    """Return test_kl and test_action_error of the best constant policy.

    It is the one of the lowest mean KL to the teacher on the training steps: for D_KL(π ‖ π*) the
    normalized geometric mean of the teacher's π*, for D_KL(π* ‖ π) the mean.

    Args:
      train: the teacher's logits [T,A] that it is fitted to.
      test: those [T,A] that it is tested on.
      divergence: "student_teacher" or "teacher_student".

    Example:

    >>> teacher = np.log([[0.8, 0.2], [0.2, 0.8]]).astype("f")
    >>> {name: round(x, 3) for name, x in constant(teacher, teacher, "student_teacher").items()}
    {'test_kl': 0.223, 'test_action_error': 0.5}
    """
    logs = st.distillation.log_policy(train).numpy().astype(np.float64)
    best = logs.mean(0) if divergence == "student_teacher" else np.log(np.exp(logs).mean(0))
    predicted = np.broadcast_to(best.astype(np.float32), test.shape)
    kl, action_error = st.distillation.KL(divergence), st.distillation.ActionError()
    kl.update_state(test, predicted)
    action_error.update_state(test, predicted)
    return {
        "test_kl": max(float(kl.result()), 0.0),
        "test_action_error": max(float(action_error.result()), 0.0),
    }


def entropy(logits: np.ndarray) -> float:
    """Return the mean entropy of policies given as logits [T,A], in nats.

    Example:

    >>> round(entropy(np.zeros([2, 4], "f")), 4)  # log 4
    1.3863
    """
    logs = st.distillation.log_policy(logits).numpy()
    return float(-(np.exp(logs) * logs).sum(-1).mean())
