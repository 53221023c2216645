"""The flags that scripts which train in parts share."""

from absl import flags

import sobolev_tf as st
from train.lib.run import cli

GRADIENT_LOSSES = {
    "l1": st.losses.L1Norm,
    "norm": st.losses.Norm,
    "squared": st.losses.SquaredNorm,
    "relative": st.losses.RelativeNorm,
}


def define(presets, cuts, dataset_help):
    """New flags, without those that are a script's own."""
    own = cli.common_flags(presets)
    where = {"flag_values": own}
    flags.DEFINE_enum("splits", "3", [str(n) for n in cuts], "Number of cuts.", **where)
    flags.DEFINE_list(
        "cuts",
        None,
        f"Layers to cut after, instead of --splits: --cuts={','.join(cuts[1])}.",
        **where,
    )
    flags.DEFINE_enum(
        "method", "sobolev", st.synthetic.METHODS, "What the parts below a cut learn from.", **where
    )
    flags.DEFINE_enum(
        "gradient_target",
        None,
        ["bootstrapped", "true"],
        "A critic's gradient target: what arrives from the next part, or full backpropagation.",
        **where,
    )
    flags.DEFINE_string("dataset", None, dataset_help, **where)
    flags.DEFINE_integer(
        "classes",
        None,
        "Only the first so many classes; all records are read, and once more to count theirs.",
        2,
        **where,
    )
    flags.DEFINE_string(
        "data_dir", None, "Where TFDS keeps its data; default TFDS_DATA_DIR.", **where
    )
    flags.DEFINE_integer("batch_size", None, "Images in a step, over all replicas.", 1, **where)
    flags.DEFINE_integer(
        "updates",
        None,
        "Steps that the learning rate's schedule spans; --steps, if given too, ends it early.",
        1,
        **where,
    )
    flags.DEFINE_integer(
        "evaluations", None, "How often to evaluate, but for --epochs.", 1, **where
    )
    flags.DEFINE_enum(
        "optimizer",
        None,
        ["adam", "sgd"],
        "The network's: Adam, or SGD with momentum 0.9.",
        **where,
    )
    flags.DEFINE_float("rate", None, "Learning rate of the network.", 0.0, **where)
    flags.DEFINE_enum(
        "schedule",
        None,
        ["cosine", "steps"],
        "cosine: a warm-up, then down to zero; steps: a tenth at each of the paper's drops, "
        "in shares of the whole run.",
        **where,
    )
    flags.DEFINE_float("critic_rate", None, "Learning rate of the critics (Adam).", 0.0, **where)
    flags.DEFINE_enum(
        "gradient_loss",
        "l1",
        list(GRADIENT_LOSSES),
        "What critics lower between their gradient and its target; the paper: l1, a sum.",
        **where,
    )
    flags.DEFINE_float(
        "gradient_weight",
        1.0,
        "Weight of --gradient_loss, of the methods that have it: sobolev, vfbn and direct.",
        0.0,
        **where,
    )
    flags.DEFINE_float(
        "label_weight",
        0.0,
        "Weight of the critics' supervision by dL/dy (SM 4.1): all classes, not the true one.",
        0.0,
        **where,
    )
    flags.DEFINE_enum(
        "critic_updates",
        "sequential_async",
        st.synthetic.CRITIC_UPDATES,
        "Of several replicas: averaged, or each replica's own, one after another.",
        **where,
    )
    flags.DEFINE_enum(
        "placement",
        "none",
        ["none", "stages"],
        "stages: every part on a device of its own; on logical ones of the CPU, if need be.",
        **where,
    )
    flags.DEFINE_integer(
        "together",
        1,
        "Steps in one execution: with --placement=stages they overlap, and critics learn late.",
        1,
        **where,
    )
    flags.DEFINE_float("l2", None, "Weight of the squared norm of all kernels.", 0.0, **where)
    flags.DEFINE_float("save_minutes", 5, "Time between two checkpoints, at most.", 0.0, **where)
    flags.DEFINE_boolean(
        "pixel_baseline", False, "Hold logistic regression on the pixels against it.", **where
    )
    flags.DEFINE_list(
        "seeds", None, "Repeat with these seeds, and report mean and deviation: 0,1,2.", **where
    )
    return own
