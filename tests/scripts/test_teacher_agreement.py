"""How far a policy is from another one in games of its own: numbers by hand."""

import numpy as np

from train.lib.atari.trajectory import PolicyInfo, StepType, Trajectory
from train.teacher.agreement import Agreement


def step(shares, ended, reward=(0, 0)):
    """A step of two games, whose player acts with the probabilities `shares` [2,2]."""
    logits = np.log(np.float32(shares))
    last = np.where(ended, StepType.LAST, StepType.MID)
    return Trajectory(
        step_type=np.full(2, StepType.MID),
        observation=np.zeros([2, 84, 84, 4], np.uint8),
        action=np.zeros(2, np.int32),
        policy_info=PolicyInfo(logits, np.zeros(2)),
        next_step_type=last,
        reward=np.float32(reward),
        discount=np.ones(2, np.float32),
        final_observation=None,
    )


def test_divergence_is_that_of_the_player_and_only_over_first_episodes():
    shown = []

    def other(frames):
        shown.append(len(frames))
        return np.log(np.float32([[0.25, 0.75]] * len(frames))), np.zeros(len(frames))

    agreement = Agreement(other, num_envs=2)
    agreement(step([[0.5, 0.5], [0.25, 0.75]], ended=[False, True], reward=[20, -3]))
    agreement(step([[0.75, 0.25], [0.99, 0.01]], ended=[True, False], reward=[1, 5]))
    agreement(step([[0.99, 0.01], [0.99, 0.01]], ended=[False, False], reward=[7, 7]))
    assert shown == [2, 1]
    first = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)
    second = 0.75 * np.log(0.75 / 0.25) + 0.25 * np.log(0.25 / 0.75)
    np.testing.assert_allclose(agreement.kl, [first + second, 0], atol=1e-6)
    assert agreement.steps.tolist() == [2, 1]
    # Equal shares count as the first action, so the player differs at two of the three states.
    assert agreement.errors.tolist() == [2, 0]
    assert agreement.mean() == "KL 0.231 nats, other actions at 66.7 % of the states"
    assert agreement.by_episode().splitlines() == [
        "true score steps    KL other actions",
        "21             2 0.347       100.0 %",
        "-3             1     0         0.0 %",
    ]
