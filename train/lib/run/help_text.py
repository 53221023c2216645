"""What --help prints: the script's docstring, its flags by group, its presets."""

import sys
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from absl import flags

# Names in order of importance. A flag that is in no group stands at the end, under Other.
GROUPS = {
    "What": "game system product num_assets function domain method splits cuts suite problem fit "
    "learner eval_policy compare_with "
    "gif release preset workdir seed seeds num_seeds",
    "Data": "dataset data_dir recording teacher train_percent train_boundary num_points "
    "points_per_input slope_noise "
    "num_paths num_configurations num_classes image_size augmentation color_distortion eval_split "
    "test_percent num_test_stacks",
    "Training": "steps epochs batch_size num_steps learning_rate optimizer schedule "
    "schedule_steps l2 alpha divergence num_projections learning_rates alphas search_steps "
    "search_percent folds hidden width_multiplier residual_gamma_init bn_momentum "
    "critic_learning_rate critic_width_multiplier gradient_target gradient_loss gradient_weight "
    "label_weight label_weights critic_losses critic_updates critic_steps critic_batch "
    "derivative_share direct_init "
    "num_actors num_envs max_episode_steps unroll_length discount gae_lambda value_cost "
    "entropy_cost normalize_advantages init_from",
    "Running": "num_evals eval_episodes md_steps pixel_baseline minutes save_minutes tensorboard "
    "strategy devices placement steps_per_execution jit_compile deterministic num_workers workers",
}
PLACEHOLDERS = {
    "int": "N",
    "float": "X",
    "string": "TEXT",
    "string enum": "NAME",
    "comma separated list of strings": "A,B",
}


def help_text(values: flags.FlagValues, presets: Mapping[str, Mapping[str, Any]] | None) -> str:
    """Return the text of --help. Defaults are those of the first preset."""
    presets = presets or {}
    defaults = {name: values[name].default for name in values}
    defaults |= next(iter(presets.values()), {})
    lines = [(sys.modules["__main__"].__doc__ or "").strip()]
    for group, names in grouped(values).items():
        lines += ["", f"{group}:"]
        for name in names:
            lines.append(f"  {_usage(values[name], defaults[name])}")
            lines += _wrapped(_sentences(values[name], defaults[name]), indent=6)
    for preset, chosen in presets.items():
        typed = " ".join(_typed(values[name], value) for name, value in chosen.items())
        lines += ["", f"--preset={preset} stands for:", *_wrapped(typed, indent=2)]
    return "\n".join(lines)


def grouped(names: Iterable[str]) -> dict[str, list[str]]:
    """Return {group: the flags among `names` that belong to it}, without empty groups.

    >>> grouped(["workdir", "steps", "preset", "pause"])
    {'What': ['preset', 'workdir'], 'Training': ['steps'], 'Other': ['pause']}
    """
    rest = sorted(names)
    groups = {}
    for group, order in ((group, names.split()) for group, names in GROUPS.items()):
        groups[group] = [name for name in order if name in rest]
        rest = [name for name in rest if name not in order]
    return {group: chosen for group, chosen in {**groups, "Other": rest}.items() if chosen}


def as_typed(value: Any) -> str:
    """Return a value as it is typed on the command line.

    >>> as_typed(["20", "100"]), as_typed(0.5)
    ('20,100', '0.5')
    """
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _typed(flag: flags.Flag, value: Any) -> str:
    if flag.boolean:
        return f"--{flag.name}" if value else f"--no{flag.name}"
    text = as_typed(value)
    return f"--{flag.name}={text.removesuffix('.0') if isinstance(value, float) else text}"


def _usage(flag: flags.Flag, default: Any) -> str:
    """Return the flag with its default, or with a placeholder if it has none."""
    if flag.boolean:
        return f"--[no]{flag.name}"
    if default is None or isinstance(flag, flags.MultiFlag):
        return f"--{flag.name}={PLACEHOLDERS.get(flag.flag_type(), 'TEXT')}"
    return _typed(flag, default)


def _sentences(flag: flags.Flag, default: Any) -> str:
    """Return the flag's help, its choices, and a default that `_usage` lacks, as sentences."""
    text = flag.help
    choices = getattr(flag.parser, "enum_values", None)
    if choices:
        text = text.removeprefix(f"<{'|'.join(choices)}>: ")
        if not all(f"{choice}:" in text for choice in choices):
            text += f" One of {', '.join(choices)}."
    if isinstance(flag, flags.MultiFlag):
        text = text.partition(";\n")[0] + " May be repeated."
        if default:
            text += f" Default: {as_typed(default)}."
    if flag.boolean and default:
        text += f" Default: --{flag.name}."
    return text


def _wrapped(text: str, indent: int) -> list[str]:
    margin = " " * indent
    return textwrap.wrap(
        text, 88, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False
    )
