"""Files that state what they are."""

import numpy as np
import pytest

from train.lib.run import files, identity

ARRAYS = {"scores": np.arange(3.0)}


def test_a_file_of_something_else_is_noticed(tmp_path):
    path = tmp_path / "a.npz"
    identity.write_npz(path, ARRAYS, {"function": "beale", "seed": 0, "hidden": (4, 4)})
    read = identity.read_npz(path, {"function": "beale", "seed": 0, "hidden": (4, 4)})
    np.testing.assert_array_equal(read["scores"], ARRAYS["scores"])
    assert list(read) == ["scores"]
    identity.read_npz(path, {"function": "beale", "preset": "paper"})  # of which it states nothing
    with pytest.raises(ValueError, match=r"of function beale, seed 0, expected .* ackley, seed 1"):
        identity.read_npz(path, {"function": "ackley", "seed": 1})


def test_a_file_that_states_nothing_is_read(tmp_path):
    np.savez(tmp_path / "a.npz", **ARRAYS)
    assert list(identity.read_npz(tmp_path / "a.npz", {"seed": 0})) == ["scores"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "expected a dict"),
        ("7", "expected a dict"),
        ("{", "Expecting"),
        ("", r"is empty|Expecting"),
    ],
)
def test_a_damaged_statement_is_no_statement(tmp_path, content, message):
    with open(tmp_path / "a.npz", "wb") as file:
        files.write_npz(file, ARRAYS, {identity.PART: content})
    with pytest.raises(ValueError, match=message):
        identity.read_npz(tmp_path / "a.npz", {"seed": 0})


def test_a_digest_knows_names_and_contents(tmp_path):
    def folder(name, **contents):
        (tmp_path / name / "below").mkdir(parents=True)
        for file, content in contents.items():
            (tmp_path / name / "below" / file).write_text(content)
        return identity.digest(tmp_path / name)

    first = folder("a", x="1", y="2")
    assert first == folder("b", y="2", x="1")
    assert len({first, folder("c", x="2", y="1"), folder("d", x="1"), folder("e")}) == 4
