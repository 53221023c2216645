"""The tf.distribute strategy of --strategy and --devices."""

import tensorflow as tf

from train.lib.run import parameter_server, workers
from train.lib.run.errors import UsageError
from train.lib.run.settings import Settings


def strategy(settings: Settings) -> tf.distribute.Strategy:
    """Return the strategy of --strategy.

    `auto` and `mirrored` give a MirroredStrategy over the GPUs or, if there are none, the
    CPU; with --devices=N, over N logical CPUs, which `make_logical_devices` has made.

    Raises:
      UsageError: for --devices with another strategy, for devices that do not exist, or for
        --jit_compile with workers that have only CPUs.
    """
    if settings.devices and settings.strategy in ("none", "parameter_server", "multi_worker"):
        raise UsageError(
            f"--devices={settings.devices} is for --strategy=mirrored, not {settings.strategy}"
        )
    if settings.strategy == "none":
        return tf.distribute.get_strategy()
    if settings.strategy == "parameter_server":
        return parameter_server.strategy()
    if settings.strategy == "multi_worker":
        if settings.jit_compile and not tf.config.list_physical_devices("GPU"):
            raise UsageError(
                "--jit_compile: XLA exchanges nothing between workers' CPUs: leave it out"
            )
        return workers.join()
    devices = tf.config.list_logical_devices("CPU")[: settings.devices]
    if len(devices) < (settings.devices or 1):
        raise UsageError(f"--devices={settings.devices}: there are only {len(devices)} devices")
    if not settings.devices:
        devices = tf.config.list_logical_devices("GPU") or devices
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def make_logical_devices(count: int | None) -> None:
    """Divide the CPU into `count` logical devices; None leaves it as it is.

    Call it before TensorFlow has run anything: later the devices are fixed. Where they were
    divided before, they stay so.
    """
    cpu = tf.config.list_physical_devices("CPU")[0]
    if count and not tf.config.get_logical_device_configuration(cpu):
        parts = [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
        tf.config.set_logical_device_configuration(cpu, parts)
