"""train.theory: the statements of section 3 and SM 1, on nets that are built and numbers."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

import sobolev_tf as st
from train.lib.run.settings import Settings
from train.theory import __main__ as script
from train.theory import examples, existence, figures, sample_counts, tables
from train.theory.piecewise_linear import PiecewiseLinear, Ridge, join_lines, relu_net

PAGE = Path(script.__file__).parents[1] / "results" / "theory" / "README.md"
LABEL = some.floats(-10, 10)


@some.composite
def labeled_points(draw):
    """Points of a grid of quarters, so that many share a coordinate, and any labels there."""
    dims = draw(some.integers(1, 3))
    quarter = some.tuples(*[some.integers(-8, 8)] * dims)
    x = np.array(draw(some.lists(quarter, min_size=1, max_size=6, unique=True))) / 4
    numbers = draw(some.lists(LABEL, min_size=x.size + len(x), max_size=x.size + len(x)))
    return x, np.array(numbers[: len(x)]), np.array(numbers[len(x) :]).reshape(x.shape)


@settings(max_examples=15, deadline=None)
@given(labeled_points(), some.sampled_from([0.0, 0.25]))
def test_proposition_1_a_relu_net_has_any_values_and_gradients(points, negative_slope):
    x, y, dy = points
    jet = st.jet(existence.interpolating_net(x, y, dy, negative_slope), x)
    np.testing.assert_allclose(jet.value[:, 0], y, atol=1e-9)
    np.testing.assert_allclose(jet.derivatives[0][:, 0], dy, atol=1e-9)


def test_proposition_1_s_net_has_no_training_loss():
    x, y, dy = examples.random_labels(9, 2)
    model = st.SobolevModel(existence.interpolating_net(x, y, dy))
    model.compile()
    assert model.evaluate(x, (y, dy), verbose=0, return_dict=True)["loss"] < 1e-18


def test_proposition_1_refuses_two_values_at_one_point():
    with pytest.raises(ValueError, match="two points are alike"):
        existence.interpolating_net(np.ones([2, 1]), np.array([0.0, 1.0]), np.ones([2, 1]))


@settings(max_examples=30, deadline=None)
@given(
    some.integers(2, 6).flatmap(
        lambda n: some.tuples(
            some.lists(some.integers(-20, 20), min_size=n, max_size=n, unique=True),
            some.lists(LABEL, min_size=n, max_size=n),
        )
    ),
    some.sampled_from([0.0, 0.25]),
)
def test_a_net_of_relus_is_its_piecewise_linear_function(knots_and_values, negative_slope):
    knots, values = (np.array(numbers, float) for numbers in knots_and_values)
    p = PiecewiseLinear(np.sort(knots), values)
    z = np.linspace(-25, 25, 101)
    net = relu_net([Ridge(np.array([1.0]), p)], negative_slope)
    np.testing.assert_allclose(st.jet(net, z[:, None], 0).value[:, 0], p(z), atol=1e-10)


@pytest.mark.parametrize("function", examples.SMOOTH, ids=lambda f: f.name)
@settings(max_examples=10, deadline=None)
@given(some.floats(0.05, 2))
def test_lemma_1_values_and_slopes_are_within_epsilon(function, epsilon):
    assert max(existence.errors(function, existence.approximate(function, epsilon))) < epsilon


def test_lemma_1_s_net_has_the_slopes_of_its_piecewise_linear_function():
    function, epsilon = examples.SMOOTH[0], 0.5
    p = existence.approximate(function, epsilon)
    z = (p.knots[1:] + p.knots[:-1]) / 2
    jet = st.jet(relu_net([Ridge(np.array([1.0]), p)]), z[:, None])
    assert np.max(np.abs(jet.value[:, 0] - function.value(z))) < epsilon
    assert np.max(np.abs(jet.derivatives[0][:, 0, 0] - function.slope(z))) < epsilon


@pytest.mark.parametrize("function", examples.SMOOTH, ids=lambda f: f.name)
def test_the_slopes_of_the_examples_are_theirs_and_within_their_bounds(function):
    z = np.random.default_rng(0).uniform(*function.interval, 2000)
    step = 1e-6
    secants = (function.value(z + step) - function.value(z - step)) / (2 * step)
    np.testing.assert_allclose(function.slope(z), secants, atol=1e-3)
    assert np.max(np.abs(function.slope(z))) <= function.largest_slope
    for epsilon in (0.01, 0.3):
        moved = np.abs(function.slope(z + 0.999 * function.modulus(epsilon)) - function.slope(z))
        assert np.max(moved) < epsilon


@settings(max_examples=20, deadline=None)
@given(some.floats(0.01, 0.5))
def test_lemma_2_the_sigmoid_is_within_epsilon_everywhere(epsilon):
    function = existence.sigmoid(epsilon)
    p = existence.approximate(function, epsilon)
    assert max(existence.errors(function, p)) < epsilon
    outside = np.linspace(function.interval[1], 60, 1000)
    for z in (outside, -outside):
        assert np.max(np.abs(p(z) - function.value(z))) < epsilon
        assert np.max(np.abs(function.slope(z))) < epsilon


def test_theorem_1_relus_in_place_of_sigmoids_move_value_and_gradient_by_less_than_epsilon():
    kernel, bias, weights = (5 * each for each in examples.sigmoid_net(units=2, dims=3))
    x = np.random.default_rng(0).normal(size=[500, 3])
    s = 1 / (1 + np.exp(-(x @ kernel + bias)))
    jet = st.jet(existence.relu_copy(kernel, bias, weights, 0.5), x)
    assert np.max(np.abs(jet.value[:, 0] - s @ weights)) < 0.5
    off = jet.derivatives[0][:, 0] - (s * (1 - s) * weights) @ kernel.T
    assert np.max(np.linalg.norm(off, axis=1)) < 0.5


@settings(max_examples=50, deadline=None)
@given(some.lists(some.floats(-3, 3), min_size=4, max_size=4), some.floats(0.2, 3))
def test_theorem_2_no_function_comes_nearer_than_the_bound(coefficients, length):
    h = np.polynomial.Polynomial(coefficients)
    z = np.linspace(0, length, 400)
    # f = sin x, g = 2 + cos 2x
    off = np.max(np.abs(np.sin(z) - h(z))), np.max(np.abs(2 + np.cos(2 * z) - h.deriv()(z)))
    bound = existence.shortest_distance(np.sin, lambda x: 2 * x + np.sin(2 * x) / 2, 0, length)
    assert max(off) >= bound - 1e-3  # the grid misses the maximum by less


def test_theorem_2_a_line_reaches_the_bound():
    bound = existence.shortest_distance(lambda x: 0.0, lambda x: x, 0.0, 2.0)
    slope = 0.5  # value 0 and slope 1 on [0, 2]: h = (x - 1) / 2 is off by 1/2 in both
    assert bound == pytest.approx(max(slope * 1.0, 1 - slope))


@settings(max_examples=30, deadline=None)
@given(some.sets(some.integers(-4, 4), min_size=5, max_size=5), some.integers(1, 6))
def test_a_polynomial_takes_n_plus_1_values_or_half_as_many_points_with_slopes(points, degree):
    x = np.array(sorted(points)) / 4

    def needed(slopes):
        return sample_counts.points_needed(
            lambda k: sample_counts.polynomial_equations(x[:k], degree, slopes)
        )

    assert needed(slopes=True) == -(-(degree + 1) // 2)
    if degree < 5:
        assert needed(slopes=False) == degree + 1


@pytest.mark.parametrize("points", [1, 2, 3])
def test_half_the_degree_is_too_few_points_with_slopes(points):
    """The square of a polynomial with these roots has value 0 and slope 0 at all of them."""
    x = np.arange(points) / 2
    square = np.polynomial.Polynomial.fromroots(x) ** 2
    equations = sample_counts.polynomial_equations(x, 2 * points, slopes=True)
    np.testing.assert_allclose(equations @ square.coef, 0, atol=1e-12)
    assert square.coef[-1] == 1


GAUSSIAN = some.tuples(some.floats(-3, 3), some.floats(0.5, 3))


@settings(max_examples=50, deadline=None)
@given(GAUSSIAN, some.floats(-3, 3))
def test_one_value_with_its_slope_determines_a_gaussian(gaussian, x):
    at_x = sample_counts.gaussian(x, *gaussian), sample_counts.gaussian_slope(x, *gaussian)
    found = sample_counts.gaussian_of_value_and_slope(x, *map(float, at_x))
    assert found == pytest.approx(gaussian, rel=1e-6, abs=1e-6)


def test_two_gaussians_agree_at_two_points_but_not_in_their_slopes_there():
    points = np.array(examples.MEETING_POINTS)
    second = sample_counts.other_gaussian(
        *examples.FIRST_GAUSSIAN, examples.MEETING_POINTS, examples.NEAR_SECOND_GAUSSIAN
    )
    assert second == pytest.approx((2.84746, 1.64162), abs=1e-5)
    both = [examples.FIRST_GAUSSIAN, second]
    values = [sample_counts.gaussian(points, *each) for each in both]
    np.testing.assert_allclose(*values, rtol=1e-12)
    slopes = [sample_counts.gaussian_slope(points, *each) for each in both]
    assert np.min(np.abs(slopes[0] - slopes[1])) > 0.05


@settings(max_examples=50, deadline=None)
@given(GAUSSIAN, GAUSSIAN)
def test_two_gaussians_agree_at_two_points_at_most(first, second):
    if max(np.abs(np.subtract(first, second))) < 1e-3:
        return
    points = sample_counts.common_points(first, second)
    assert len(points) <= 2
    for x in points[np.abs(points) < 20]:
        logs = [-(((x - m) / s) ** 2) / 2 - np.log(s) for m, s in (first, second)]
        assert logs[0] == pytest.approx(logs[1], abs=1e-4)


@pytest.mark.parametrize("dims", [1, 2, 5])
def test_a_linear_piece_takes_d_plus_1_values_or_one_point_with_its_slope(dims):
    x = np.random.default_rng(0).normal(size=[dims, dims])
    values = sample_counts.linear_equations(x, slopes=False)
    *_, unseen = np.linalg.svd(values)[2]  # a linear map that is zero at all D points, and not zero
    np.testing.assert_allclose(values @ unseen, 0, atol=1e-12)
    assert np.linalg.norm(unseen) == pytest.approx(1)
    one = sample_counts.linear_equations(x[:1], slopes=True)
    map_ = np.arange(1.0, dims + 2)
    np.testing.assert_allclose(np.linalg.solve(one, one @ map_), map_)


def test_figure_2_the_lines_differ_in_all_but_the_three_values():
    x, y = examples.THREE_POINTS
    true, *others = (
        join_lines(x, y, lines.slopes) for lines in [examples.TRUE_LINES, *examples.OTHER_LINES]
    )
    for p in (true, *others):
        np.testing.assert_allclose(p(x), y, atol=1e-12)
    z = np.linspace(-3, 3, 61)
    assert min(np.max(np.abs(true(z) - other(z))) for other in others) > 0.5
    slopes = (true(x + 0.1) - true(x - 0.1)) / 0.2
    np.testing.assert_allclose(slopes, examples.TRUE_LINES.slopes)


def test_lines_that_do_not_meet_between_their_points_are_refused():
    with pytest.raises(ValueError, match="do not meet between"):
        join_lines(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.array([0.5, 0.5]))


def test_the_page_has_what_the_command_prints(tmp_path, capsys):
    script.main(Settings({"workdir": str(tmp_path / "run")}))
    printed, page = capsys.readouterr().out, PAGE.read_text()
    assert printed.endswith(" -m train.regression\n")
    for table in tables.all_tables():
        assert table.title in printed
        for row in (table.header, *table.rows):
            assert f"| {' | '.join(row)} |" in page
    for name in figures.NAMES:
        assert (tmp_path / "run" / name).read_bytes()[:4] == b"\x89PNG"
        assert f"({name})" in page
