"""Distils a recorded teacher into smaller students (section 4.2).

    python -m train.record --game=breakout --teacher=released --workdir=runs/recording
    python -m train.distill --game=breakout --data_dir=runs/recording --percent=10

trains the paper's student net on the first 10 % of the recording, by KL alone ("regular") and with
the teacher's projected input gradients as well ("sobolev"), and tests both on later episodes;
`--percent=1,5,10,25,50` does it for all of figure 4. Rate and alpha are fitted before, once for
each method, on held-out episodes of the first --fit_percent %; --rate and --alpha say them. Trials
are long on purpose: at first a student with a large alpha is behind, and later ahead.

The run folder holds metrics.csv, summary.json, figure4.png (test KL and action-prediction error:
how often the most probable actions differ), every student in nets/, and the best one's
saved_model, which `python -m train.teacher --evaluate` plays. The table that is printed has the
best policy that never looks, "constant", beside the students. Stopped at any moment, the same
command goes on (a trial starts over); --percent and --method may then name more. A Sobolev step
takes four times as long as a regular one (`python -m train.bench --suite=distill`).
"""

import math
import shutil

from absl import flags

import sobolev_tf as st
from sobolev_tf.keras_support import directories
from train.distill import figures, floor, nets, splits
from train.lib.atari import environment, policies, recordings
from train.lib.run import cli, files, metrics_csv, progress, run_folder, seeding, text_table

FLAGS = cli.common_flags(without=["epochs", "strategy", "devices", "tensorboard"])
OWN = {"flag_values": FLAGS}
FLAGS.set_default("steps", 2000)
flags.DEFINE_enum("game", None, list(environment.ACTIONS), "The game.", required=True, **OWN)
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
flags.DEFINE_enum(
    "schedule",
    *("constant", ["constant", "cosine"]),
    "cosine: the rate falls to zero within a training's steps.",
    **OWN,
)
flags.DEFINE_list("rates", ["3e-4", "1e-3", "3e-3"], "Rates to choose from.", **OWN)
flags.DEFINE_list("alphas", ["0.01", "0.03", "0.1"], "Alphas to choose from.", **OWN)
flags.DEFINE_integer("search_steps", 1000, "Steps of a fit's trial.", 1, **OWN)
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


def main(settings):
    percents = numbers(settings, "percent", 0, 100)
    methods = chosen_methods(settings)
    grids = grids_of(settings, methods)
    seeding.seed_everything(settings)
    folder = cli.workdir(settings, leave_out=ADDABLE)
    with run_folder.Run(folder, settings.stored(), "distill", CHANGEABLE) as run:
        study = load(settings, methods)
        parts = {percent: parts_of(settings, study.recording, percent) for percent in percents}
        plan = grids, fitted_on(settings, study.recording, grids)
        run.add_facts(recording=study.recording.facts(), game_versions=environment.versions())
        for name in ("nets", "search"):
            run.path(name).mkdir(exist_ok=True)
        train_all(settings, run, study, methods, parts, plan)
        finish(settings, run, study, finished(run))


def numbers(settings, name, low, high):
    """A flag's numbers, between `low` and `high` (both excluded), in their order."""
    given = settings.values[name]
    given = given if isinstance(given, tuple) else [given]
    try:
        found = sorted({float(each) for each in given})
    except ValueError:
        found = []
    if not found or not all(low < each < high for each in found):
        text = ",".join(map(str, given))
        raise cli.UsageError(f"--{name}={text}: expected numbers above {low} and below {high}")
    return found


def chosen_methods(settings):
    if not settings.method or set(settings.method) - set(nets.METHODS):
        text = ",".join(settings.method)
        raise cli.UsageError(f"--method={text}: expected some of {', '.join(nets.METHODS)}")
    return [method for method in nets.METHODS if method in settings.method]


def load(settings, methods):
    """The recording in memory and, where it is needed, its teacher."""
    data, beside = recordings.find(settings.data_dir)
    kept = [p for p in (beside / "teacher.keras", beside / "teacher") if p.exists()]
    if "sobolev" in methods and not settings.teacher and not kept:
        raise cli.UsageError(f"{beside} holds no teacher: give one, --teacher=PATH")
    path = settings.teacher or (kept or [None])[0]
    if path:
        policies.existing(path, settings.game)  # before the reading, which may take minutes
    recording = recordings.read(data, settings.game)
    teacher = nets.differentiable(path, settings.game, recording) if "sobolev" in methods else None
    return nets.Study(
        *(settings.game, recording, teacher, settings.batch_size, settings.divergence),
        *(settings.projections, settings.schedule, settings.seed, settings.jit_compile),
    )


def parts_of(settings, recording, percent):
    """(training steps, test steps) of a share."""
    train, test = splits.split(recording.lengths, percent, settings.split, settings.test_percent)
    return train, splits.spread(test, settings.test_frames)


def grids_of(settings, methods):
    """{method: (rates, alphas)} to choose from, in their order."""
    rates = numbers(settings, "rates" if settings.rate is None else "rate", 0, 10)
    alphas = numbers(settings, "alphas" if settings.alpha is None else "alpha", 0, 1e9)
    return {method: (rates, alphas if method == "sobolev" else [0.0]) for method in methods}


def fitted_on(settings, recording, grids):
    """(training steps, test steps) of the search, or None without one."""
    if all(trials(grid) == 0 for grid in grids.values()):
        return None
    share = splits.training(recording.lengths, settings.fit_percent, settings.split, "fit_percent")
    train, test = splits.held_out(recording.lengths, len(share))
    return train, splits.spread(test, settings.test_frames)


def trials(grid):
    """How many trainings a search takes: the rates at the middle alpha, then the other alphas."""
    rates, alphas = grid
    return len(rates) + len(alphas) - 1 if len(rates) * len(alphas) > 1 else 0


def train_all(settings, run, study, methods, parts, plan):
    """Fits and trains what is not done yet."""
    grids, fitted_on = plan
    keys = [(percent, method) for percent in parts for method in methods]
    folders = {key: net_folder(run, *key) for key in keys}
    missing = [key for key in folders if not (folders[key] / "summary.json").exists()]
    searched = {method: trials(grids[method]) for _, method in missing}
    bar = progress.Bar(
        sum(nets.METHODS[method] * settings.steps for _, method in missing)
        + sum(nets.METHODS[m] * settings.search_steps * n for m, n in searched.items())
        or 1
    )
    best = {
        method: fit(settings, run, study, method, grids[method], fitted_on, bar)
        for method in searched
    }
    for number, (percent, method) in enumerate(missing, 1):
        name = f"{percent:g} %, {method}"
        which = f"net {number} of {len(missing)}, {name}"
        print(f"\n{which}: rate {best[method][0]:g}, alpha {best[method][1]:g}", flush=True)
        folder = folders[percent, method]
        pieces = {name: settings.values[name] for name in ("evaluations", "save_minutes")}
        nets.distil(
            folder, study, method, percent, *best[method], settings.steps, *parts[percent], pieces
        )
        bar.add(nets.METHODS[method] * settings.steps, f"trained {name}")


def finished(run):
    """{(percent, method): summary} of every net in the run folder that is done."""
    needs = ("percent", "method", "rate", "alpha", "test_kl", "test_action_error")
    found = [run_folder.read_json(p, *needs) for p in run.path("nets").glob("*/summary.json")]
    found.sort(key=lambda each: (each["percent"], list(nets.METHODS).index(each["method"])))
    return {(each["percent"], each["method"]): each for each in found}


def net_folder(run, percent, method):
    return run.path("nets") / f"{percent:.15g}-{method}"


def fit(settings, run, study, method, grid, fitted_on, bar):
    """(rate, alpha) of the lowest held-out KL: the rate at the middle alpha, then the alpha."""
    rates, alphas = grid
    if not trials(grid):
        return rates[0], alphas[0]

    def held_out_kl(rate, alpha):
        path = run.path("search") / f"{method}-rate={rate:.15g}-alpha={alpha:.15g}.json"
        new, amount = not path.exists(), nets.METHODS[method] * settings.search_steps
        if new:
            print(f"\ntrial: {method}, rate {rate:g}, alpha {alpha:g}", flush=True)
        found = nets.try_out(path, study, method, rate, alpha, *fitted_on, settings.search_steps)
        if new:
            bar.add(amount, f"{method}, rate {rate:g}, alpha {alpha:g}: held-out KL {found:.4g}")
        return found

    alpha = alphas[len(alphas) // 2]
    rate = min(rates, key=lambda rate: held_out_kl(rate, alpha))
    alpha = min(alphas, key=lambda alpha: held_out_kl(rate, alpha))
    if math.isinf(held_out_kl(rate, alpha)):
        raise cli.CommandError(
            f"{method}: every trial diverged, down to the rate {rates[0]:g}: give lower --rates, "
            "in another --workdir"
        )
    for name, best, grid in (("rate", rate, rates), ("alpha", alpha, alphas)):
        if len(grid) > 1 and best in (min(grid), max(grid)):
            print(f"\n{method}: {name} {best:g} is at the edge of --{name}s", flush=True)
    return rate, alpha


def finish(settings, run, study, summaries):
    """metrics.csv, table, the best student of each method at play, its SavedModel, the figure."""
    rows = [row for key in summaries for row in nets.rows(net_folder(run, *key), *key)]
    with files.replacing(run.path("metrics.csv")) as file:
        file.write(metrics_csv.as_csv(rows, header=True))
    floors = floors_of(settings, study.recording, summaries)
    print(f"\n{table(summaries, floors, figures.later_half(rows))}\n")
    ranked = sorted(summaries, key=lambda key: summaries[key]["test_kl"])
    best = {method: percent for percent, method in reversed(ranked)}  # the lowest KL comes last
    folders = [net_folder(run, best[m], m) for m in nets.METHODS if m in best and settings.episodes]
    scores = {"teacher, as recorded": study.recording.scores.tolist()} | {
        folder.name: nets.true_scores(folder, settings.game, settings.episodes, settings.seed)
        for folder in folders
    }
    entropy, most = floor.entropy(study.recording.logits), len(environment.ACTIONS[settings.game])
    print(f"teacher, as recorded: mean entropy {entropy:.3g} of at most {math.log(most):.3g} nats")
    for name, each in scores.items():
        print(f"{name}: mean true score {sum(each) / len(each):.1f} over {len(each)} episodes")
    winner = net_folder(run, *ranked[0])
    directories.remove_leftovers(run.path("saved_model"))
    with directories.replaced_directory(run.path("saved_model")) as beside:
        shutil.copytree(winner / "saved_model", beside)
    facts = {name: run.config[name] for name in ("commit", "versions", "facts")}
    found = {"nets": list(summaries.values()), "floors": list(floors.values())}
    found |= {"teacher_entropy": entropy, "true_scores": scores, "saved_model": winner.name}
    run.write_summary({"game": settings.game, **found, **facts})
    for path in figures.draw(run.folder):
        print(f"Figure: {path}")
    saved = run.path("saved_model")
    print(f"SavedModel of {winner.name}, of the lowest test KL: {saved}; see it play:")
    gif = run.path("student.gif")
    play = f"-m train.teacher --game={settings.game} --evaluate={saved} --gif={gif}"
    print(f"{cli.python()} {play}")


def floors_of(settings, recording, summaries):
    """{percent: the best constant policy of that share and its test} for every share."""
    floors = {}
    for percent in dict.fromkeys(percent for percent, _ in summaries):
        logits = [recording.logits[steps] for steps in parts_of(settings, recording, percent)]
        floors[percent] = {"percent": percent, **floor.constant(*logits, settings.divergence)}
    return floors


def table(summaries, floors, means):
    """What every net was trained with and what its tests say, as text; below, what a policy
    that never looks reaches."""
    told = [
        (f"{percent:g} %, {method}", f"{s['rate']:g}", f"{s['alpha']:g}", s, means[percent, method])
        for (percent, method), s in summaries.items()
    ]
    told += [(f"{percent:g} %, constant", "", "", s, None) for percent, s in floors.items()]
    cells = [
        [*start, f"{s['test_kl']:.3g}", text_table.percent(s["test_action_error"]), *_later(mean)]
        for *start, s, mean in told
    ]
    later = ["KL, later half of the tests", "error"]
    return text_table.table(["training", "rate", "alpha", "test KL", "action error", *later], cells)


def _later(means):
    if means is None:
        return ["", ""]
    kl, low, high = means["test_kl"]
    error = text_table.percent(means["test_action_error"][0])
    return [f"{kl:.3g} ({low:.3g} to {high:.3g})", error]


if __name__ == "__main__":
    cli.run(main, FLAGS)
