"""Distils a recorded teacher into smaller students (section 4.2).

    python -m train.record --game=breakout --teacher=released --workdir=runs/recording
    python -m train.distill --game=breakout --data_dir=runs/recording --percent=10

trains the paper's student net on the first 10 % of the recording, by KL alone ("regular") and with
the teacher's projected input gradients as well ("sobolev"), and tests both on later episodes;
`--percent=1,5,10,25,50` does it for all of figure 4. Rate and alpha are fitted before, once for
each method, on held-out episodes of the first --fit_percent %; --rate and --alpha say them.

The run folder holds metrics.csv, summary.json, figure4.png (test KL and action-prediction error:
how often the most probable actions differ), every student in nets/, and the best one's
saved_model, which `python -m train.teacher --evaluate` plays. Stopped at any moment, the same
command goes on; --percent and --method may then name more. A regular step takes about 0.1 s on two
cores, a Sobolev step five times as long.
"""

import functools
import json
import shutil

from absl import flags

import sobolev_tf as st
from sobolev_tf import export
from train.distill import figures, nets, splits
from train.lib import atari, cli, files, history, recordings, report, runs, workers

FLAGS = cli.common_flags(without=["epochs", "strategy"])
OWN = {"flag_values": FLAGS}
FLAGS.set_default("steps", 2000)
flags.DEFINE_enum("game", None, list(atari.ACTIONS), "The game.", required=True, **OWN)
flags.DEFINE_string("data_dir", None, "Run folder of train.record.", required=True, **OWN)
flags.DEFINE_string("teacher", None, "The policy; default: the one beside the data.", **OWN)
flags.DEFINE_list("percent", ["1", "5", "10", "25", "50"], "Training shares of all steps.", **OWN)
flags.DEFINE_list("method", list(nets.METHODS), "regular, sobolev or both.", **OWN)
flags.DEFINE_enum(
    "divergence", *("student_teacher", st.distillation.DIVERGENCES), "Which KL is lowered.", **OWN
)
flags.DEFINE_integer("projections", 1, "Random directions for each stack, P.", 1, **OWN)
flags.DEFINE_integer("batch_size", 200, "Stacks in a step.", 1, **OWN)
flags.DEFINE_float("rate", None, "Adam's rate, for all methods; default: fitted.", 0.0, **OWN)
flags.DEFINE_float("alpha", None, "Weight of the gradients; default: fitted.", 0.0, **OWN)
flags.DEFINE_list("rates", ["1e-4", "3e-4", "1e-3"], "Rates to choose from.", **OWN)
flags.DEFINE_list("alphas", ["0.01", "0.1", "1"], "Alphas to choose from.", **OWN)
flags.DEFINE_integer("search_steps", 300, "Steps of a fit's trial.", 1, **OWN)
flags.DEFINE_float("fit_percent", 10, "The share that rate and alpha are fitted on.", 0, 100, **OWN)
flags.DEFINE_enum(
    "split",
    *("cut", ["cut", "whole"]),
    "Training: the first steps exactly, or whole episodes alone. The cut episode never tests.",
    **OWN,
)
flags.DEFINE_float(
    "test_percent", None, "Test on the last so many % alone, the same for all.", 0, 100, **OWN
)
flags.DEFINE_integer("test_frames", 10_000, "Test stacks, evenly spaced; 0: all.", 0, **OWN)
flags.DEFINE_integer("evaluations", 20, "How often to test a net.", 1, **OWN)
flags.DEFINE_integer("episodes", 10, "Episodes the best students play; 0: none.", 0, **OWN)
flags.DEFINE_float("save_minutes", 5, "Time between two checkpoints, at most.", 0.0, **OWN)

ADDABLE = ["episodes", "method", "percent", "save_minutes"]  # the run folder is the same
CHANGEABLE = [*ADDABLE, "data_dir"]


def main():
    percents = sorted(set(numbers("percent", 0, 100)))
    methods = chosen_methods()
    cli.seed_everything(FLAGS)
    folder = cli.workdir(FLAGS, leave_out=ADDABLE)
    with runs.Run(folder, cli.config(FLAGS), "distill", CHANGEABLE) as run:
        study = load(methods)
        parts = {percent: parts_of(study.recording, percent) for percent in percents}
        plan = search_plan(study.recording, methods)
        run.add_facts(recording=study.recording.facts(), game_versions=atari.versions())
        for name in ("nets", "search"):
            run.path(name).mkdir(exist_ok=True)
        summaries = train_all(run, study, methods, parts, plan)
        finish(run, study, summaries)


def numbers(name, low, high):
    """The list of a flag as numbers between `low` and `high`, both excluded."""
    try:
        found = [float(each) for each in FLAGS[name].value]
    except ValueError:
        found = []
    if not found or not all(low < each < high for each in found):
        text = ",".join(map(str, FLAGS[name].value))
        raise cli.UsageError(f"--{name}={text}: expected numbers above {low} and below {high}")
    return found


def chosen_methods():
    if not FLAGS.method or set(FLAGS.method) - set(nets.METHODS):
        text = ",".join(FLAGS.method)
        raise cli.UsageError(f"--method={text}: expected some of {', '.join(nets.METHODS)}")
    return [method for method in nets.METHODS if method in FLAGS.method]


def load(methods):
    """The recording in memory and, where it is needed, its teacher."""
    data, beside = recordings.find(FLAGS.data_dir)
    recording = recordings.read(data, FLAGS.game)
    teacher = None
    if "sobolev" in methods:
        kept = [p for p in (beside / "teacher.keras", beside / "teacher") if p.exists()]
        if not FLAGS.teacher and not kept:
            raise cli.UsageError(f"{beside} holds no teacher: give one, --teacher=PATH")
        teacher = nets.differentiable(FLAGS.teacher or kept[0], FLAGS.game, recording)
    return nets.Study(
        *(FLAGS.game, recording, teacher, FLAGS.batch_size, FLAGS.divergence),
        *(FLAGS.projections, FLAGS.seed, FLAGS.jit),
    )


def parts_of(recording, percent):
    """(training steps, test steps) of a share."""
    train, test = splits.split(recording.lengths, percent, FLAGS.split, FLAGS.test_percent)
    return train, splits.spread(test, FLAGS.test_frames)


def search_plan(recording, methods):
    """{method: (rates, alphas)} to choose from, and the steps to fit on, None without a search."""
    rates = [FLAGS.rate] if FLAGS.rate is not None else numbers("rates", 0, 10)
    alphas = [FLAGS.alpha] if FLAGS.alpha is not None else numbers("alphas", 0, 1e9)
    grids = {method: (rates, alphas if method == "sobolev" else [0.0]) for method in methods}
    if all(trials(grid) == 0 for grid in grids.values()):
        return grids, None
    share, _ = splits.split(recording.lengths, FLAGS.fit_percent, FLAGS.split)
    train, test = splits.held_out(recording.lengths, len(share))
    return grids, (train, splits.spread(test, FLAGS.test_frames))


def trials(grid):
    """How many trainings a search takes: the rates at the middle alpha, then the other alphas."""
    rates, alphas = grid
    return len(rates) + len(alphas) - 1 if len(rates) * len(alphas) > 1 else 0


def train_all(run, study, methods, parts, plan):
    """Fits and trains what is not done yet; returns the summary of every net."""
    grids, fitted_on = plan
    keys = [(percent, method) for percent in parts for method in methods]
    folders = {key: net_folder(run, *key) for key in keys}
    missing = [key for key in folders if not (folders[key] / "summary.json").exists()]
    searched = {method: trials(grids[method]) for _, method in missing}
    bar = workers.Bar(
        sum(nets.METHODS[method] * FLAGS.steps for _, method in missing)
        + sum(nets.METHODS[m] * FLAGS.search_steps * n for m, n in searched.items())
        or 1
    )
    settings = {name: FLAGS[name].value for name in ("evaluations", "save_minutes")}
    best = {method: fit(run, study, method, grids[method], fitted_on, bar) for method in searched}
    for percent, method in missing:
        name = f"{percent:g} %, {method}"
        print(f"{name}: rate {best[method][0]:g}, alpha {best[method][1]:g}", flush=True)
        folder = folders[percent, method]
        nets.distil(
            folder, study, method, percent, *best[method], FLAGS.steps, *parts[percent], settings
        )
        bar.add(nets.METHODS[method] * FLAGS.steps, f"trained {name}")
    rows = [row for key, folder in folders.items() for row in nets.rows(folder, *key)]
    with files.replacing(run.path("metrics.csv")) as file:
        file.write(history.as_csv(rows, header=True))
    return {key: json.loads((f / "summary.json").read_text()) for key, f in folders.items()}


def net_folder(run, percent, method):
    return run.path("nets") / f"{percent:g}-{method}"


def fit(run, study, method, grid, fitted_on, bar):
    """(rate, alpha) of the lowest held-out KL: the rate at the middle alpha, then the alpha."""
    rates, alphas = grid
    if not trials(grid):
        return rates[0], alphas[0]
    path = functools.partial(run.path("search").joinpath)

    def held_out_kl(rate, alpha):
        name = f"{method}-rate={rate:g}-alpha={alpha:g}.json"
        new = not path(name).exists()
        found = nets.try_out(path(name), study, method, rate, alpha, *fitted_on, FLAGS.search_steps)
        if new:
            text = f"{method}, rate {rate:g}, alpha {alpha:g}: held-out KL {found:.4g}"
            bar.add(nets.METHODS[method] * FLAGS.search_steps, text)
        return found

    alpha = alphas[len(alphas) // 2]
    rate = min(rates, key=lambda rate: held_out_kl(rate, alpha))
    alpha = min(alphas, key=lambda alpha: held_out_kl(rate, alpha))
    return rate, alpha


def finish(run, study, summaries):
    """Table, figure, the best student of each method at play, and its SavedModel."""
    header = ["", "rate", "alpha", "test KL", "action error"]
    cells = [
        [f"{percent:g} %, {method}", f"{s['rate']:g}", f"{s['alpha']:g}", f"{s['test_kl']:.4f}"]
        + [report.percent(s["test_action_error"])]
        for (percent, method), s in summaries.items()
    ]
    print(f"\n{report.table(header, cells)}\n")
    winner = min(summaries, key=lambda key: summaries[key]["test_kl"])
    best, scores = {}, {"teacher, as recorded": study.recording.scores.tolist()}
    for key in sorted(summaries, key=lambda key: summaries[key]["test_kl"]):
        best.setdefault(key[1], net_folder(run, *key))
    with export.replaced_directory(run.path("saved_model")) as beside:
        shutil.copytree(net_folder(run, *winner) / "saved_model", beside)
    for folder in best.values() if FLAGS.episodes else ():
        scores[folder.name] = nets.true_scores(folder, FLAGS.game, FLAGS.episodes, FLAGS.seed)
    for name, each in scores.items():
        print(f"{name}: mean true score {sum(each) / len(each):.1f} over {len(each)} episodes")
    facts = {name: run.config[name] for name in ("commit", "versions", "facts")}
    run.write_summary(
        {"game": FLAGS.game, "nets": list(summaries.values()), "true_scores": scores}
        | {"saved_model": net_folder(run, *winner).name}
        | facts
    )
    for path in figures.draw(run.folder):
        print(f"Figure: {path}")
    print(f"SavedModel of {winner[0]:g} %, {winner[1]}: {run.path('saved_model')}")


if __name__ == "__main__":
    cli.run(main, FLAGS)
