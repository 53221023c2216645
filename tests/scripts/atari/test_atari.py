"""The games, the driver, the returns and the policies, on real ROMs."""

import json

import ale_py
import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf
from ale_py.vector_env import AtariVectorEnv

import sobolev_tf as st
from train.lib.atari import environment, play, policies
from train.lib.atari.driver import DynamicStepDriver, sample_actions
from train.lib.atari.trajectory import StepType, Trajectory
from train.lib.run.errors import UsageError
from train.teacher import losses


def uniform(actions):
    return lambda frames: (np.zeros([len(frames), actions]), np.zeros(len(frames)))


def test_actions_are_the_papers():
    actions = {}
    for game, indices in environment.ACTIONS.items():
        ale = ale_py.ALEInterface()
        ale.loadROM(ale_py.roms.get_rom_path(game))
        minimal = [action.name for action in ale.getMinimalActionSet()]
        actions[game] = [minimal[k] for k in indices]
    assert actions["pong"] == ["NOOP", "RIGHT", "LEFT"]
    assert actions["breakout"] == ["NOOP", "FIRE", "RIGHT", "LEFT"]
    assert actions["space_invaders"] == ["NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE"]


def test_stacks_slide_and_episodes_end_and_begin_within_a_step():
    env, rng = environment.Atari("breakout", 2, seed=0), np.random.default_rng(0)
    assert env.frames.shape == (2, 84, 84, 4)
    assert env.frames.dtype == np.uint8
    assert not env.frames[..., :3].any()  # black before the start
    lives, ends = np.zeros(2, int), 0
    while ends < 3:
        before = env.frames
        step = env.step(rng.integers(0, 4, 2))
        np.testing.assert_array_equal(env.is_first, step.ended)
        lives += step.life_lost
        after = env.frames if step.final_frames is None else step.final_frames
        for k in range(2):
            seen = after if step.ended[k] else env.frames
            np.testing.assert_array_equal(seen[k, ..., :3], before[k, ..., 1:])
            if step.ended[k]:
                assert lives[k] == 5  # A life lost ends no episode, the fifth one does.
                assert not env.frames[k, ..., :3].any()
                lives[k] = 0
                ends += 1
    assert not step.truncated.any()


def test_long_episodes_are_cut_off():
    env = environment.Atari("pong", 1, seed=0, max_frames=200)
    steps = [env.step(np.zeros(1, int)) for _ in range(50)]
    [cut] = [step for step in steps if step.ended[0]]
    assert cut.truncated[0]
    assert not cut.terminated[0]


def test_the_same_seed_plays_the_same_game():
    scores = [play.scores(uniform(4), "breakout", 2, seed=[1, 2]) for _ in range(2)]
    np.testing.assert_array_equal(*scores)
    stopped = play.scores(uniform(4), "breakout", 3, seed=0, stop=lambda: True)
    np.testing.assert_array_equal(stopped, [np.nan] * 3)


def trajectory(**fields):
    """A trajectory with nothing but `fields`."""
    return Trajectory(**(dict.fromkeys(Trajectory._fields) | fields))


def test_scores_count_every_games_first_episode_alone():
    scores = play.Scores(2)
    for reward, ended in [([1, 2], [False, True]), ([10, 20], [True, False]), ([5, 5], [0, 1])]:
        next_step_type = np.where(ended, StepType.LAST, StepType.MID)
        scores(trajectory(reward=np.array(reward, float), next_step_type=next_step_type))
    np.testing.assert_array_equal(scores.totals, [11, 2])


class Countdown:
    """Two games of nothing but a number on the screen; game k ends at 3, and then 2, steps."""

    def __init__(self):
        self.frames, self.is_first = np.array([[0], [10]], np.uint8), np.ones(2, bool)

    def step(self, actions):
        after = self.frames + 1
        terminated, truncated = (after == [[3], [0]])[:, 0], (after == [[0], [12]])[:, 0]
        self.is_first = terminated | truncated
        self.frames = np.where(self.is_first[:, None], [[0], [10]], after).astype(np.uint8)
        final = after if self.is_first.any() else None
        reward = np.array([1.0, 2.0], np.float32)
        return environment.Step(reward, terminated, truncated, self.is_first, final)


def test_trajectories_by_hand():
    """Game 0 is over after three steps, game 1 is cut off after two; both begin anew."""

    def policy(frames):
        return np.tile([0.0, -np.inf], [2, 1]), frames[:, 0] / 2

    seen = []
    driver = DynamicStepDriver(Countdown(), policy, [seen.append], np.random.default_rng(0))
    driver.run(until=lambda: len(seen) == 4)
    first, mid, last = StepType
    expected = {
        "step_type": [[first, first], [mid, mid], [mid, first], [first, mid]],
        "observation": [[0, 10], [1, 11], [2, 10], [0, 11]],
        "action": [[0, 0]] * 4,
        "next_step_type": [[mid, mid], [mid, last], [last, mid], [mid, last]],
        "reward": [[1, 2]] * 4,
        "discount": [[1, 1], [1, 1], [0, 1], [1, 1]],
    }
    for name, values in expected.items():
        played = [getattr(trajectory, name).reshape(2) for trajectory in seen]
        np.testing.assert_array_equal(played, values, err_msg=name)
    values = [trajectory.policy_info.value for trajectory in seen[:2]]
    np.testing.assert_array_equal(values, [[0, 5], [0.5, 5.5]])
    assert [each.is_first().tolist() for each in seen[1:3]] == [[False, False], [False, True]]
    assert [each.is_last().tolist() for each in seen[1:3]] == [[False, True], [True, False]]
    ends = [each.final_observation for each in seen]
    assert ends[0] is None
    assert (ends[1][1], ends[2][0]) == (12, 3)


def test_gymnasium_makes_the_vector_environment():
    """No sticky actions, no clipped rewards: what its registered environments would have."""
    env = environment.make_vec("breakout", 3, max_frames=400)
    assert isinstance(env, gymnasium.vector.VectorEnv)
    assert env.spec.kwargs["repeat_action_probability"] == 0.0
    assert env.metadata["autoreset_mode"] == gymnasium.vector.AutoresetMode.SAME_STEP
    direct = AtariVectorEnv(
        "breakout",
        3,
        num_threads=1,
        max_num_frames_per_episode=400,
        repeat_action_probability=0.0,
        autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP,
        reward_clipping=False,
    )
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(env.reset(seed=5)[0], direct.reset(seed=5)[0])
    for _ in range(150):
        actions = rng.integers(0, 4, 3)
        (*ours, info), (*theirs, other) = env.step(actions), direct.step(actions)
        for one, two in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(info["lives"], other["lives"])
    assert env.observation_space.shape == (3, 4, 84, 84)


def test_sampled_actions_follow_the_policy():
    probabilities = np.array([0.1, 0.6, 0.3])
    logits = np.log(np.tile(probabilities, [20_000, 1])) + 5.0
    drawn = sample_actions(logits, np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(drawn) / 20_000, probabilities, atol=0.01)


def test_advantages_by_hand():
    """Two games of three steps; the second one ends at its second step."""
    rewards = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    discounts = np.array([[0.5, 0.5], [0.5, 0.0], [0.5, 0.5]])
    values = np.array([[1.0, 4.0], [2.0, 2.0], [4.0, 6.0]])
    last = np.array([8.0, 10.0])
    # deltas: 1+1-1, 0+2-2, 3+4-4 and 0+1-4, 2-2, 0+5-6
    np.testing.assert_allclose(
        losses.generalized_advantages(rewards, discounts, values, last, gae_lambda=0.5),
        [[1 + 0.25 * (0 + 0.25 * 3), -3 + 0.25 * 0], [0 + 0.25 * 3, 0], [3, -1]],
    )
    n_step = losses.generalized_advantages(rewards, discounts, values, last, 1.0) + values
    np.testing.assert_allclose(n_step[:, 0], [1 + 0.5 * (0.5 * 7), 0.5 * 7, 3 + 0.5 * 8])
    np.testing.assert_allclose(n_step[:, 1], [0.5 * 2, 2, 0.5 * 10])


def small(actions, inputs=(84, 84, 4), value=False):
    frames = keras.Input(inputs)
    h = keras.layers.GlobalAveragePooling2D()(frames)
    logits = keras.layers.Dense(actions, name="logits")(h)
    return keras.Model(frames, [logits, keras.layers.Dense(1)(h)] if value else logits)


class Plays(tf.Module):
    """A SavedModel from elsewhere, that takes uint8."""

    @tf.function(input_signature=[tf.TensorSpec([None, 84, 84, 4], tf.uint8)])
    def __call__(self, frames):
        return {"logits": tf.cast(frames[:, 0, 0, :], tf.float32)}


FRAMES = np.random.default_rng(0).integers(0, 256, [3, 84, 84, 4], np.uint8)


def test_policies_from_keras_saved_model_and_weights(tmp_path):
    net = small(4, value=True)
    net.save(tmp_path / "net.keras")
    net.export(tmp_path / "saved")
    for name in ("net.keras", "saved"):
        logits, values = policies.load(tmp_path / name, "breakout")(FRAMES)
        expected = net(FRAMES.astype(np.float32))
        np.testing.assert_allclose(logits, expected[0], rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(values, expected[1][:, 0], rtol=1e-5, atol=1e-3)
    tf.saved_model.save(module := Plays(), tmp_path / "foreign", module.__call__)
    logits, values = policies.load(tmp_path / "foreign", "breakout")(FRAMES)
    np.testing.assert_array_equal(logits, FRAMES[:, 0, 0, :])
    assert np.isnan(values).all()

    teacher = st.nets.atari_teacher(4)
    half = {v.path: v.numpy().astype(np.float16) for v in teacher.variables}
    np.savez(tmp_path / "teacher.npz", **half)
    logits, values = policies.load(tmp_path / "teacher.npz", "breakout")(FRAMES)
    expected = teacher(FRAMES.astype(np.float32))
    np.testing.assert_allclose(logits, expected[0], atol=1e-3)
    np.testing.assert_allclose(values, expected[1][:, 0], atol=2e-2)
    assert logits.dtype == values.dtype == np.float32


def test_policies_that_do_not_fit_are_refused(tmp_path):
    small(3).save(tmp_path / "three.keras")
    small(4, inputs=(4, 84, 84)).save(tmp_path / "first.keras")
    small(4, inputs=(4, 84, 84)).export(tmp_path / "first")
    np.savez(tmp_path / "pong.npz", **{v.path: v for v in st.nets.atari_teacher(3).variables})
    (tmp_path / "half.npz").write_bytes((tmp_path / "pong.npz").read_bytes()[:1000])
    (tmp_path / "half.keras").write_bytes(b"PK")
    (tmp_path / "empty").mkdir()
    for name, message in {
        "three.keras": r"predicts \[2, 3\].* breakout has 4 actions",
        "first.keras": r"takes \[None, 4, 84, 84\]: expected one input of frames \[B,84,84,4\]",
        "first": r"takes \[None, 4, 84, 84\]: expected one input",
        "pong.npz": r"no teacher of breakout, which has 4 actions: logits/bias is \[3\], expected",
        "half.npz": "cannot be read as a policy",
        "half.keras": "cannot be read as a policy",
        "empty": "is no run folder and no SavedModel",
        "nowhere": "does not exist: expected a run folder",
    }.items():
        with pytest.raises(UsageError, match=message):
            policies.load(tmp_path / name, "breakout")


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"steps": 5}, None),
        ({"steps": 5, "game": "breakout"}, None),
        ({"steps": 5, "game": "pong"}, "it is the file of game pong, expected that of game break"),
        ({"steps": 5, "sha256": "0" * 64}, "it is the file of sha256 0000"),
        ({"game": "breakout"}, "it lacks 'steps'"),
    ],
)
def test_the_card_of_another_teacher_is_noticed(card, message, tmp_path):
    weights = {v.path: v.numpy() for v in st.nets.atari_teacher(4).variables}
    np.savez(tmp_path / "teacher.npz", **weights)
    (tmp_path / "teacher.json").write_text(json.dumps(card))
    if message is None:
        assert policies.load_teacher(tmp_path / "teacher.npz", "breakout")[1] == 5
    else:
        with pytest.raises(UsageError, match=message):
            policies.load(tmp_path / "teacher.npz", "breakout")
