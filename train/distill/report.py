"""The end of a run: table, true scores, summary.json, figure, and the best SavedModel."""

import math
import shutil
from collections.abc import Sequence

from sobolev_tf.keras_support import directories
from train.distill import baselines, episodes, figures, splits, students, tables
from train.distill.students import METHODS, Study
from train.lib.atari import environment
from train.lib.run import cli, metrics_csv, run_folder, summary, text_table

Key = tuple[float, str]  # a student: train_percent, method


def finish(study: Study, run: run_folder.Run) -> None:
    """Write CSV files, summary.json, figure and the best SavedModel; print tables and scores."""
    summaries = students.summaries(run)
    ranked = sorted(summaries, key=lambda key: summaries[key]["test_kl"])
    constant = {percent: constant_policy(study, percent) for percent, _ in summaries}
    write_tables(study, run, summaries, constant)
    scores = true_scores(study, run, ranked)
    winner = keep_best(run, ranked[0])
    head = summary.head(
        run,
        what=f"distillation of {study.settings.game}'s teacher: best student, {winner}",
        name="test_kl",
        value=summaries[ranked[0]]["test_kl"],
        unit="nats",
        seconds=sum(net["seconds"] for net in summaries.values()),
    )
    results = {
        "game": study.settings.game,
        "nets": list(summaries.values()),
        "baselines": [{"train_percent": key, **value} for key, value in constant.items()],
        "teacher_entropy": baselines.entropy(study.recording.logits),
        "true_scores": scores,
        "saved_model": winner,
        "facts": run.config["facts"],
    }
    run.write_summary(head | results)
    print_scores(study, scores, results["teacher_entropy"])
    for path in figures.draw(run.folder):
        print(f"Figure: {path}")
    saved = run.path("saved_model")
    print(f"SavedModel of {winner}, which has the lowest test_kl: {saved}")
    flags = f"--game={study.settings.game}", f"--eval_policy={saved}"
    gif = f"--gif={run.path('student.gif')}"
    print(cli.next_command("see it play", "train.teacher", *flags, gif))


def write_tables(
    study: Study, run: run_folder.Run, summaries: dict[Key, dict], constant: dict[float, dict]
) -> None:
    """Write metrics.csv and episodes.csv; print both as tables."""
    rows = [
        row
        for key, net in summaries.items()
        for row in students.rows(students.folder(run, *key), *key, net["test_kl"])
    ]
    metrics_csv.write(run.path("metrics.csv"), rows)
    print(f"\n{tables.results(summaries, constant, rows)}\n")
    measured = {
        (percent, method): episodes.measure(students.folder(run, percent, method), study, percent)
        for percent, method in summaries
    }
    by_episode = [
        {"train_percent": percent, "method": method, **row}
        for (percent, method), of_net in measured.items()
        for row in of_net
    ]
    metrics_csv.write(run.path("episodes.csv"), by_episode)
    print(f"{episodes.table(measured)}\n")


def true_scores(study: Study, run: run_folder.Run, ranked: Sequence[Key]) -> dict[str, list[float]]:
    """Let each method's best student play.

    Args:
      study: the run's settings and recording.
      run: the open run.
      ranked: the students, from the lowest test KL on.

    Returns:
      {name: true score of each episode}, with the teacher's, as recorded.
    """
    settings = study.settings
    scores = {"teacher, as recorded": study.recording.scores.tolist()}
    best = {method: percent for percent, method in reversed(ranked)}  # the lowest KL comes last
    for method in METHODS if settings.eval_episodes else ():
        if method in best:
            folder = students.folder(run, best[method], method)
            scores[folder.name] = students.true_scores(
                folder, settings.game, settings.eval_episodes, settings.seed
            )
    return scores


def print_scores(study: Study, scores: dict[str, list[float]], entropy: float) -> None:
    """Print the teacher's entropy and the mean true scores."""
    most = math.log(len(environment.ACTIONS[study.settings.game]))
    print(f"teacher, as recorded: mean entropy {entropy:.3g} of at most {most:.3g} nats")
    for name, points in scores.items():
        over = text_table.counted(len(points), "episode")
        print(f"{name}: mean true score {sum(points) / len(points):.1f} over {over}")


def keep_best(run: run_folder.Run, key: Key) -> str:
    """Copy a student's SavedModel to the run's; return the student's name."""
    winner, saved = students.folder(run, *key), run.path("saved_model")
    directories.remove_leftovers(saved)
    with directories.replaced_directory(saved) as beside:
        shutil.copytree(winner / "saved_model", beside)
    return winner.name


def constant_policy(study: Study, percent: float) -> dict[str, float]:
    """Return test_kl and test_action_error of a share's best constant policy."""
    train, test = splits.by_time(study.settings, study.recording.lengths, percent)
    logits = study.recording.logits
    return baselines.constant(logits[train], logits[test], study.settings.divergence)
