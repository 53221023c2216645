"""Returns of a rollout; arrays are [T,N], time first."""

import numpy as np


def advantages(rewards, discounts, values, last_values, trace):
    """Generalised advantages (Schulman et al. 2016) [T,N].

        delta_t = r_t + discount_t V(s_t+1) - V(s_t),  A_t = delta_t + discount_t trace A_t+1

    Args:
      rewards: r_t, what the action at t brought.
      discounts: 0 where the action at t ended the episode, else gamma.
      values: V(s_t).
      last_values: V(s_T) [N], which stands for all that comes after the rollout.
      trace: 1 gives the n-step returns of A3C, R_t = A_t + V(s_t); less, smaller variance.
    """
    ahead = np.concatenate([values[1:], last_values[None]])
    deltas = rewards + discounts * ahead - values
    found = np.empty_like(deltas)
    later = np.zeros_like(last_values)
    for t in reversed(range(len(deltas))):
        later = found[t] = deltas[t] + discounts[t] * trace * later
    return found
