"""Supernets with gates: what a mixture computes, what a step saves, which block the gates let go, and resuming."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from networks import images_for, made
from pruner.choices.choice import DROP, KEEP, MERGE
from pruner.choices.plan import Plan
from pruner.data.digits import DigitScenes
from pruner.errors import SettingsError
from pruner.gates.gated import GateCosts, GatedSupernet
from pruner.gates.latency_gates import GATE_FORMS, KNAPSACK
from pruner.gates.objective import Annealing, GateObjective
from pruner.models.checkpoint import CheckpointFile
from pruner.network.surgery import describe
from pruner.progress import silent
from pruner.training.loop import fit
from pruner.training.settings import TrainSettings
from pruner.training.supernet import freeze_backbone
from pruner.training.train_step import TrainStep

DATA = DigitScenes(train_images=64, calibration_images=40, test_images=40)


def costs_of(model: nn.Module, needed_ms: float = 2.0) -> GateCosts:
    """Every block a gate: to merge saves half of what to drop saves, and later blocks save more."""
    blocks = enumerate(describe(model).blocks)
    saved = {
        block.name: {KEEP: 0.0} | {c: (0.5 if c == MERGE else 1.0) * (1 + place / 10) for c in block.choices[1:]}
        for place, block in blocks
    }
    return GateCosts(saved, needed_ms)


def gated(shape: str, needed_ms: float = 2.0) -> GatedSupernet:
    model = made(shape, seed=0)
    return GatedSupernet(model, costs_of(model, needed_ms)).eval()


def one_hot(network: GatedSupernet, plan: Plan) -> Tensor:
    rows = network.costs.saved_ms.items()
    return torch.stack(
        [torch.tensor([float(plan.choice_of(name) == c) for c in [*saved, ""][:3]]) for name, saved in rows]
    )


@pytest.mark.parametrize("shape", ["digits", "layer scale"])
def test_gates_that_are_decided_are_a_plan(shape: str) -> None:
    network = gated(shape)
    images = images_for(made(shape, seed=0), torch.float32)
    blocks = [block.name for block in network.chain.blocks]
    plan = Plan(network.chain.model, {blocks[0]: DROP, blocks[1]: MERGE, blocks[4]: DROP, blocks[5]: DROP})
    network.mix(one_hot(network, plan))
    mixed = network(images)
    network.select(plan)
    assert torch.equal(mixed, network(images))


def test_a_mixture_is_the_mean_of_what_the_choices_compute() -> None:
    network = gated("digits")
    site = network.sites["blocks.1.mlp"]
    x = torch.randn(2, 17, 24, generator=torch.Generator().manual_seed(1))
    each = {}
    for choice in (KEEP, MERGE, DROP):
        site.select(choice, 1.0 if choice == KEEP else 0.0)
        each[choice] = site(x)
    shares = torch.tensor([0.5, 0.2, 0.3], requires_grad=True)
    site.mix(dict(zip((KEEP, MERGE, DROP), shares, strict=True)))
    y = site(x)
    torch.testing.assert_close(y, 0.5 * each[KEEP] + 0.2 * each[MERGE] + 0.3 * each[DROP])
    y.sum().backward()
    assert shares.grad is not None
    torch.testing.assert_close(shares.grad, torch.stack([each[c].sum() for c in (KEEP, MERGE, DROP)]))


@pytest.mark.parametrize("form", GATE_FORMS)
def test_every_step_saves_what_it_has_to(form: str) -> None:
    network = gated("digits", needed_ms=3.0)
    annealing = Annealing(form)
    objective = GateObjective(network, annealing)
    saved: list[float] = []
    mix = network.mix

    def noted(gates: Tensor) -> None:
        rows = network.costs.saved_ms.values()
        by_block = zip(gates.tolist(), rows, strict=True)
        saved.append(sum(z * ms for row, of in by_block for z, ms in zip(row, of.values(), strict=False)))
        mix(gates)

    network.mix = noted  # type: ignore[method-assign]
    ((images, labels),) = DATA.train_batches(epoch=0, batch_size=64, seed=0)
    with torch.no_grad():
        network.masks["scores"].normal_(generator=torch.Generator().manual_seed(0))
    for step in range(10):
        objective(images, labels, TrainStep(step, 10, 0))
    asked = [3.0 * annealing.share_saved(step / 10) for step in range(10)]
    assert saved == pytest.approx(asked, abs=1e-5)
    assert saved[0] == pytest.approx(0.3, abs=1e-5)
    assert saved[5:] == pytest.approx([3.0] * 5, abs=1e-5)


def test_temperatures_fall_by_the_same_factor() -> None:
    annealing = Annealing(hottest=1.0, coldest=0.01)
    assert [annealing.tau(share) for share in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.1, 0.01])


@pytest.mark.parametrize("form", GATE_FORMS)
@pytest.mark.parametrize("idle", range(4))
def test_gates_let_go_what_is_not_missed(form: str, idle: int) -> None:
    """One FFN adds nothing, so that nothing is lost with it; the network is sure of its answers, so that whatever else
    goes is missed."""
    model = made("digits", seed=0).eval()
    with torch.no_grad():
        for parameter in model.get_submodule(f"blocks.{idle}.mlp.fc2").parameters():
            parameter.zero_()
        model.get_parameter("head.weight").mul_(30)
    images = images_for(model, torch.float32)
    answers = model(images).argmax(1)
    saved = {f"blocks.{index}.mlp": {KEEP: 0.0, DROP: 1.0} for index in range(4)}
    network = GatedSupernet(model, GateCosts(saved, 1.0)).eval()
    objective = GateObjective(network, Annealing(form), distill_loss_weight=20)
    optimizer = torch.optim.Adam(network.masks.parameters(), lr=0.05)
    for step in range(40):
        optimizer.zero_grad()
        objective(images, answers, TrainStep(step, 40, 0)).backward()
        optimizer.step()
    gains = network.gains(GATE_FORMS[form], 0.02)
    assert {cut for cut, gain in gains.items() if gain > 0} == {(f"blocks.{idle}.mlp", DROP)}


def test_two_epochs_and_two_are_four_bit_for_bit(tmp_path: Path) -> None:
    def trained(folder: str, stop_after: int | None) -> dict[str, Tensor]:
        def progress(done: int, total: int, note: str) -> None:
            if done == stop_after:
                raise InterruptedError

        network = gated("digits")
        settings = TrainSettings(epochs=4, batch_size=32)
        file = CheckpointFile(tmp_path / folder, "gate")
        try:
            fit(GateObjective(network, Annealing()), DATA, settings, file, progress)
        except InterruptedError:
            again = gated("digits")
            fit(GateObjective(again, Annealing()), DATA, settings, file, silent)
            return dict(again.state_dict())
        return dict(network.state_dict())

    whole, in_parts = trained("whole", None), trained("parts", 4)
    assert whole.keys() == in_parts.keys()
    assert all(torch.equal(tensor, in_parts[name]) for name, tensor in whole.items())
    assert whole["masks.scores"].abs().max() > 0.01


def test_scores_learn_where_the_backbone_is_frozen() -> None:
    network = gated("digits")
    freeze_backbone(network)
    assert network.masks["scores"].requires_grad
    assert not network.get_parameter("network.head.weight").requires_grad


def test_gains_are_by_how_much_a_gate_would_rather_cut() -> None:
    network = gated("digits", needed_ms=2.0)
    with torch.no_grad():
        network.masks["scores"][3, 2] = 1.5
    gains = network.gains(KNAPSACK, 0.1)
    gates = network.gates(KNAPSACK, 2.0, 0.1).detach().double()
    names = list(network.costs.saved_ms)
    for (name, choice), gain in gains.items():
        row, place = gates[names.index(name)], list(network.costs.saved_ms[name]).index(choice)
        assert float(torch.log(row[place] / row[0])) == pytest.approx(gain / 0.1, abs=1e-3)
    assert max(gains, key=gains.__getitem__) == (names[3], DROP)


def test_nothing_to_save_is_nothing_to_decide() -> None:
    with pytest.raises(ValueError, match="nothing for gates to decide"):
        GatedSupernet(made("digits", seed=0), GateCosts({}, 1.0))


def test_what_there_is_not_is_refused() -> None:
    with pytest.raises(SettingsError, match="no form of the gate is called 'sieve'; there are: knapsack, shift"):
        Annealing("sieve")
    with pytest.raises(SettingsError, match="temperatures fall"):
        Annealing(hottest=0.01, coldest=1.0)
