"""The devices of a run: replicas, stages, or a worker of a cluster."""

import tensorflow as tf

from train.lib.run import parameter_server, strategies
from train.lib.run.settings import Settings


def prepare(settings: Settings, num_stages: int) -> Settings:
    """Make the logical devices of --devices or --placement before TensorFlow starts.

    Under --strategy=parameter_server, a process whose task in TF_CONFIG is `worker` or `ps` serves
    and never returns. Under --strategy=multi_worker, waits for the other workers.

    Returns:
      The settings, with the strategy that --placement=stages implies.
    """
    if settings.strategy == "parameter_server":
        parameter_server.serve_unless_chief()
    if settings.strategy == "multi_worker":
        strategies.strategy(settings)
    strategies.make_logical_devices(settings.devices)
    if settings.placement != "stages":
        return settings
    if len(tf.config.list_physical_devices("GPU")) < num_stages:
        strategies.make_logical_devices(num_stages)
    return settings.replace(strategy="none")
