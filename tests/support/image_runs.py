"""Finished runs of train.cifar10 and train.imagenet, as small as `train.plot` needs them."""

import json


def write(folder, script="cifar10", top1=0.5, younger=None, **facts):
    """Write the config and the summary of a run of `script`.

    Args:
      folder: folder of the run.
      script: its script.
      top1: its accuracy.
      younger: flags that older runs do not have.
      facts: other flags, steps, top5, cuts, and the name and the notice of its data set.
    """
    flags = {"seed": 0, "splits": "3", "method": "sobolev", "rate": 0.1} | (younger or {})
    flags |= {name: facts[name] for name in flags if name in facts}
    folder.mkdir(parents=True)
    config = {"format": 1, "script": script, "flags": flags}
    (folder / "config.json").write_text(json.dumps(config))
    summary = {"method": flags["method"], "splits": int(flags["splits"]), "top1": top1}
    summary |= {"top5": facts.get("top5", 0.9), "steps": facts.get("steps", 10)}
    summary["cuts"] = facts.get("cuts", [f"conv{k}" for k in range(summary["splits"])])
    summary |= {"dataset": {"name": facts.get("dataset", script)}}
    summary["dataset"]["notice"] = facts.get("notice", "")
    (folder / "summary.json").write_text(json.dumps(summary))
