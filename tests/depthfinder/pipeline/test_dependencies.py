"""Every argument is known to be one that something depends on, or one that nothing does: a new one has to be listed."""

from pathlib import Path

import pytest

from depthfinder.config.declared import declared_in, flat, made, with_changes
from depthfinder.config.run import RunConfig, SparsifyConfig
from depthfinder.console import Watch
from depthfinder.errors import DifferentRunError
from depthfinder.folder.run_folder import RunFolder
from depthfinder.pipeline.claiming import claim, difference
from depthfinder.pipeline.dependencies import MAY_CHANGE, depends, known_fields, scores_depend_on
from depthfinder.pipeline.run import Run
from depthfinder.pipeline.scoring import open_ledger
from search.errors import StudyMismatchError

FIELDS = {one.name for one in declared_in(SparsifyConfig)}
NO_SCORE_DEPENDS_ON = {
    *MAY_CHANGE,
    *("device", "threads", "batch_size", "dtype", "channels_last", "torchcompile", "max_seconds"),
    *("budget_ms", "budget_ratio", "keep", "max_pruned", "keep_one_per_stage", "max_parameters", "max_memory_mb"),
    *("sampler", "n_trials", "gap", "storage", "study_name"),
    *("progressive_epochs", "merge_init", "lambda_schedule", "closing_share", "kd_model_name", "block_loss_weight"),
    "least_lr_share",
    *("method", "granularity", "sparsity", "epochs", "search_share"),
}
# Their contents are in a study's identity: weights, images with their classes, and tables where training goes by them.
KNOWN_BY_CONTENT = {"checkpoint", "data_dir", "class_map", "profile", "kd_checkpoint"}
ASKED = made(
    RunConfig,
    {
        "model": "deit_tiny_patch16_224",
        "model_kwargs": {"patch_size": 16, "embed_dim": 12, "depth": 2, "num_heads": 2, "num_classes": 10},
        "img_size": 32,
        "dataset": "digits",
        "device": "null",
        "budget_ratio": 0.7,
        "max_seconds": 1.0,
        "n_trials": 8,
        "scored_by": "supernet",
    },
)
OTHER = {
    "n_trials": 16,
    "budget_ratio": 0.6,
    "sampler": "random",
    "device": "ort-cpu",
    "progressive_epochs": 3,
    "lr": 1e-3,
    "supernet_plans": 2,
    "bn_estimation": True,
    "finetune_epochs": 1,
    "workers": 2,
}


def test_every_argument_is_listed_once() -> None:
    assert known_fields() | set(MAY_CHANGE) == FIELDS
    assert not known_fields() & set(MAY_CHANGE)


def test_every_argument_is_in_the_identity_of_scores_unless_none_depends_on_it() -> None:
    in_identity = set(scores_depend_on(ASKED))
    assert in_identity | NO_SCORE_DEPENDS_ON | KNOWN_BY_CONTENT == FIELDS
    assert not in_identity & (NO_SCORE_DEPENDS_ON | KNOWN_BY_CONTENT)


def test_a_supernet_that_is_trained_around_a_budget_depends_on_it() -> None:
    for more in ({"strategy": "gate"}, {"supernet_sampling": "latency"}):
        asked = with_changes(ASKED, **more)
        assert {"budget_ratio", "max_parameters", "device", "keep"} <= set(scores_depend_on(asked))
        assert depends("supernet", asked) != depends("supernet", with_changes(asked, budget_ratio=0.6))


def test_scores_by_fits_depend_on_the_images_and_the_table_and_on_no_supernet() -> None:
    asked = with_changes(ASKED, scored_by="fits")
    found = set(scores_depend_on(asked))
    assert {"scored_by", "fit_images", "device", "choices"} <= found
    assert not {"supernet_epochs", "distill_loss_weight"} & found


def folder_at(path: Path, *done: str) -> RunFolder:
    folder = RunFolder(path)
    claim(folder, ASKED)
    for stage in done:
        folder.note(stage, seconds=1.0, done=True)
    for stage, name in (("supernet", "supernet"), ("train", "progressive")):
        if stage in done:
            folder.checkpoint(name).parent.mkdir(exist_ok=True)
            folder.checkpoint(name).write_text(stage)
    return folder


SEARCHED = ("profile", "supernet", "search")
FINISHED = (*SEARCHED, "merge", "measure", "report", "train")


@pytest.mark.parametrize(
    ("done", "name", "again"),
    [
        ((), "lr", ()),
        (("profile",), "lr", ()),
        (("profile",), "device", ("profile",)),
        (("profile", "supernet"), "n_trials", ()),
        (SEARCHED, "progressive_epochs", ()),
        (SEARCHED, "n_trials", ("search",)),
        (SEARCHED, "budget_ratio", ("search",)),
        (SEARCHED, "sampler", ("search",)),
        (SEARCHED, "bn_estimation", ("search",)),
        (SEARCHED, "device", ("profile", "search")),
        (SEARCHED, "workers", ()),
        (FINISHED, "progressive_epochs", ("merge", "measure", "report", "train")),
        (FINISHED, "n_trials", FINISHED[2:]),
    ],
)
def test_what_depends_on_a_difference_is_done_again(
    tmp_path: Path, done: tuple[str, ...], name: str, again: tuple[str, ...]
) -> None:
    folder = folder_at(tmp_path, *done)
    asked = with_changes(ASKED, **{name: OTHER[name]})
    assert set(difference(folder, asked).again) == set(again)
    claim(folder, asked)
    assert {stage for stage in done if folder.is_done(stage)} == set(done) - set(again)
    assert flat(RunConfig.load(tmp_path / "args.yaml"))[name] == flat(asked)[name] or (name in MAY_CHANGE)
    assert not difference(folder, asked).words
    assert folder.checkpoint("progressive").exists() == ("train" in done and "train" not in again)


@pytest.mark.parametrize("name", ["lr", "supernet_plans", "finetune_epochs"])
def test_what_a_trained_supernet_depends_on_is_refused(tmp_path: Path, name: str) -> None:
    folder = folder_at(tmp_path, *SEARCHED)
    asked = with_changes(ASKED, **{name: OTHER[name]})
    with pytest.raises(DifferentRunError, match=rf"{name}: .* then, .* now\), which its supernet stage depends on"):
        difference(folder, asked)
    assert all(folder.is_done(stage) for stage in SEARCHED)


def test_a_training_that_was_stopped_in_its_middle_is_not_lost_either(tmp_path: Path) -> None:
    folder = folder_at(tmp_path, "profile")
    folder.checkpoint("supernet").parent.mkdir()
    folder.checkpoint("supernet").write_text("half of it")
    with pytest.raises(DifferentRunError, match=r"lr: 0\.0005 then, 0\.001 now"):
        difference(folder, with_changes(ASKED, lr=1e-3))


def test_a_checkpoint_is_of_one_training(tmp_path: Path) -> None:
    """Of what it depends on nothing may differ, and what it does not depend on may."""

    def identity(stage: str = "supernet", **more: object) -> str:
        run = Run(with_changes(ASKED, **more), RunFolder(tmp_path), tmp_path, Watch(shown=False))
        return run.checkpoint(stage, run.train_settings(1)).identity

    depends_on = {"supernet_sampling": "sandwich", "kd_temperature": 3.0, "choices": "drop", "freeze_backbone": True}
    for name, value in {**depends_on, "finetune_epochs": 1, "smoothing": 0.1, "seed": 1}.items():
        assert identity(**{name: value}) != identity(), name
    for name, value in {"n_trials": 9, "budget_ratio": 0.6, "workers": 2, "progressive_epochs": 3}.items():
        assert identity(**{name: value}) == identity(), name
    chain = Run(ASKED, RunFolder(tmp_path), tmp_path, Watch(shown=False)).chain
    identities = set()
    for choices in ({}, {chain.blocks[0].name: "drop"}):
        (tmp_path / "plan.json").write_text(chain.plan(choices).to_json())
        identities.add(identity("progressive"))
    assert len(identities) == 2, "a plan's training is of that plan"


def test_a_study_is_opened_by_whoever_scores_alike(tmp_path: Path) -> None:
    def opened(**more: object) -> None:
        asked = with_changes(ASKED, study_name="one", **more)
        open_ledger(Run(asked, RunFolder(tmp_path), tmp_path, Watch(shown=False)))

    opened()
    for name, value in {"n_trials": 9, "budget_ratio": 0.6, "sampler": "random", "keep": ("blocks.0",)}.items():
        opened(**{name: value})
    for name, value in {"lr": 1e-3, "mixup": 0.2, "bn_estimation": True, "supernet_sampling": "sandwich"}.items():
        with pytest.raises(StudyMismatchError, match=f"{name}: "):
            opened(**{name: value})


def test_a_run_of_before_there_was_a_choice_was_scored_by_a_supernet(tmp_path: Path) -> None:
    ASKED.save(tmp_path / "args.yaml")
    before = (tmp_path / "args.yaml").read_text().replace("scored_by: supernet\n", "")
    assert "scored_by" not in before
    (tmp_path / "args.yaml").write_text(before)
    assert RunConfig.load(tmp_path / "args.yaml").search.scored_by == "supernet"
