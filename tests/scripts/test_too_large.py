"""Requests that no machine can hold: refused in one line, before anything is made."""

import pytest

from train import cifar10, cluster, imagenet
from train.distill import __main__ as distill
from train.lib.run import memory
from train.lib.run.errors import UsageError
from train.record import __main__ as record
from train.regression import __main__ as regression
from train.teacher import __main__ as teacher

PONG = "--game=pong"
STUDY = (PONG, "--recording=none")


@pytest.mark.parametrize(
    ("script", "arguments", "named"),
    [
        (record, [PONG, "--num_envs=100000000"], "--num_envs=100000000"),
        (teacher, [PONG, "--num_envs=10000000"], "--num_envs=10000000 --unroll_length=16"),
        (teacher, [PONG, "--num_actors=1000000"], "--num_actors=1000000 --num_envs=16"),
        (teacher, [PONG, "--unroll_length=100000000"], "--unroll_length=100000000"),
        (teacher, [PONG, "--eval_episodes=100000000"], "--eval_episodes=100000000"),
        (distill, [*STUDY, "--batch_size=100000000"], "--batch_size=100000000"),
        (distill, [*STUDY, "--num_projections=100000000"], "--num_projections=100000000"),
        (distill, [*STUDY, "--eval_episodes=100000000"], "--eval_episodes=100000000"),
        (regression, ["--num_seeds=2000000000"], "--num_seeds=2000000000"),
        (regression, ["--num_seeds=9999", "--num_workers=99999"], "--num_workers=99999"),
        (cifar10, ["--width_multiplier=99999"], "--width_multiplier=99999"),
        (cifar10, ["--critic_width_multiplier=1e6"], "--critic_width_multiplier=1e+06"),
        (imagenet, ["--dataset=shapes", "--image_size=100000"], "of images of 100000x100000"),
        (
            imagenet,
            ["--dataset=shapes", "--image_size=8000", "--batch_size=2", "--pixel_baseline"],
            "--pixel_baseline with 15000 images of 8000x8000",
        ),
    ],
)
def test_the_flag_and_both_amounts_are_named(refused, script, arguments, named):
    err = refused(script, *arguments)
    assert named in err
    assert "GiB of memory, this machine has" in err


def test_every_replica_has_an_image(refused):
    assert "--devices=100000 is more than --batch_size=128" in refused(cifar10, "--devices=100000")


def test_a_cluster_has_no_more_workers_than_memory_for_their_processes():
    with pytest.raises(UsageError, match=r"--workers=100000 needs 1.86e\+04 GiB of memory"):
        cluster.run_on_cluster("train.cifar10", [], 100_000)


def test_a_container_has_the_memory_that_its_group_may_use(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "LIMITS", (str(tmp_path / "none"), str(limit)))
    limit.write_text("max\n")
    assert memory.bytes_of_machine() > 2**20
    limit.write_text(f"{2**20}\n")
    with pytest.raises(UsageError, match=r"^--x=1 needs 0.00195 GiB .* has 0.000977 GiB"):
        memory.refuse_more_than_there_is("--x=1", 2**21)
    memory.refuse_more_than_there_is("--x=1", 2**20)


def test_a_number_beyond_all_floats_is_refused():
    with pytest.raises(UsageError, match=r"--x=1 needs .* GiB of memory"):
        memory.refuse_more_than_there_is("--x=1", 10**400)
