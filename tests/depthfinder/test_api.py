"""The public door, used as a notebook would use it."""

import inspect
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

import depthfinder as df
from commands import Command
from depthfinder.config.declared import declared_in, made
from depthfinder.config.run import RunConfig
from latency.export import export_safetensors
from networks import SHAPES

README = Path(__file__).parent.parent.parent / "README.md"


def test_from_a_name_to_a_measured_onnx_file(tmp_path: Path) -> None:
    entry, kwargs = SHAPES["deit"]
    torch.manual_seed(0)
    model = df.load_model(entry, **kwargs)
    chain = df.describe(model)
    assert chain.num_plans == 2**3 * 3**3

    table = df.profile(model, device="null", max_seconds=0.1)
    table.save(tmp_path / "profile.json")
    assert df.load_profile(tmp_path / "profile.json") == table

    network = df.supernet(model).eval()
    images = torch.randn(8, *chain.input_size, generator=torch.Generator().manual_seed(0))
    expected = network(images)

    def closeness(plans: object) -> list[float]:
        scores = []
        for plan in plans:  # type: ignore[attr-defined]
            network.select(plan)
            scores.append(-float((network(images) - expected).detach().abs().max()))
        return scores

    budget_ms = 0.6 * table.baseline_ms
    result = df.search(chain, table, budget_ms=budget_ms, evaluate=closeness, n_trials=12)
    assert result.best is result.candidates[0]
    assert result.best.latency_ms <= budget_ms

    cut = df.apply(model, result.best.plan)
    cut.set_lambda(0.0)
    merged = df.merge(cut.eval())
    assert df.measure(merged, device="null").latency_ms <= budget_ms
    parity = df.export(merged, tmp_path / "merged.onnx")
    assert parity.same_top1 == parity.images
    session = onnxruntime.InferenceSession(tmp_path / "merged.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": images.numpy()})
    np.testing.assert_allclose(logits, merged(images).detach().numpy(), atol=1e-4)


def test_a_plan_is_found_without_labels_and_without_training() -> None:
    entry, kwargs = SHAPES["deit"]
    torch.manual_seed(0)
    model = df.load_model(entry, **kwargs)
    chain, table = (
        df.describe(model, df.Fitted.choices),
        df.profile(model, device="null", max_seconds=0.1, extra_choices=df.Fitted.choices),
    )
    images = torch.randn(60, *chain.input_size, generator=torch.Generator().manual_seed(0))
    fitted = df.Fitted(model, images)
    limit_ms = 0.6 * table.baseline_ms
    found = df.search(
        chain, table, budget_ms=limit_ms, evaluate=fitted, harms=fitted.harms, choices=["fit", "drop"], n_trials=12
    )
    assert next(one.how for one in found.candidates if one.number == 0) == "solver"
    cut = fitted.cut(found.best.plan)
    assert df.measure(df.merge(cut), device="null").latency_ms <= limit_ms
    dropped = df.apply(model, df.Plan(chain.model, dict.fromkeys(found.best.plan.choices, "drop"))).eval()
    dropped.set_lambda(0.0)
    with torch.no_grad():
        off = [float((network(images) - model(images)).square().mean()) for network in (cut, dropped)]
    assert off[0] < off[1]


def test_a_real_runtime_gives_a_figure_with_its_spread() -> None:
    entry, kwargs = SHAPES["deit"]
    measured = df.measure(df.load_model(entry, **kwargs), device="ort-cpu", seconds=0.2)
    assert 0 < measured.low_ms <= measured.latency_ms <= measured.high_ms
    assert measured.p10_ms <= measured.latency_ms <= measured.median_ms <= measured.p90_ms
    assert measured.n >= 9
    assert measured.cpu_ms > 0


def test_a_run_in_python_is_the_run_that_is_typed(depthfinder: Command) -> None:
    """The same settings by the same names, the same folder, and the result as a record."""
    settings = {"model": "deit_tiny_patch16_224", "img_size": 32, "dataset": "digits", "device": "null"}
    settings |= {"model_kwargs": {"patch_size": 16, "embed_dim": 12, "depth": 2, "num_heads": 2, "num_classes": 10}}
    settings |= {"budget_ratio": 0.85, "n_trials": 6, "max_seconds": 0.5, "fit_images": 40, "progressive_epochs": 0}
    found = df.run(**settings, experiment="here")
    assert found.verdict.answer == "met"
    assert found.ratio <= 0.85
    assert df.run(**settings, experiment="here") == found, "it is finished, and read back"
    typed = depthfinder("run", "--config", "depthfinder-out/here/args.yaml", "--experiment", "here")
    assert typed.returncode == 0, typed.stderr
    assert "finished already" in typed.stdout
    with pytest.raises(df.errors.SettingsError, match="no setting is called 'trials'; nearest: n_trials"):
        df.run(trials=3)


def test_a_network_of_no_family_goes_through_a_whole_run(depthfinder: Command) -> None:
    """One of torchvision's, by its name: what was handed over is of its own class, and computes what was exported."""
    settings = {"model": "torchvision/mnasnet0_5", "img_size": 32, "dataset": "digits", "device": "null"}
    settings |= {"model_kwargs": {"num_classes": 10}, "budget_ratio": 0.85, "n_trials": 4, "max_seconds": 0.5}
    found = df.run(**settings, fit_images=40, progressive_epochs=0, choices="drop", experiment="theirs")
    assert found.verdict.answer == "met"
    merged = df.load_merged("depthfinder-out/theirs")
    assert type(merged).__name__ == "MNASNet"
    session = onnxruntime.InferenceSession("depthfinder-out/theirs/merged.onnx", providers=["CPUExecutionProvider"])
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    (logits,), wanted = session.run(None, {"images": images.numpy()}), merged(images).detach().numpy()
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    said = depthfinder("describe", "--model", "torchvision/mnasnet0_5", "--img-size", "32").stdout
    assert "10 blocks read from what it computes" in " ".join(said.split())


def test_the_stages_of_a_search_one_by_one() -> None:
    """A supernet that is trained scores plans; the best is measured to fit, trained, and merged."""
    model = df.load_model("deit_digits", depth=3)
    digits = df.images(model, dataset="digits")
    supernet = df.train_supernet(model, digits, supernet_epochs=1, train_batch_size=500, lr=1e-4)
    assert any(
        not torch.equal(one, other)
        for one, other in zip(supernet.parameters(), df.supernet(model).parameters(), strict=True)
    )
    evaluate = df.Evaluator(supernet, list(digits.calibration_batches(batch_size=100)))
    chain, table = df.describe(model), df.profile(model, "null", max_seconds=0.1)
    budget_ms = 0.8 * table.baseline_ms
    found = df.search(chain, table, budget_ms=budget_ms, evaluate=evaluate, model=model, device="null", n_trials=6)
    assert found.best == found.finalists[0].candidate
    assert found.finalists[0].verdicts[0].answer == "met"
    assert found.finalists[0].verdicts[0].measured is not None

    cut = df.finetune(model, found.best.plan, digits, progressive_epochs=1, train_batch_size=500, distill_loss_weight=0)
    images, _ = next(digits.test_batches(batch_size=4))
    merged = df.merge(cut)
    torch.testing.assert_close(merged(images), cut(images), rtol=1e-4, atol=1e-4)
    assert df.measure(merged, "null").latency_ms <= budget_ms


def test_what_measures_takes_the_network_and_the_tables_device() -> None:
    model = df.load_model("deit_digits", depth=2)
    chain, table = df.describe(model), df.profile(model, "null", max_seconds=0.1)
    asked = {"budget_ms": 0.8 * table.baseline_ms, "evaluate": lambda plans: [0.0 for _ in plans]}
    with pytest.raises(ValueError, match="give the model beside the device"):
        df.search(chain, table, **asked, device="null")
    with pytest.raises(df.errors.ProfileError, match="this profile is of null"):
        df.search(chain, table, **asked, model=model, device="cpu")


# What Python hands over as objects, and what no command has.
OBJECTS = {
    *("chain", "cls", "cut", "evaluate", "folder", "harms", "images", "model", "network", "path", "plan", "profile"),
    *("atol", "experiment", "extra_choices", "input_size", "name", "opset", "output", "progress", "seconds"),
    *("settings", "timm_kwargs", "weights", "without_training"),
}


@pytest.mark.parametrize("name", [name for name in df.__all__ if name.islower() and name != "errors"])
def test_what_functions_are_asked_for_is_called_as_on_the_command_line(name: str) -> None:
    """An argument that is a setting has the setting's name; what is no setting is an object, and listed."""
    known = {one.name for one in declared_in(RunConfig)}
    given = set(inspect.signature(getattr(df, name)).parameters)
    assert given - OBJECTS <= known, f"df.{name} calls by another name what is a setting"


def test_the_readmes_script_runs(depthfinder: Command, capfd: pytest.CaptureFixture[str]) -> None:
    """As it stands, but for a small network, a device of exact arithmetic and as little of everything as can be."""
    script = README.read_text().partition("```python\n")[2].partition("```")[0]
    kwargs = {"patch_size": 16, "embed_dim": 24, "depth": 6, "num_heads": 2, "num_classes": 10}
    quick = f"model='deit_tiny_patch16_224', img_size=32, dataset='digits', model_kwargs={kwargs}, device='null', "
    quick += "max_seconds=1, fit_images=40, n_trials=4, progressive_epochs=0, choices='drop', "
    assert script.count("df.run(") == 1
    script = script.replace("df.run(", f"df.run({quick}").replace(
        "df.measure(merged, ", "df.measure(merged, seconds=0.1, "
    )
    exec(script.replace('"ort-cpu"', '"null"'), {})
    said = capfd.readouterr().out.splitlines()
    assert said[0].startswith("met ")
    assert " of the latency" in said[1]
    assert said[-1].startswith("Measurement(")


def test_a_merged_network_is_read_back_with_the_classes_of_its_images(tmp_path: Path) -> None:
    """The command that was typed did not say how many there are: the images did."""
    typed = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}
    model = df.load_model("deit_tiny_patch16_224", num_classes=3, **typed)
    plan = df.Plan("deit_tiny_patch16_224", {"blocks.0.mlp": "merge"})
    cut = df.apply(model, plan)
    cut.set_lambda(0.0)
    merged = df.merge(cut.eval())
    asked = {"model": "deit_tiny_patch16_224", "model_kwargs": typed, "dataset": "folder", "data_dir": "images"}
    made(RunConfig, asked | {"device": "null", "budget_ratio": 0.7, "n_trials": 5}).save(tmp_path / "args.yaml")
    (tmp_path / "plan.json").write_text(plan.to_json())
    export_safetensors(merged, tmp_path / "merged.safetensors", plan)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(df.load_merged(tmp_path)(images), merged(images))
