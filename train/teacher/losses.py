"""The actor-critic loss (Mnih et al. 2016) and its advantages (Schulman et al. 2016)."""

import numpy as np
import tensorflow as tf

TERMS = ("policy_loss", "value_loss", "entropy")


def actor_critic_loss(
    logits: tf.Tensor,
    values: tf.Tensor,
    actions: tf.Tensor,
    advantages: tf.Tensor,
    targets: tf.Tensor,
    value_cost: float,
    entropy_cost: float,
) -> tuple[tf.Tensor, tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    """Return the loss of a batch and its `TERMS`, scalars.

        loss = -mean(A log π(a|s)) + value_cost mean((R - V(s))^2) - entropy_cost mean(H[π(.|s)])

    Gradients flow into π and V; A and R are data.

    Args:
      logits: [B,A], of π.
      values: [B], V(s).
      actions: int32 [B], a.
      advantages: [B], A.
      targets: [B], the returns R that V learns.
      value_cost: weight of the value's squared error.
      entropy_cost: weight of the policy's entropy H, in nats.
    """
    log_policy = tf.nn.log_softmax(logits)
    chosen = tf.gather(log_policy, actions, batch_dims=1)
    policy_loss = -tf.reduce_mean(advantages * chosen)
    value_loss = tf.reduce_mean(tf.square(targets - values))
    entropy = -tf.reduce_mean(tf.reduce_sum(tf.exp(log_policy) * log_policy, -1))
    loss = policy_loss + value_cost * value_loss - entropy_cost * entropy
    return loss, (policy_loss, value_loss, entropy)


def generalized_advantages(
    rewards: np.ndarray,
    discounts: np.ndarray,
    values: np.ndarray,
    last_values: np.ndarray,
    gae_lambda: float,
) -> np.ndarray:
    """Return the generalized advantages A [T,N] of a rollout of N games, time first.

        delta_t = r_t + discount_t V(s_t+1) - V(s_t)
        A_t = delta_t + discount_t gae_lambda A_t+1

    Args:
      rewards: r_t [T,N], what the action at t brought.
      discounts: [T,N], 0 where the action at t ended the episode, else gamma.
      values: V(s_t) [T,N].
      last_values: V(s_T) [N], which stands for all that comes after the rollout.
      gae_lambda: 1 gives the n-step returns of A3C, R_t = A_t + V(s_t); less, smaller variance.
    """
    next_values = np.concatenate([values[1:], last_values[None]])
    deltas = rewards + discounts * next_values - values
    advantages = np.empty_like(deltas)
    later = np.zeros_like(last_values)
    for t in reversed(range(len(deltas))):
        later = advantages[t] = deltas[t] + discounts[t] * gae_lambda * later
    return advantages
