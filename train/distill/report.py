"""The end of a run: table, true scores, summary.json, figure, and the best SavedModel."""

import math
import shutil

from sobolev_tf.keras_support import directories
from train.distill import baselines, episodes, figures, splits, students, tables
from train.distill.students import METHODS, Study
from train.lib.atari import environment
from train.lib.run import cli, files, metrics_csv, run_folder, summary, text_table


def finish(study: Study, run: run_folder.Run) -> None:
    """Write CSV files, summary.json, figure and the best SavedModel; print tables and scores."""
    settings, recording = study.settings, study.recording
    summaries = students.summaries(run)
    rows = [
        row
        for key, net in summaries.items()
        for row in students.rows(students.folder(run, *key), *key, net["test_kl"])
    ]
    with files.replacing(run.path("metrics.csv")) as file:
        file.write(metrics_csv.as_csv(rows, header=True))
    constant = {percent: constant_policy(study, percent) for percent, _ in summaries}
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
    with files.replacing(run.path("episodes.csv")) as file:
        file.write(metrics_csv.as_csv(by_episode, header=True))
    print(f"{episodes.table(measured)}\n")

    ranked = sorted(summaries, key=lambda key: summaries[key]["test_kl"])
    best = {method: percent for percent, method in reversed(ranked)}  # the lowest KL comes last
    played = [students.folder(run, best[m], m) for m in METHODS if m in best]
    scores = {"teacher, as recorded": recording.scores.tolist()}
    for folder in played if settings.eval_episodes else []:
        scores[folder.name] = students.true_scores(
            folder, settings.game, settings.eval_episodes, settings.seed
        )
    entropy = baselines.entropy(recording.logits)
    most = math.log(len(environment.ACTIONS[settings.game]))
    print(f"teacher, as recorded: mean entropy {entropy:.3g} of at most {most:.3g} nats")
    for name, points in scores.items():
        over = text_table.counted(len(points), "episode")
        print(f"{name}: mean true score {sum(points) / len(points):.1f} over {over}")

    winner = students.folder(run, *ranked[0])
    saved = run.path("saved_model")
    directories.remove_leftovers(saved)
    with directories.replaced_directory(saved) as beside:
        shutil.copytree(winner / "saved_model", beside)
    head = summary.head(
        run,
        what=f"distillation of {settings.game}'s teacher: best student, {winner.name}",
        name="test_kl",
        value=summaries[ranked[0]]["test_kl"],
        unit="nats",
        seconds=sum(net["seconds"] for net in summaries.values()),
    )
    results = {
        "game": settings.game,
        "nets": list(summaries.values()),
        "baselines": [{"train_percent": key, **value} for key, value in constant.items()],
        "teacher_entropy": entropy,
        "true_scores": scores,
        "saved_model": winner.name,
        "facts": run.config["facts"],
    }
    run.write_summary(head | results)
    for path in figures.draw(run.folder):
        print(f"Figure: {path}")
    print(f"SavedModel of {winner.name}, which has the lowest test_kl: {saved}")
    flags = f"--game={settings.game}", f"--eval_policy={saved}", f"--gif={run.path('student.gif')}"
    print(cli.next_command("see it play", "train.teacher", *flags))


def constant_policy(study: Study, percent: float) -> dict[str, float]:
    """Return test_kl and test_action_error of a share's best constant policy."""
    train, test = splits.by_time(study.settings, study.recording.lengths, percent)
    logits = study.recording.logits
    return baselines.constant(logits[train], logits[test], study.settings.divergence)
