"""Searches as they are typed, on the device of exact arithmetic: constraints, many workers, the front."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import depthfinder as df
from commands import Command
from depthfinder.folder.run_folder import RunFolder
from depthfinder.report.review import review_of
from latency.mode import Mode
from latency.modelled import modelled_profile
from profiles.store import load_profile
from pruner.choices.plan import Plan
from pruner.models.load import load_model
from pruner.network.surgery import apply, merge

NETWORK = (
    "--model deit_tiny_patch16_224 --img-size 32 --dataset digits --device null --supernet-epochs 1 "
    "--fit-images 40 --max-seconds 5 "
    "--model-kwargs patch_size=16 --model-kwargs embed_dim=12 --model-kwargs depth=4 --model-kwargs num_heads=2 "
    "--model-kwargs num_classes=10 --n-trials 20"
)
HERE = Path("depthfinder-out/here")


def searched(depthfinder: Command, words: str) -> dict[str, object]:
    done = depthfinder(*shlex.split(f"search {NETWORK} --experiment here {words}"))
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads((HERE / "search.json").read_text())
    return found


def test_two_workers_find_what_one_finds(depthfinder: Command, tmp_path: Path) -> None:
    words = "--budget-ratio 0.85 --keep blocks.0 --max-pruned 4 --n-trials 14"
    one = searched(depthfinder, words)
    HERE.rename("alone")
    two = searched(depthfinder, f"{words} --workers 2")
    assert one == two
    assert (HERE / "study.journal").exists()
    assert (HERE / "workers.log").read_text() == ""
    evaluated = [json.dumps(plan["choices"]) for plan in one["evaluated"]]  # type: ignore[attr-defined]
    assert len(set(evaluated)) == len(evaluated) > 10
    plan = Plan.from_json((HERE / "plan.json").read_text())
    assert 0 < len(plan.choices) <= 4
    assert not [name for name in plan.choices if name.startswith("blocks.0.")]


def test_a_budget_in_ms_and_one_of_size_are_both_kept_to(depthfinder: Command) -> None:
    done = depthfinder(*shlex.split(f"profile {NETWORK.partition(' --dataset')[0]} --device null --json "), *_kwargs())
    assert done.returncode == 0, done.stderr
    baseline_ms = load_profile(next(Path("depthfinder-out/profiles").rglob("*.json"))).baseline_ms
    kwargs = {"img_size": 32, "patch_size": 16, "embed_dim": 12, "depth": 4, "num_heads": 2, "num_classes": 10}
    model = load_model("deit_tiny_patch16_224", **kwargs)
    most = round(0.7 * sum(parameter.numel() for parameter in model.parameters()))
    found = searched(depthfinder, f"--budget-ms null={0.8 * baseline_ms} --max-parameters {most} --choices drop")
    plan = Plan.from_json((HERE / "plan.json").read_text())
    table = load_profile(HERE / "profile.json")
    assert table.latency_ms(plan) <= 0.8 * baseline_ms
    cut = apply(model, plan)
    cut.set_lambda(0.0)
    assert sum(parameter.numel() for parameter in merge(cut).parameters()) <= most
    assert set(plan.choices.values()) == {"drop"}
    assert found["budgets_ms"] == {"null": pytest.approx(0.8 * baseline_ms)}


def test_what_is_on_request_is_offered_to_a_search_that_names_it(depthfinder: Command) -> None:
    done = depthfinder(*shlex.split(f"search {NETWORK} --experiment here --budget-ratio 0.7 --choices merge,thick"))
    assert done.returncode != 0
    assert "no block of deit_tiny_patch16_224 offers 'thick'" in done.stderr
    assert "on request: fit, merge-act, narrow, narrow-25, narrow-50, narrow-75, thin" in " ".join(done.stderr.split())
    record = searched(depthfinder, "--budget-ratio 0.8 --choices narrow,thin,drop --n-trials 8")
    tried = [plan["choices"] for plan in record["evaluated"]]  # type: ignore[attr-defined]
    assert {choice for choices in tried for choice in choices.values()} == {"narrow", "thin", "drop"}
    assert all(list(choices.values()).count("thin") <= 1 for choices in tried)
    table = load_profile(HERE / "profile.json")
    assert table.thinning == {"thin"}
    for plan in record["evaluated"]:  # type: ignore[attr-defined]
        assert plan["latency_ms"] == table.latency_ms(Plan(table.model, plan["choices"]))
        assert plan["latency_ms"] <= record["budget_ms"]
    (kept,) = Path("depthfinder-out/profiles").rglob("*.json")
    assert kept.name == "deit_tiny_patch16_224+narrow+thin-b1-t1.json"


@pytest.mark.parametrize(
    ("scored_by", "said"),
    [
        ("--scored-by fits", "fits: as made in depthfinder-out/deit_tiny_patch16_224-null-x0.85-s0, not fitted again"),
        ("--scored-by supernet", "supernet: as trained in depthfinder-out/deit_tiny_patch16_224-null-x0.85-s0, not"),
    ],
)
def test_a_search_under_another_name_takes_what_was_made_of_the_same(
    depthfinder: Command, scored_by: str, said: str
) -> None:
    """No profile, no supernet and no fits again: for more trials in the same folder, and for another budget."""

    def typed(words: str) -> str:
        done = depthfinder(*shlex.split(f"search {NETWORK} {scored_by} {words}"))
        assert done.returncode == 0, done.stderr
        return done.stderr

    def folder(ratio: float) -> Path:
        return Path(f"depthfinder-out/deit_tiny_patch16_224-null-x{ratio}-s0")

    name = scored_by.split()[1]
    typed("--budget-ratio 0.85 --n-trials 8")
    made = (folder(0.85) / "checkpoints" / f"{name}.safetensors").read_bytes()
    more = typed("--budget-ratio 0.85 --n-trials 16")
    assert "done again: search" in more
    assert f"{name}: done before" in more
    assert "profile: done before" in more
    tighter = typed("--budget-ratio 0.7 --n-trials 8")
    assert said in tighter
    assert "continuing from the profile" in tighter
    assert (folder(0.7) / "checkpoints" / f"{name}.safetensors").read_bytes() == made
    assert (folder(0.7) / "supernet.csv").exists() == (name == "supernet")
    other = typed("--budget-ratio 0.7 --n-trials 8 --experiment other --lr 0.001 --fit-images 50")
    assert "not fitted again" not in other
    assert "not trained again" not in other


def choices_of(found: dict[str, object]) -> list[str]:
    return [json.dumps(one["choices"]) for one in found["evaluated"]]  # type: ignore[attr-defined]


def test_a_search_goes_on_from_fewer_trials_and_from_another_budget(depthfinder: Command) -> None:
    """What the training of the supernet does not depend on does not have it done again, and no plan either."""
    few = searched(depthfinder, "--budget-ratio 0.85 --sampler random --n-trials 10")
    trained = (HERE / "checkpoints" / "supernet.safetensors").stat()
    more = searched(depthfinder, "--budget-ratio 0.85 --sampler random --n-trials 16")
    assert set(choices_of(few)) < set(choices_of(more))
    assert len(set(choices_of(more))) == len(choices_of(more)) == 16
    tighter = searched(depthfinder, "--budget-ratio 0.7 --sampler random --n-trials 16")
    assert set(choices_of(more)) < set(choices_of(tighter))
    assert len(set(choices_of(tighter))) == len(choices_of(tighter)) == 32
    table = load_profile(HERE / "profile.json")
    winner = Plan.from_json((HERE / "plan.json").read_text())
    assert table.latency_ms(winner) <= 0.7 * table.baseline_ms
    again = searched(depthfinder, "--budget-ratio 0.85 --sampler random --n-trials 16")
    assert set(choices_of(again)) == set(choices_of(tighter)), "every plan is known, and none was missing"
    assert (HERE / "checkpoints" / "supernet.safetensors").stat() == trained
    assert set((HERE / "earlier").iterdir()) == {HERE / "earlier" / name for name in ("search.json", "plan.json")}
    refused = depthfinder(*shlex.split(f"search {NETWORK} --experiment here --budget-ratio 0.85 --supernet-epochs 2"))
    assert refused.returncode == 2
    assert "supernet_epochs: 1 then, 2 now" in refused.stderr


def test_a_study_of_scores_that_another_training_gave_is_refused(depthfinder: Command) -> None:
    words = "--budget-ratio 0.85 --n-trials 4 --storage sqlite:///shared.db --study-name one"
    searched(depthfinder, words)
    HERE.rename("depthfinder-out/first")
    done = depthfinder(*shlex.split(f"search {NETWORK} --experiment here {words} --lr 0.001 --mixup 0.2"))
    assert done.returncode == 2
    assert "lr: 0.0005 there, 0.001 here" in done.stderr
    assert "mixup: 0.0 there, 0.2 here" in done.stderr


WITHOUT_TRAINING = "--without-training --budget-ratio 0.85 --n-trials 12 --fit-images 60"


def test_a_search_without_training_hands_over_a_network(depthfinder: Command) -> None:
    found = searched(depthfinder, WITHOUT_TRAINING)
    assert found["scored_by"] == "fits"
    plan = Plan.from_json((HERE / "plan.json").read_text())
    assert set(plan.choices.values()) <= {"fit", "drop", "narrow-75", "narrow-50", "narrow-25"}
    for candidate in found["evaluated"]:  # type: ignore[attr-defined]
        assert candidate["accuracy"] is candidate["cross_entropy"] is None
        assert candidate["distance"] >= 0
        assert 0 <= candidate["agreement"] <= 1
    result = json.loads((HERE / "result.json").read_text())
    assert result["accuracy_without_training"] == result["pruned"]["accuracy"]
    assert (HERE / "report.html").exists()
    assert not (HERE / "checkpoints" / "supernet.safetensors").exists()
    network = df.load_merged(HERE)
    assert sum(parameter.numel() for parameter in network.parameters()) == result["pruned"]["parameters"]

    again = depthfinder(*shlex.split(f"search {NETWORK} --experiment here {WITHOUT_TRAINING}"))
    assert "this search is finished already" in again.stdout
    more = "--scored-by fits --progressive-epochs 1 --block-loss-weight 0.5 --merge-init fitted"
    words = WITHOUT_TRAINING.replace("--without-training", more)
    trained = depthfinder(*shlex.split(f"run {NETWORK} --experiment here {words}"))
    assert trained.returncode == 0, trained.stderr
    assert "progressive_epochs: 0 then, 1 now; " in trained.stderr
    assert ": done again: merge, measure, report, train" in trained.stderr
    assert "search: done before" in trained.stderr
    assert json.loads((HERE / "result.json").read_text())["accuracy_without_training"] == result["pruned"]["accuracy"]


def test_images_without_labels_are_enough(depthfinder: Command, tmp_path: Path) -> None:
    """In a folder of folders that mean nothing; right is what the uncut network answers."""
    random = np.random.default_rng(0)
    for number in range(80):
        place = tmp_path / "photos" / ("some" if number % 3 else "") / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(place)
    words = NETWORK.replace("--dataset digits", f"--dataset unlabelled --data-dir {tmp_path / 'photos'}")
    done = depthfinder(*shlex.split(f"search {words} --experiment here {WITHOUT_TRAINING}"))
    assert done.returncode == 0, done.stderr
    assert "they have no labels: what the uncut network answers counts as right" in done.stderr
    assert "its answers to 16 held-out images are what others are held against" in done.stderr
    result = json.loads((HERE / "result.json").read_text())
    assert result["baseline"]["accuracy"] == 1
    assert result["labelled"] is False
    assert "answers as the uncut network's" in done.stdout
    alone = depthfinder(*shlex.split(f"search {NETWORK.replace('digits', 'folder')} --data-dir {tmp_path / 'photos'}"))
    assert alone.returncode != 0


def test_a_front_without_training_is_told_by_agreement(depthfinder: Command) -> None:
    done = depthfinder(*shlex.split(f"pareto {NETWORK} --experiment here --without-training --fit-images 60"))
    assert done.returncode == 0, done.stderr
    assert "agreement" in done.stdout
    assert "same answers as the uncut network" in (HERE / "front.svg").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--scored-by thumb", "no way of scoring plans is called 'thumb'; nearest: "),
        (
            "--scored-by fits --strategy gate",
            "--strategy gate has its plans scored by supernet: leave --scored",
        ),
    ],
)
def test_ways_of_scoring_that_there_are_not_are_refused(depthfinder: Command, words: str, said: str) -> None:
    done = depthfinder(*shlex.split(f"search {NETWORK} --experiment here --budget-ratio 0.85 {words}"))
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert not HERE.exists()


def test_the_front_rises_from_the_fastest_plan(depthfinder: Command) -> None:
    done = depthfinder(*shlex.split(f"pareto {NETWORK} --experiment here"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.index("held-out images are right") < done.stderr.index("profile ...")
    assert "the front of 20 plans" in done.stdout
    record = json.loads((HERE / "front.json").read_text())
    front = [(plan["latency_ms"], plan["score"]) for plan in record["front"]]
    assert front == sorted(front)
    assert [score for _, score in front] == sorted(score for _, score in front)
    for plan in record["evaluated"]:
        assert any(ms <= plan["latency_ms"] and score >= plan["score"] for ms, score in front)
    assert {} in [plan["choices"] for plan in record["evaluated"]]
    assert all(plan["measured"]["latency_ms"] == pytest.approx(plan["latency_ms"]) for plan in record["front"])
    assert (HERE / "front.svg").read_text().startswith("<svg")
    assert (review_of(RunFolder(HERE)).folder / "study.log").is_file()


def test_a_front_keeps_the_budget_of_every_device(depthfinder: Command) -> None:
    """The second device's budget rules out what the first one's leaves room for, the uncut network among it."""
    kwargs = {"patch_size": 16, "embed_dim": 12, "depth": 4, "num_heads": 2, "num_classes": 10, "img_size": 32}
    model = load_model("deit_tiny_patch16_224", **kwargs)
    budgets = {
        "null": df.profile(model, "null").uncut_ms,
        "mi100": 0.8 * modelled_profile(model, "mi100", Mode()).uncut_ms,
    }
    asked = ",".join(f"{device}={ms!r}" for device, ms in budgets.items())
    done = depthfinder(*shlex.split(f"pareto {NETWORK} --experiment here --budget-ms {asked}"))
    assert done.returncode == 0, done.stderr
    record = json.loads((HERE / "front.json").read_text())
    assert record["budgets_ms"] == budgets
    tables = {"null": load_profile(HERE / "profile.json"), "mi100": load_profile(HERE / "profile-mi100.json")}
    for plan in record["evaluated"]:
        for device, table in tables.items():
            assert table.latency_ms(Plan(table.model, plan["choices"])) <= budgets[device]
    assert {} not in [plan["choices"] for plan in record["evaluated"]]
    assert all(plan["elsewhere"] == {"mi100": None} for plan in record["front"])


def _kwargs() -> list[str]:
    words = shlex.split(NETWORK)
    return [word for i, word in enumerate(words) if word == "--model-kwargs" or words[i - 1] == "--model-kwargs"]


@pytest.mark.parametrize(
    "strategy",
    [
        pytest.param("gate --gate-form shift", marks=pytest.mark.grid),
        "scores",
        pytest.param("dimap", marks=pytest.mark.grid),
    ],
)
def test_every_strategy_ends_with_a_plan_within_the_budget(depthfinder: Command, strategy: str) -> None:
    found = searched(depthfinder, f"--budget-ratio 0.7 --strategy {strategy}")
    assert found["strategy"] == strategy.split()[0]
    how = [plan["how"] for plan in found["evaluated"]]  # type: ignore[attr-defined]
    if strategy == "scores":
        # The uncut network, two ways of cutting four attentions and five of cutting four FFNs.
        assert how.count("single") == 1 + 2 * 4 + 5 * 4
        assert set(how) == {"single", "single scores"}
    else:
        assert set(how) == {strategy.split()[0]}
    table = load_profile(HERE / "profile.json")
    plan = Plan.from_json((HERE / "plan.json").read_text())
    assert table.latency_ms(plan) <= 0.7 * table.baseline_ms
    assert plan.choices == found["finalists"][0]["choices"]  # type: ignore[index]


def test_a_strategy_that_there_is_not_is_refused(depthfinder: Command) -> None:
    done = depthfinder(*shlex.split(f"search {NETWORK} --budget-ratio 0.7 --strategy luck"))
    assert done.returncode == 2
    assert "no strategy is called 'luck'; nearest: " in done.stderr
    done = depthfinder(*shlex.split(f"search {NETWORK} --budget-ratio 0.7 --strategy gate --gate-form sieve"))
    assert done.returncode == 2
    assert "no form of the gate is called 'sieve'; nearest: " in done.stderr
    done = depthfinder(*shlex.split(f"pareto {NETWORK} --strategy gate"))
    assert done.returncode == 2
    assert "a front is searched by --strategy optuna alone" in done.stderr
