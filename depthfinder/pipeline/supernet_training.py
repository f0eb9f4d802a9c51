"""Prepares the training of the supernet: its BatchNorms, its fitted layers, and the plans that a step trains."""

from depthfinder.config.train import SupernetConfig
from depthfinder.console import log
from depthfinder.pipeline.trainer import Trainer
from pruner.choices.chain import Chain
from pruner.choices.choice import MERGE, OWN_WEIGHTS
from pruner.fitting.at_once import fit_own_layers
from pruner.network.surgery import Supernet
from pruner.training.progressive import calibrate_norms
from pruner.training.supernet import Draw, RandomPlans, Sandwich, freeze_backbone, trainable


def prepare(trainer: Trainer, network: Supernet, *, goes_on: bool = False) -> None:
    """Makes a supernet ready to be trained, in place.

    Its BatchNorms are calibrated so that it begins near the baseline. Its layers with weights of their own are fitted.

    Args:
        trainer: How it is trained.
        network: The network, on the device that it is trained on.
        goes_on: Whether a checkpoint has its weights already, so that no layer need be fitted.
    """
    blocks = network.chain.blocks
    everywhere = network.chain.plan({block.name: MERGE for block in blocks if MERGE in block.choices})
    calibrate_norms(network, everywhere, trainer.data, trainer.settings(trainer.asked.supernet_epochs))
    offered = {choice for block in blocks for choice in block.choices}
    if not offered.isdisjoint(OWN_WEIGHTS) and not goes_on:
        images = trainer.images_without_labels()
        count = sum(map(len, images))
        log.info("fitting what has weights of its own, on %s images without labels", f"{count:,}")
        fit_own_layers(network, (some.to(trainer.device) for some in images), count, trainer.progress)
    if trainer.asked.freeze_backbone:
        freeze_backbone(network)
        log.info("training %d of the supernet's weights: new BatchNorms and biases", trainable(network))


def drawing(asked: SupernetConfig, chain: Chain) -> Draw:
    """Returns what draws the plans of a step: random ones, with "sandwich" beside the plan that cuts most."""
    between = RandomPlans(chain, asked.supernet_plans)
    return Sandwich(chain, between) if asked.supernet_sampling == "sandwich" else between
