"""Settings of the search: which plans are allowed, what scores them, and how they are searched for."""

from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.dataclasses import dataclass

from depthfinder.config.known import one_of
from depthfinder.config.words import known_widths, shares_of
from depthfinder.strategies import STRATEGIES
from profiles.option import CHECKED, Option
from pruner.choices.choice import DROP, FITS, FOLDS
from search.storage.url import redacted

GATE_FORM_NAMES: Final = ("knapsack", "shift")
SCORED_BY: Final = ("supernet", "fits")


def _without_password(storage: str | None) -> str | None:
    """The URL without its password, because settings are written to files and printed."""
    return None if storage is None else redacted(storage)


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class OfferConfig:
    """The inner widths that blocks offer beside their other choices."""

    PANEL: ClassVar = "Search"

    widths: Annotated[
        str,
        Option("Inner widths that blocks may be given, of 75, 50 and 25 % of their own; none for none of them."),
        BeforeValidator(str),
        AfterValidator(known_widths),
    ] = "75,50,25"

    @property
    def shares(self) -> tuple[str, ...]:
        """The choices of the inner widths that were asked for, such as `narrow-50`."""
        return shares_of(self.widths)


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class LimitConfig(OfferConfig):
    """The limits of plans beside their latency."""

    keep: Annotated[
        tuple[str, ...],
        Option("A block to leave alone, or a path that blocks lie under; may be given again.", typed_as=list[str]),
    ] = ()
    choices: Annotated[str | None, Option("The only ways blocks may be cut in, such as merge,drop.")] = None
    max_pruned: Annotated[int | None, Option("The most blocks that may be cut."), Field(ge=1)] = None
    keep_one_per_stage: Annotated[bool, Option("Leave at least one block of every stage as it is.")] = False
    max_parameters: Annotated[float | None, Option("The most parameters the network may have."), Field(gt=0)] = None
    max_memory_mb: Annotated[
        float | None, Option("The most memory its weights may take, in MB of 10^6 bytes."), Field(gt=0)
    ] = None


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class FitConfig(LimitConfig):
    """The number of images that layers are fitted on."""

    fit_images: Annotated[
        int, Option("Images that layers are fitted on; a fifth of them judges the fits."), Field(ge=5)
    ] = 1024


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class ScoringConfig(FitConfig):
    """The way of scoring plans."""

    scored_by: Annotated[
        str,
        Option(
            "What plans are scored by: fits, layers fitted to the blocks on images without labels, or supernet, a "
            "weight-sharing network that is trained first.",
            default_text="fits, unless the strategy learns with a supernet or something is asked of one",
        ),
        AfterValidator(one_of("way of scoring plans", SCORED_BY)),
    ] = "fits"
    bn_estimation: Annotated[bool, Option("Take BatchNorm statistics anew for every plan that is evaluated.")] = False


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class StrategyConfig(ScoringConfig):
    """The strategy that finds a plan."""

    strategy: Annotated[
        str,
        Option(
            "How the plan is found: optuna evaluates many; gate learns gates with the supernet; scores and dimap solve "
            "exactly for the scores of single cuts, or for an importance of weights that needs no data."
        ),
        AfterValidator(one_of("strategy", STRATEGIES)),
    ] = "optuna"
    gate_form: Annotated[
        str,
        Option("The form of the gate: knapsack or shift."),
        AfterValidator(one_of("form of the gate", GATE_FORM_NAMES)),
    ] = "knapsack"


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class SearchConfig(StrategyConfig):
    """All settings of a search."""

    sampler: Annotated[
        str,
        Option(
            "What proposes plans: prefix, which learns and prefers plans that begin like others, for they are scored "
            "together; auto, the same without that; tpe, gp, nsga2, random or exhaustive."
        ),
    ] = "prefix"
    n_trials: Annotated[int, Option("Plans to evaluate."), Field(ge=1)] = 128
    gap: Annotated[
        float,
        Option("Stop when no plan is held to be better by more than this share of the best score."),
        Field(ge=0),
    ] = 0.0
    timeout: Annotated[
        float | None, Option("Seconds after which no more plans are evaluated.", changes_nothing=True), Field(gt=0)
    ] = None
    workers: Annotated[
        int, Option("Processes that evaluate plans on this machine.", changes_nothing=True), Field(ge=1)
    ] = 1
    storage: Annotated[
        str | None,
        Option(
            "Where the study is kept: sqlite:///FILE, journal:///FILE or, for many machines, postgresql://USER@HOST/DB."
        ),
        AfterValidator(_without_password),
    ] = None
    study_name: Annotated[str | None, Option("Name of the study; by default that of the run's folder.")] = None

    @property
    def named_choices(self) -> tuple[str, ...] | None:
        """The choices that `--choices` allows; None where it is not given."""
        return None if self.choices is None else tuple(choice.strip() for choice in self.choices.split(","))

    @property
    def by_fits(self) -> bool:
        """Whether plans are scored by layers that are fitted in the blocks' places, so that no supernet is trained."""
        return self.scored_by == "fits"

    @property
    def cut_choices(self) -> tuple[str, ...] | None:
        """The choices that cuts may take; None for all that are offered.

        They are those that `--choices` names. Without it, a supernet scores all that are offered, and fits score
        narrower blocks, fitted layers, folds and `drop`.
        """
        by_default = (*self.shares, *FITS, *FOLDS, DROP) if self.by_fits else None
        return by_default if self.named_choices is None else self.named_choices

    @property
    def extra_choices(self) -> tuple[str, ...]:
        """The choices on request that blocks are to offer.

        They are those that `--choices` names. Without it, they are narrower blocks, and fitted layers where plans are
        scored by fits; none with a strategy that cannot judge new weights.
        """
        if self.named_choices is not None:
            return self.named_choices
        if not STRATEGIES[self.strategy].knows_new_weights:
            return ()
        return (*self.shares, *FITS) if self.by_fits else self.shares
