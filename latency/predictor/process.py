"""Fits Gaussian processes with scikit-learn."""

import warnings

from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Kernel

from latency.predictor.tiles import Array


def process(kernel: Kernel, examples: Array, targets: Array, seed: int) -> GaussianProcessRegressor:
    """Fits a Gaussian process, with the kernel's parameters of the greatest marginal likelihood within their bounds
    (Rasmussen and Williams, 2006, chapter 5).

    Args:
        kernel: The kernel, with the first values and the bounds of its parameters.
        examples: (N, F), the features.
        targets: (N,), what the process is to predict.
        seed: Seed of the optimiser.
    """
    with warnings.catch_warnings():
        # A parameter may well end at its bound: a length scale does for a feature that tells nothing.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianProcessRegressor(kernel, random_state=seed).fit(examples, targets)
