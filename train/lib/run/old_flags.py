"""Old names and values of flags, with the new ones; and what runs did before a flag existed.

Old run folders stay readable and resumable: `run_folder` reads config.json through
`rename`. The command line refuses an old name in one line that has the new one.
"""

from collections.abc import Mapping
from typing import Any

EVERY_SCRIPT = {"jit": "jit_compile"}
IMAGES = {
    "rate": "learning_rate",
    "critic_rate": "critic_learning_rate",
    "together": "steps_per_execution",
    "evaluations": "num_evals",
    "updates": "schedule_steps",
    "classes": "num_classes",
}
# {script: {old name: new name}}
NAMES: dict[str, dict[str, str]] = {
    "imagenet": {
        **IMAGES,
        "colour": "color_distortion",
        "branch_scale": "residual_gamma_init",
        "average": "bn_momentum",
        "selection": "eval_split",
    },
    "cifar10": {
        **IMAGES,
        "width": "width_multiplier",
        "module_width": "critic_width_multiplier",
        "direct_start": "direct_init",
    },
    "teacher": {
        "rate": "learning_rate",
        "evaluations": "num_evals",
        "trace": "gae_lambda",
        "entropy": "entropy_cost",
        "standardize": "normalize_advantages",
        "envs": "num_envs",
        "actors": "num_actors",
        "rollout": "unroll_length",
        "initial": "init_from",
        "evaluate": "eval_policy",
        "episodes": "eval_episodes",
    },
    "record": {"frames": "num_steps", "envs": "num_envs"},
    "distill": {
        "data_dir": "recording",
        "rate": "learning_rate",
        "rates": "learning_rates",
        "evaluations": "num_evals",
        "percent": "train_percent",
        "fit_percent": "search_percent",
        "test_frames": "num_test_stacks",
        "split": "train_boundary",
        "projections": "num_projections",
        "episodes": "eval_episodes",
    },
    "distill net": {"percent": "train_percent", "rate": "learning_rate"},
    "regression": {"sizes": "num_points", "seeds": "num_seeds", "jobs": "num_workers"},
}
IMAGES_VALUES: dict[str, dict[Any, Any]] = {
    "splits": {"0": 0, "1": 1, "3": 3},
    "schedule": {"steps": "piecewise"},
}
# {script: {new name: {old value: new value}}}; in a list, of each element.
VALUES: dict[str, dict[str, dict[Any, Any]]] = {
    "imagenet": {
        **IMAGES_VALUES,
        "eval_split": {False: "validation", True: "selection"},
    },
    "cifar10": IMAGES_VALUES,
    "distill": {
        "method": {"regular": "values"},
        "train_boundary": {"cut": "step", "whole": "episode"},
    },
    "distill net": {"method": {"regular": "values"}},
}
IMAGES_DEFAULTS = {
    "devices": None,
    "num_classes": None,
    "gradient_loss": "l1",
    "gradient_weight": 1.0,
    "critic_steps": 1,
    "critic_batch": None,
    "derivative_share": 1.0,
}
# Flags that came when there were runs already, and what those did without them.
FLAG_DEFAULTS_OF_OLD_RUNS: dict[str, dict[str, Any]] = {
    "imagenet": {**IMAGES_DEFAULTS, "augmentation": "auto"},
    "cifar10": {**IMAGES_DEFAULTS, "direct_init": "zeros"},
    "teacher": {
        "preset": "small",
        "init_from": None,
        "normalize_advantages": False,
        "discount": 0.99,
        "value_cost": 0.5,
    },
    "record": {"preset": "small"},
    "distill": {"preset": "small", "derivative_share": 1.0},
    "regression": {
        "suite": "functions",
        "points_per_input": ["10", "30"],
        "slope_noise": ["0.05", "0.1", "0.2"],
        "problem": [
            "water_flow",
            "wing_weight",
            "robot_arm",
            "cantilever_beam",
            "tensor_product",
            "rosenbrock",
        ],
        "fit": ["surrogate", "surrogate_values", "least_squares", "lbfgs"],
    },
}


def new_name(script: str | None, name: str) -> str | None:
    """Return what the flag `name` of a script is called now, or None for a name that is not old.

    >>> new_name("cifar10", "rate"), new_name("cifar10", "seed")
    ('learning_rate', None)
    """
    return {**EVERY_SCRIPT, **NAMES.get(script or "", {})}.get(name)


def new_value(script: str | None, name: str, value: str) -> str | None:
    """Return what a value of the flag `name` is called now, or None for one that is not old.

    >>> new_value("cifar10", "schedule", "steps"), new_value("cifar10", "schedule", "cosine")
    ('piecewise', None)
    """
    return VALUES.get(script or "", {}).get(name, {}).get(value)


def rename(script: str | None, flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's flags with their names and values of today.

    >>> rename("imagenet", {"selection": True, "seed": 1})
    {'eval_split': 'selection', 'seed': 1}
    """
    values = VALUES.get(script or "", {})
    return {
        new: _new_value(value, values.get(new, {}))
        for new, value in ((new_name(script, name) or name, flags[name]) for name in flags)
    }


def _new_value(value: Any, changed: Mapping[Any, Any]) -> Any:
    if isinstance(value, list | tuple):
        return [_new_value(element, changed) for element in value]
    return changed.get(value, value) if changed else value


def complete(script: str | None, flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return `rename`, with the flags that the run did not have yet."""
    return FLAG_DEFAULTS_OF_OLD_RUNS.get(script or "", {}) | rename(script, flags)
