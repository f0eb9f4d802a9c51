"""Scoring many plans at once against one plain pass per plan: the figures, the race, the cache and the cost."""

import copy
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

import rounding
from networks import made, relative_error
from pruner.choices.cheaper_when_merged import cheaper_when_merged
from pruner.choices.choice import DROP, KEEP, MERGE, SEPARABLE, THIN
from pruner.choices.plan import Plan
from pruner.data.images import Batch
from pruner.errors import PlanError
from pruner.models.load import load_model
from pruner.network.calibration import calibrate, estimate_batch_norm
from pruner.network.surgery import Supernet, supernet
from pruner.scoring.evaluator import Evaluator
from pruner.scoring.prefixes import worth_keeping
from pruner.scoring.score import Score, Tally
from pruner.training.accuracy import accuracy

FAMILIES = (
    "deit",
    "basic",
    "inverted residual",
    "convnext, channels last",
    *(
        pytest.param(shape, marks=pytest.mark.grid)
        for shape in (
            "odd width",
            "bottleneck, deep stem",
            "layer scale",
            "pooled, no class token",
            "distilled",
            "grouped",
            "convnext",
        )
    ),
)


def network_of(shape: str, extra_choices: Sequence[str] = ()) -> Supernet:
    """A supernet whose added BatchNorms stand near the norms they replace, and whose answers vary."""
    network = supernet(made(shape, 0), extra_choices)
    with torch.no_grad():
        usual = network.eval()(images(network, 12, seed=8)).mean(dim=0)
        for module in network.modules():
            if isinstance(module, nn.Linear) and module.out_features == len(usual):
                module.bias -= usual
    everywhere = {block.name: MERGE for block in network.chain.blocks if MERGE in block.choices}
    network.select(network.chain.plan(everywhere))
    calibrate(network, [images(network, 12, seed=9)])
    return network.eval()


def images(network: Supernet, count: int, seed: int) -> Tensor:
    return torch.randn(count, *network.chain.input_size, generator=torch.Generator().manual_seed(seed))


def batches_for(network: Supernet, sizes: Sequence[int] = (6, 6, 3)) -> list[Batch]:
    """Labels are what the baseline answers, but for every third one: so that plans differ in accuracy."""
    network.select(Plan(network.chain.model))
    found = []
    for index, size in enumerate(sizes):
        some = images(network, size, seed=index)
        with torch.no_grad():
            labels = network(some).argmax(dim=1)
        labels[::3] = (labels[::3] + 1) % 5
        found.append((some, labels))
    return found


def plans_for(network: Supernet, count: int, seed: int = 0) -> list[Plan]:
    """Random plans, some of them twice, some the same as another up to a late block, and the baseline."""
    random = Random(seed)
    chain = network.chain
    plans = [chain.random_plan(random.random(), random) for _ in range(count)]
    for plan in plans[::3]:
        last = random.choice(chain.blocks[len(chain.blocks) // 2 :])
        plans.append(chain.plan(dict(plan.choices) | {last.name: random.choice(last.choices)}))
    plans += [plans[0], Plan(chain.model)]
    random.shuffle(plans)
    return plans


@dataclass(frozen=True)
class Expected:
    """What one pass for one plan alone comes to, and how far another order of the same sums may be from it in nats."""

    score: Score
    apart: float


@torch.no_grad()
def plainly(network: Supernet, batches: Sequence[Batch], plan: Plan, statistics: Sequence[Tensor] = ()) -> Expected:
    """What one pass for this plan alone comes to."""
    whole, cut = (selected(network, some, statistics) for some in (Plan(plan.model), plan))
    baseline, ours = (torch.cat([one(some) for some, _ in batches]) for one in (whole, cut))
    labels = torch.cat([each for _, each in batches])
    hits = int((ours.argmax(dim=1) == labels).sum())
    nats = float(functional.cross_entropy(ours, labels))
    score = Score(
        value=(hits + math.exp(-nats)) / (len(labels) + 1),
        accuracy=hits / len(labels),
        cross_entropy=nats,
        agreement=float((ours.argmax(dim=1) == baseline.argmax(dim=1)).float().mean()),
        images=len(labels),
    )
    # Both are rounded; and where every logit moves by at most d, a cross-entropy moves by at most 2 d.
    logits = rounding.of_a_network(cut, batches[0][0]) * float(ours.abs().max())
    return Expected(score, 2 * 2 * logits)


def selected(network: Supernet, plan: Plan, statistics: Sequence[Tensor]) -> Supernet:
    network = copy.deepcopy(network)
    network.select(plan)
    if statistics:
        estimate_batch_norm(network, statistics)
    return network.eval()


def assert_same(found: Score, expected: Expected) -> None:
    score = expected.score
    assert (found.accuracy, found.images) == (score.accuracy, score.images)
    assert found.agreement == pytest.approx(score.agreement)
    assert found.cross_entropy == pytest.approx(score.cross_entropy, abs=expected.apart)
    assert found.value == pytest.approx(score.value, abs=expected.apart)
    assert expected.apart < 0.1, "what allows that much tells nothing"


@pytest.mark.parametrize("shape", FAMILIES)
def test_every_figure_is_that_of_one_pass_per_plan(shape: str) -> None:
    network = network_of(shape)
    batches = batches_for(network)
    plans = plans_for(network, 6)
    expected = [plainly(network, batches, plan) for plan in plans]
    assert len({one.score.accuracy for one in expected}) > 1
    evaluate = Evaluator(network, batches)
    for found, score in zip(evaluate(plans), expected, strict=True):
        assert_same(found, score)
    # Later calls start from what was kept, and give the same.
    for start in range(0, len(plans), 5):
        for found, score in zip(evaluate(plans[start : start + 5]), expected[start : start + 5], strict=True):
            assert_same(found, score)


@pytest.mark.parametrize("anew", [False, True])
def test_plans_that_thin_and_narrow_are_scored_as_any_other(anew: bool) -> None:
    network = network_of("deit", ["narrow", THIN])
    batches = batches_for(network)
    statistics = [images(network, 5, seed=seed) for seed in (20, 21)] if anew else []
    plans = plans_for(network, 2)
    told = [name for name in network.chain.thinning if name != "blocks.1.attn"]
    plans += [network.chain.plan(dict(plan.choices) | dict.fromkeys(told, THIN)) for plan in plans[:3]]
    evaluate = Evaluator(network, batches, statistics=statistics or None)
    for some in (plans[::2], plans[1::2]):
        for plan, found in zip(some, evaluate(some), strict=True):
            assert_same(found, plainly(network, batches, plan, statistics))
    assert len({THIN in plan.choices.values() for plan in plans}) == 2


@pytest.mark.parametrize(
    "shape",
    [
        "deit",
        "inverted residual",
        "convnext, channels last",
        pytest.param("grouped", marks=pytest.mark.grid),
        pytest.param("basic", marks=pytest.mark.grid),
    ],
)
def test_statistics_are_taken_anew_for_each_plan(shape: str) -> None:
    network = network_of(shape)
    batches = batches_for(network)
    statistics = [images(network, 5, seed=seed) for seed in (20, 21)]
    plans = plans_for(network, 4)
    expected = {plan: plainly(network, batches, plan, statistics) for plan in set(plans)}
    evaluate = Evaluator(network, batches, statistics=statistics)
    for some in (plans[:3], plans[2:], plans):
        for plan, found in zip(some, evaluate(some), strict=True):
            assert_same(found, expected[plan])
    anew = copy.deepcopy(network)
    anew.select(plans[0])
    estimate_batch_norm(anew, statistics)
    assert expected[plans[0]].score.accuracy == accuracy(anew, batches)


@pytest.mark.parametrize(
    "shape", ["deit", *(pytest.param(shape, marks=pytest.mark.grid) for shape in ("basic", "convnext"))]
)
@pytest.mark.parametrize("with_statistics", [False, True])
def test_a_race_drops_nothing_that_would_have_reached_the_bar(shape: str, with_statistics: bool) -> None:
    network = network_of(shape)
    batches = batches_for(network)
    statistics = [images(network, 5, seed=20)] if with_statistics else None
    plans = plans_for(network, 16)
    evaluate = Evaluator(network, batches, statistics=statistics)
    whole = evaluate(plans)
    random = Random(shape)
    values = sorted(score.value for score in whole)
    bars = [
        values[0],
        *(random.uniform(values[0], values[-1]) for _ in range(4)),
        random.choice(values),
        values[-1],
        1.0,
    ]
    # A new one has the baseline's answers to find beside the race.
    assert Evaluator(network, batches, statistics=statistics)(plans, bars[3]) == evaluate(plans, bars[3])
    dropped = 0
    for bar in bars:
        for raced, full in zip(evaluate(plans, bar), whole, strict=True):
            if raced.images == full.images:
                assert raced == full
            else:
                assert full.value < bar
                assert raced.value < bar
                dropped += 1
    assert dropped


@given(
    batches=st.lists(
        st.tuples(st.integers(1, 130), st.floats(0, 1), st.one_of(st.just(math.nan), st.floats(0, 1e5))), min_size=1
    )
)
def test_the_bound_holds_whatever_is_left(batches: list[tuple[int, float, float]]) -> None:
    tally = Tally(sum(size for size, _, _ in batches))
    on_the_way = []
    for size, share, nats in batches:
        tally.add(size, hits=round(share * size), agreed=0, nats=nats)
        on_the_way.append((tally.bound, tally.score().value))
    for bound, value in on_the_way:
        assert value <= bound
        assert tally.score().value <= bound
    assert tally.score().value == tally.bound


def test_an_answer_that_is_no_number_is_not_right() -> None:
    """The largest of NaNs is the first: unless it is looked for, a broken network answers with the first class."""
    network = network_of("deit")
    broken = network.chain.blocks[1].name
    with torch.no_grad():
        next(parameter for name, parameter in network.named_parameters() if f"{broken}." in name).fill_(math.nan)
    batches = [(images(network, size, seed=size), torch.zeros(size, dtype=torch.int64)) for size in (4, 3)]
    kept, cut = Plan(network.chain.model), network.chain.plan({broken: DROP})
    failed, healthy = Evaluator(network, batches)([kept, cut])
    assert failed == Score(0.0, accuracy=0.0, cross_entropy=None, agreement=0.0, images=7)
    assert healthy.cross_entropy is not None
    assert healthy.value > 0.0


def test_accuracy_comes_first_and_cross_entropy_among_equals() -> None:
    def value(hits: int, nats: float) -> float:
        tally = Tally(10)
        tally.add(10, hits, agreed=0, nats=nats)
        return tally.score().value

    assert value(7, 3.0) > value(7, 3.1) > value(7, 900.0) >= value(7, math.nan) >= value(6, 0.0)


@pytest.mark.parametrize(
    "shape", ["deit", *(pytest.param(shape, marks=pytest.mark.grid) for shape in ("basic", "inverted residual"))]
)
@pytest.mark.parametrize("with_statistics", [False, True])
def test_no_bit_depends_on_what_is_kept_or_asked_together(shape: str, with_statistics: bool) -> None:
    network = network_of(shape)
    batches = batches_for(network)
    statistics = [images(network, size, seed=20 + size) for size in (5, 4)] if with_statistics else None
    plans = plans_for(network, 8)
    alone = [Evaluator(network, batches, statistics=statistics)([plan])[0] for plan in plans]
    evaluations = []
    for cache_bytes in (0, 100_000, 1 << 30):
        evaluate = Evaluator(network, batches, statistics=statistics, cache_bytes=cache_bytes)
        found = [score for start in range(0, len(plans), 4) for score in evaluate(plans[start : start + 4])]
        assert found == alone
        best = plans[max(range(len(plans)), key=lambda index: alone[index].value)]
        assert evaluate([best]) == evaluate([best]) == [max(alone, key=lambda score: score.value)]
        assert evaluate.kept_bytes <= cache_bytes
        evaluations.append(evaluate.cost.block_evaluations)
    assert evaluations[0] >= evaluations[1] >= evaluations[2]
    assert evaluations[0] > evaluations[2]


def test_what_is_kept_is_spread_over_the_depth() -> None:
    path, other = ("a",) * 6, ("a", "a", "b", "b", "b", "b")
    depths = [{len(prefix) for prefix in worth_keeping([path], [10] * 6, capacity)} for capacity in (9, 10, 29, 30, 60)]
    assert depths == [set(), {4}, {3, 6}, {2, 4, 6}, {1, 2, 3, 4, 5, 6}]
    both = worth_keeping([path, other], [10] * 6, 80)
    assert both == {path[:depth] for depth in range(1, 7)} | {other[:4], other}


@pytest.mark.parametrize("shape", ["deit", "basic"])
def test_every_distinct_prefix_is_computed_once(shape: str) -> None:
    network = network_of(shape)
    batches = batches_for(network, sizes=(2, 1))
    blocks = network.chain.blocks[-5:]
    plans = [
        network.chain.plan(dict(zip((block.name for block in blocks), choices, strict=True)))
        for choices in itertools.product(*(block.choices for block in blocks))
    ]
    Random(0).shuffle(plans)
    evaluate = Evaluator(network, batches)
    evaluate(plans)
    expected = len(network.chain.blocks) - len(blocks)
    prefixes = 1
    for block in blocks:
        expected += prefixes * sum(choice != DROP for choice in block.choices)
        prefixes *= len(block.choices)
    assert evaluate.cost.block_evaluations == 3 * expected
    run = sum(
        network.chain.counts(plan)[choice] for plan in plans for choice in network.chain.counts(plan) if choice != DROP
    )
    assert evaluate.cost.plain_block_evaluations == 3 * run
    assert (evaluate.cost.plans, evaluate.cost.dropped) == (len(plans), 0)


def test_all_subsets_of_twelve_blocks_cost_two_runs_a_block_and_subset() -> None:
    network = supernet(load_model("deit_digits", pretrained=True))
    names = [block.name for block in network.chain.blocks if MERGE in block.choices]
    shortest = names[-7:]
    plans = [
        network.chain.plan(dict(zip(shortest, choices, strict=True)))
        for choices in itertools.product((KEEP, MERGE), repeat=len(shortest))
    ]
    evaluate = Evaluator(network, [(images(network, 1, seed=0), torch.zeros(1, dtype=torch.int64))])
    evaluate(plans)
    in_front = 2 * (len(names) - len(shortest))
    assert evaluate.cost.block_evaluations == in_front + sum(2**index + 2 ** (index + 1) for index in range(7))


@pytest.mark.parametrize("with_statistics", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_the_network_is_left_as_it_was_found(with_statistics: bool, training: bool) -> None:
    class StoppedError(Exception):
        """Stands for whatever ends an evaluation."""

    def stop(done: int, total: int, note: str) -> None:
        assert total == 3 * len(set(plans))
        if done == total // 2:
            raise StoppedError

    network = network_of("inverted residual")
    batches = batches_for(network)
    plans = plans_for(network, 6)
    network.select(plans[0], lam=0.25)
    network.train(training)
    next(iter(network.sites.values())).eval()
    weights = copy.deepcopy(network.state_dict())
    modes = [module.training for module in network.modules()]
    statistics = [images(network, 5, seed=20)] if with_statistics else None
    evaluate = Evaluator(network, batches, statistics=statistics)
    evaluate(plans)
    with pytest.raises(StoppedError):
        Evaluator(network, batches, statistics=statistics)(plans, progress=stop)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert all(norm.momentum is not None for norm in network.modules() if isinstance(norm, nn.BatchNorm2d))
    for name, site in network.sites.items():
        choice = plans[0].choice_of(name)
        assert (site.choice, site.lam) == (choice, 1.0 if choice == KEEP else 0.25)


def test_a_stopped_evaluator_goes_on_as_if_nothing_had_happened() -> None:
    network = network_of("inverted residual")
    batches = batches_for(network)
    plans = plans_for(network, 6)
    statistics = [images(network, 5, seed=20)]
    evaluate = Evaluator(network, batches, statistics=statistics)
    first = evaluate(plans[:3])
    for step in range(1, 6):

        def stop(done: int, total: int, note: str, step: int = step) -> None:
            if done == step:
                raise InterruptedError

        with pytest.raises(InterruptedError):
            evaluate(plans, progress=stop)
    assert evaluate(plans) == Evaluator(network, batches, statistics=statistics)(plans)
    assert evaluate(plans[:3]) == first


def test_what_cannot_be_evaluated_is_refused() -> None:
    network = network_of("deit")
    batches = batches_for(network, sizes=(2,))
    evaluate = Evaluator(network, batches)
    assert evaluate([]) == []
    assert evaluate.cost.plans == 0
    with pytest.raises(PlanError, match="this plan is for another"):
        evaluate([Plan("another")])
    with pytest.raises(PlanError, match="no block"):
        evaluate([Plan(network.chain.model, {"blocks.99.mlp": MERGE})])
    with pytest.raises(ValueError, match="no images to score"):
        Evaluator(network, [])
    with pytest.raises(ValueError, match="no images to take"):
        Evaluator(network, batches, statistics=[])


def test_a_wide_ffn_is_run_as_the_one_linear_it_merges_to() -> None:
    network = network_of("deit")
    plan = network.chain.plan({block.name: MERGE for block in network.chain.blocks if MERGE in block.choices})
    ran = []
    for name, module in network.named_modules():
        if name.endswith("fc1"):
            # Multiplications are counted by runs on tensors without values: these are no work.
            module.register_forward_hook(lambda _module, _inputs, y, name=name: ran.extend([name] * (not y.is_meta)))
    batches = batches_for(network, sizes=(2,))
    statistics = [images(network, 5, seed=20)]
    ran.clear()
    evaluate = Evaluator(network, batches)
    evaluate([plan])
    assert len(ran) == 3  # for the baseline's own answers alone
    Evaluator(network, batches, statistics=statistics)([plan])
    # The baseline's path once more, on statistics and on images; what is merged is trained as one linear.
    assert len(ran) == 3 + 2 * 3


@pytest.mark.parametrize(
    ("shape", "choice", "expected"),
    [
        ("deit", MERGE, True),
        ("deit", DROP, False),
        ("deit", KEEP, False),
        ("convnext", MERGE, False),
        ("convnext", SEPARABLE, True),
        ("bottleneck, deep stem", MERGE, False),
    ],
)
def test_the_lighter_of_two_ways_is_taken(shape: str, choice: str, expected: bool) -> None:
    network = network_of(shape)
    site = [site for site in network.sites.values() if choice in site.block.choices][-1]
    seen: list[Tensor] = []
    hook = site.register_forward_pre_hook(lambda _site, inputs: seen.append(inputs[0]))
    some = images(network, 3, seed=1)
    network.select(network.chain.plan({site.block.name: choice}))
    with torch.no_grad():
        network(some)
        hook.remove()
        merged = cheaper_when_merged(site, choice, seen[0].shape[1:])
        assert (merged is not None) == expected
        if merged is not None:
            assert relative_error(merged(seen[0]), site(seen[0])) <= 2 * rounding.of_a_network(merged, seen[0])
