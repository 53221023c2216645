"""Turn what a run has written into what it would have been under the flags' old names."""

import json

from train.lib.run import old_flags


def with_old_names(script, flags):
    """The flags of a run of `script`, or others of its facts, under their old names and values."""
    names = {new: old for old, new in (old_flags.NAMES[script] | old_flags.EVERY_SCRIPT).items()}
    return {
        names.get(name, name): _old(value, old_flags.VALUES.get(script, {}).get(name, {}))
        for name, value in flags.items()
    }


def _old(value, changed):
    if isinstance(value, list):
        return [_old(each, changed) for each in value]
    return next((old for old, new in changed.items() if new == value), value)


def rewrite_config(folder):
    """Give a run's config.json the old names."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["flags"] = with_old_names(config["script"], config["flags"])
    path.write_text(json.dumps(config))
