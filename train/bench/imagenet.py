"""What Table 1's ImageNet column would take: steps measured here, rates of accelerators published.

A method's step costs as much more than backpropagation's on an accelerator as it does here: that is
the assumption. All accelerators hold copies of the whole net, and wait neither for each other nor
for images: days are lower bounds.
"""

from typing import Any

import numpy as np

from train import imagenet
from train.bench import benchmark, decoupled

SIDE, BATCH = 224, 8
METHODS = "sobolev", "critic", "noprop"
# Images a second of ResNet50 v1.5 trained in TensorFlow with XLA, at 224x224: NVIDIA,
# DeepLearningExamples, TensorFlow/Classification/ConvNets/resnet50v1.5/README.md (commit 1d4211f).
ACCELERATORS = {"V100, float32": 412, "A100, TF32": 909}


def rows(turns: int = 3, calls: int = 2) -> benchmark.Rows:
    preset: dict[str, Any] = imagenet.PRESETS["paper"]
    images = preset["steps"] * preset["batch_size"]
    chosen = [("backprop", 0)] + [(method, n) for n in (1, 3) for method in METHODS]
    batch = decoupled.batch(SIDE, BATCH, 1000)
    models = [decoupled.model(m, SIDE, n, 1000, preset["gradient_target"]) for m, n in chosen]
    times = benchmark.seconds_in_turns(
        [benchmark.step_runner(model, batch) for model in models], calls, turns
    )
    yield f"ResNet50 at {SIDE}x{SIDE}, backprop: images a second", BATCH / np.median(times[:, 0])
    for k, (method, cuts) in enumerate(chosen):
        ratio = np.median(times[:, k] / times[:, 0])
        name = method
        if cuts:
            name += ", 1 cut" if cuts == 1 else f", {cuts} cuts"
        yield f"{name}: ratio of steps", ratio
        for accelerator, rate in ACCELERATORS.items():
            for count in (1, 8, 34):
                yield (
                    f"{name}: days of {preset['steps']:,} updates on {count} x {accelerator}",
                    ratio * images / (rate * count) / 86400,
                )
