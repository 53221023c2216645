"""The options of train.pricing against simulation, and its script in a tiny configuration."""

import csv
import functools
import json
import shutil

import numpy as np
import pytest

import sobolev_tf as st
from train import plot
from train.lib.run import errors
from train.pricing import __main__ as pricing
from train.pricing import nets, products, table

TINY = ["--num_workers=0", "--num_paths=8", "--num_seeds=1", "--steps=3", "--hidden=4"]
PRODUCTS = [products.call(), products.basket(3)]


@pytest.fixture
def run(run_script, monkeypatch):
    monkeypatch.setattr(nets, "TEST_POINTS", nets.CURVE_POINTS)
    return functools.partial(run_script, pricing)


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.name)
def test_deltas_are_the_slopes_of_prices(product):
    test = product.prices(200, seed=(0,))
    _, deltas = test.labels
    for i, step in enumerate(1e-5 * np.eye(product.num_assets)):
        above, below = (product.closed_form(test.x + sign * step)[0] for sign in (1, -1))
        np.testing.assert_allclose(deltas[:, :, i], (above - below) / 2e-5, atol=1e-8)


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.name)
def test_payoffs_and_slopes_are_right_on_average(product):
    """400,000 paths: errors of their mean, weighted by the state or not, within 4 deviations."""
    paths = product.paths(400_000, seed=(0,))
    for label, true in zip(paths.labels, product.closed_form(paths.x), strict=True):
        for weight in (np.ones(len(paths.x)), product.level(paths.x)):
            errors = (label - true).reshape(len(label), -1) * weight[:, None]
            assert (np.abs(errors.mean(0)) < 4 * errors.std(0) / len(errors) ** 0.5).all()


def test_a_call_by_hand():
    """At the money: S (2 N(s/2) - 1) with s = 0.2; N(0.1) = 0.539828."""
    price, delta = products.call().closed_form(np.array([[1.1]]))
    np.testing.assert_allclose([price.item(), delta.item()], [1.1 * 0.079656, 0.539828], rtol=1e-5)


def test_a_basket_by_hand():
    """At the money: sigma / sqrt(2 pi), and half of the weights, which add up to one."""
    price, delta = products.basket(7).closed_form(np.full([1, 7], 1.1))
    np.testing.assert_allclose(price, 0.2 / (2 * np.pi) ** 0.5)
    np.testing.assert_allclose(delta.sum(), 0.5)
    assert (delta > 0).all()


def test_medians_and_ratios_by_hand():
    errors = {"values": [1.0, 9.0, 2.0], "sobolev": [8.0, 0.5, 1.0]}
    rows = [
        {"product": "call", "paths": "20", "method": m, "price_rmse": e, "delta_rmse": 2 * e}
        for m, each in errors.items()
        for e in each
    ]
    medians = table.medians(rows)
    assert [m["price_rmse"] for m in medians] == [[2.0, 1.0, 9.0], [1.0, 0.5, 8.0]]
    assert table.over_values_only(medians) == [
        {"product": "call", "paths": 20, "method": "sobolev", "price_rmse": 0.5, "delta_rmse": 0.5}
    ]
    assert "(0.5 to 8)" in table.text(medians)


def test_errors_are_root_mean_squares_of_norms():
    price = np.array([1.0, -1.0]), np.zeros([2, 1])
    delta = np.array([[[3.0, 4.0]], [[0.0, 0.0]]]), np.zeros([2, 1, 2])
    assert nets.root_mean_squares((price[0], delta[0]), (price[1], delta[1])) == [1, 12.5**0.5]


def test_half_of_the_slopes_are_missing():
    task = nets.Task(
        product="basket",
        num_assets=7,
        paths=1000,
        method="sobolev_half",
        seed=0,
        hidden=(4,),
        steps=1,
        learning_rate=0.1,
    )
    _, (payoffs, slopes) = nets.training_paths(products.basket(7), task)
    assert np.isfinite(payoffs).all()
    assert np.isnan(slopes).mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.slow
def test_a_run_trains_nets(run, tmp_path):
    """Three nets are traced, which takes longer than their three steps."""
    code, out, err = run(*TINY, "--product=basket", f"--workdir={tmp_path}")
    assert code == 0, err
    assert "Sobolev, half of the slopes missing: price RMSE" in out


class ClosedForm:
    """In the place of a trained net: the basket's true prices and deltas, and some error."""

    def predict_jet(self, x, batch_size):
        price, delta = products.basket(7).closed_form(x.astype(float))
        return st.Jet(price + 0.1, [delta + 0.1])


def test_a_run_ends_with_table_and_figures_and_goes_on_where_it_stopped(run, tmp_path, monkeypatch):
    monkeypatch.setattr(nets, "train", lambda x, labels, task: ClosedForm())
    arguments = [*TINY, "--product=basket", f"--workdir={tmp_path}"]
    code, out, err = run(*arguments)
    assert code == 0, err
    assert out.startswith(f"3 nets in {tmp_path}\n")
    assert "basket, 8 paths, Sobolev over values only: price RMSE" in out
    assert f" -m train.plot {tmp_path} RUN\n" in out
    for name in ("errors.png", "curves-basket.png"):
        assert (tmp_path / name).stat().st_size > 10_000
    before = (tmp_path / "metrics.csv").read_text()
    rows = list(csv.DictReader(before.splitlines()))
    assert [row["method"] for row in rows] == list(nets.METHOD_NAMES)
    assert all(float(row["delta_rmse"]) > 0 for row in rows)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert list(summary)[:3] == ["script", "what", "headline"]
    assert summary["headline"]["value"] == summary["over_values_only"][0]["delta_rmse"]

    net = tmp_path / "nets" / "basket-8-sobolev-0.npz"
    net.write_bytes(net.read_bytes()[:100])  # damaged
    with pytest.raises(errors.UsageError, match="cannot be read"):
        plot.main([str(tmp_path)])
    code, out, err = run(*arguments)
    assert code == 0, err
    assert "2 of 3 nets are done" in out
    without_seconds = [line.rpartition(",")[0] for line in before.splitlines()]
    after = (tmp_path / "metrics.csv").read_text().splitlines()
    assert [line.rpartition(",")[0] for line in after] == without_seconds

    net.write_bytes((tmp_path / "nets" / "basket-8-values-0.npz").read_bytes())  # exchanged
    with pytest.raises(errors.UsageError, match="it is the file of method values, expected that"):
        plot.main([str(tmp_path)])
    code, out, err = run(*arguments)
    assert code == 0
    assert "2 of 3 nets are done" in out
    assert "it is the file of method values, expected that of method sobolev" in err

    shutil.rmtree(tmp_path / "nets")  # as in train/results
    for figure in tmp_path.glob("*.png"):
        figure.unlink()
    plot.main([str(tmp_path)])
    assert [figure.name for figure in tmp_path.glob("*.png")] == ["errors.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--product=put"], "--product=put: expected call or basket"),
        (["--num_paths=20,0"], "--num_paths=20,0: expected whole numbers of at least 1"),
        (["--num_paths=1"], "--num_paths=1: z-scores need two paths at least"),
        (["--num_paths=99999999999999"], "--num_paths=99999999999999"),
        (["--hidden=a"], "--hidden=a: expected whole numbers"),
        (["--hidden=99999999,99999999"], "--hidden=99999999,99999999 needs 7.45e+07 GiB"),
        (["--num_seeds=2147483647"], "--num_seeds=2147483647 needs 1.8e+04 GiB"),
        (["--num_paths=20,20,20", "--num_seeds=2147483647"], "needs 6e+03 GiB"),  # of one size
        (["--num_assets=0"], "--num_assets=0"),
        (["--product=call", "--num_assets=20"], "--num_assets is not for --product=call"),
        (["--learning_rate=nan"], "--learning_rate=nan"),
        (["--num_path=20"], "did you mean --num_paths?"),
        (["--jit_compile"], "jit_compile"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, refused):
    assert message in refused(pricing, *arguments)


def test_what_stands_in_a_result_s_place_is_noticed_at_the_start(run, tmp_path, monkeypatch):
    monkeypatch.setattr(nets, "train", lambda x, labels, task: ClosedForm())
    arguments = [*TINY, "--product=basket", f"--workdir={tmp_path}"]
    assert run(*arguments)[0] == 0
    shutil.rmtree(tmp_path / "nets")
    (tmp_path / "curves-basket.png").unlink()
    (tmp_path / "curves-basket.png").mkdir()
    code, out, err = run(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "curves-basket.png is a folder, where a file is to be written" in err


DAMAGES = [
    ("metrics.csv", ("basket", "put"), "its product is 'put'"),
    ("metrics.csv", ("basket,8,values", "call,8,values"), "lacks a net on values only"),
    ("metrics.csv", (",8,", ",8.5,"), "paths are whole numbers"),
    ("config.json", ('"num_assets": 7', '"num_assets": "7"'), "'num_assets' is '7', expected"),
    ("config.json", ('"num_assets": 7', '"num_assets": 0'), "its num_assets are 0"),
    ("config.json", ('"num_assets": 7', '"num_assets": 999999999'), "its num_assets are 9999"),
    ("config.json", ('"num_assets": 7', '"num_assets": 3'), "of num_assets 7, expected that"),
]


def test_a_damaged_run_is_not_drawn(run, tmp_path, monkeypatch):
    monkeypatch.setattr(nets, "train", lambda x, labels, task: ClosedForm())
    assert run(*TINY, "--product=basket", f"--workdir={tmp_path}")[0] == 0
    for name, (old, new), message in DAMAGES:
        text = (tmp_path / name).read_text()
        assert old in text
        (tmp_path / name).write_text(text.replace(old, new))
        with pytest.raises(errors.UsageError, match=message):
            plot.main([str(tmp_path)])
        (tmp_path / name).write_text(text)
