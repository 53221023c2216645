"""Play a trained policy: scores, a clip, and its release."""

import hashlib
from pathlib import Path

import numpy as np

from train.lib.atari import environment, play, policies
from train.lib.atari.driver import Observer
from train.lib.atari.trajectory import Trajectory
from train.lib.run import cli, files, run_folder
from train.lib.run.errors import UsageError
from train.lib.run.text_table import counted
from train.teacher.agreement import Agreement

RELEASE_EPISODES = 30
CLIP_STEPS = 450  # half a minute of play


class PrintedScores(play.Scores):
    """Observer of scores that prints when an episode ends: good players play for minutes."""

    steps = 0

    def __call__(self, trajectory: Trajectory) -> None:
        self.steps += 1
        before = self.playing.sum()
        super().__call__(trajectory)
        if (left := self.playing.sum()) < before:
            games = len(self.playing)
            print(f"after {self.steps} steps {left} of {games} are still at play", flush=True)


class Film:
    """Observer: the frames that the first game's first episode begins with."""

    def __init__(self):
        self.frames: list[np.ndarray] = []
        self._over = False

    def __call__(self, trajectory: Trajectory) -> None:
        if len(self.frames) < CLIP_STEPS and not self._over:
            self.frames.append(trajectory.observation[0, ..., -1])
        self._over |= bool(trajectory.is_last()[0])


def evaluate(
    path: str,
    game: str,
    *,
    episodes: int,
    seed: int,
    gif: str | None = None,
    compare_with: str | None = None,
) -> None:
    """Play a policy and print its true scores.

    Args:
      path: path of the policy, see `policies.load`.
      game: the game's name.
      episodes: number of episodes.
      seed: seed of the games and the actions.
      gif: file for a clip of the first episode.
      compare_with: path of another policy; print how much the two differ at the states visited.
    """
    if gif and Path(gif).suffix != ".gif":
        raise UsageError(f"--gif={gif}: expected a path that ends in .gif")
    if gif and (Path(gif).is_dir() or not Path(gif).parent.is_dir()):
        raise UsageError(f"--gif={gif}: expected a file in a folder that exists")
    policy = policies.load(path, game)
    film, printed = Film(), PrintedScores(episodes)
    observers: list[Observer] = [film, printed] if gif else [printed]
    if compare_with is not None:
        agreement = Agreement(policies.load(compare_with, game), episodes)
        observers.append(agreement)
    scores = play.scores(policy, game, episodes, seed, observers=observers)
    print(f"{game}, {path}: {describe(scores)}")
    if compare_with is not None:
        print(f"Beside {compare_with}: {agreement.mean()}\n{agreement.by_episode()}")
    if gif:
        write_gif(gif, film.frames)
        print(f"Clip: {gif}")
        return
    flags = f"--game={game}", f"--eval_policy={path}", "--gif=clip.gif"
    print(cli.next_command("film it", "train.teacher", *flags))


def describe(scores: np.ndarray) -> str:
    """Return mean, spread and every score as one line; a single score has no spread.

    Example:

    >>> describe(np.array([3.0, 5.0]))
    'mean true score 4.0 ±1.4 over 2 episodes: 3 5'
    >>> describe(np.array([3.0]))
    'mean true score 3.0 over 1 episode: 3'
    """
    spread = f" ±{scores.std(ddof=1):.1f}" if len(scores) > 1 else ""
    listed = " ".join(f"{score:.0f}" for score in scores)
    over = counted(len(scores), "episode")
    return f"mean true score {scores.mean():.1f}{spread} over {over}: {listed}"


def write_gif(path: str | Path, frames: list[np.ndarray], scale: int = 3) -> None:
    """Write gray frames, uint8 [84,84] each, as a clip at the game's own speed."""
    from PIL import Image  # Comes with matplotlib.

    shown = [Image.fromarray(frame).resize([84 * scale] * 2, 0) for frame in frames]
    with files.replacing(Path(path)) as file:
        milliseconds = 1000 * environment.FRAMES_PER_STEP / 60
        shown[0].save(
            file, "GIF", save_all=True, append_images=shown[1:], duration=milliseconds, loop=0
        )


def release(folder: str | Path, game: str, seed: int) -> None:
    """Write the best teacher of a run folder in half precision, and its card, to teachers/.

    The scores on the card are those of the rounded weights. The card has the checksum of the
    weights; a test compares both.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"--release={folder}: expected the run folder of a teacher")
    net, step = policies.load_teacher(folder, game)
    weights = {v.path: v.numpy().astype(np.float16) for v in net.variables}
    policy = policies.Policy(policies.teacher_net(weights, folder, game))
    printed = PrintedScores(RELEASE_EPISODES)
    scores = play.scores(policy, game, RELEASE_EPISODES, seed, observers=[printed])
    config = run_folder.read_config(folder / "config.json")
    path = policies.RELEASED / f"{game}.npz"
    path.parent.mkdir(exist_ok=True)
    with files.replacing(path) as file:
        files.write_npz(file, weights, compress=True)
    card = {
        "game": game,
        "net": "sobolev_tf.nets.atari_teacher, half precision",
        "sha256": checksum(path),
        "steps": step,
        "mean_score": scores.mean(),
        "std_score": scores.std(ddof=1),
        "scores": scores.tolist(),
        "play": f"{len(scores)} episodes, actions sampled, no repeated actions, seed {seed}",
        "training": config,
    }
    files.write_json(path.with_suffix(".json"), card)
    print(f"{path}: {describe(scores)}")
    print(cli.next_command("record it", "train.record", f"--game={game}", "--teacher=released"))


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
