"""Closed forms that the simulator must meet: a file a task, every name here."""

from jaxcollapse.theory.categorical import (
    categorical_absorption_time,
    categorical_heterozygosity,
    categorical_metric,
    categorical_squared_error,
    categorical_survivors,
)
from jaxcollapse.theory.gaussian import (
    GAUSSIAN_MEAN_ERROR,
    GAUSSIAN_VARIANCE,
    gaussian_accumulate_mean_error,
    gaussian_accumulate_subsample_mean_error,
    gaussian_accumulate_subsample_variance,
    gaussian_accumulate_variance,
    gaussian_accumulate_variance_limit,
    gaussian_first_fit_kl,
    gaussian_fixed_real_mean_error,
    gaussian_fresh_real_mean_error,
    gaussian_metric,
    gaussian_replace_det_ratio,
    gaussian_replace_log_det_drift,
    gaussian_replace_log_variance_drift,
    gaussian_replace_mean_error,
    gaussian_replace_variance,
    gaussian_replace_wasserstein2_squared,
)
from jaxcollapse.theory.kde import kde_metric, kde_replace_pool_variance, kde_second_moment
from jaxcollapse.theory.linear_regression import regression_error
from jaxcollapse.theory.mixtures import mixture_mean_error
from jaxcollapse.theory.workflows import share_of_real_data

__all__ = [
    "GAUSSIAN_MEAN_ERROR",
    "GAUSSIAN_VARIANCE",
    "categorical_absorption_time",
    "categorical_heterozygosity",
    "categorical_metric",
    "categorical_squared_error",
    "categorical_survivors",
    "gaussian_accumulate_mean_error",
    "gaussian_accumulate_subsample_mean_error",
    "gaussian_accumulate_subsample_variance",
    "gaussian_accumulate_variance",
    "gaussian_accumulate_variance_limit",
    "gaussian_first_fit_kl",
    "gaussian_fixed_real_mean_error",
    "gaussian_fresh_real_mean_error",
    "gaussian_metric",
    "gaussian_replace_det_ratio",
    "gaussian_replace_log_det_drift",
    "gaussian_replace_log_variance_drift",
    "gaussian_replace_mean_error",
    "gaussian_replace_variance",
    "gaussian_replace_wasserstein2_squared",
    "kde_metric",
    "kde_replace_pool_variance",
    "kde_second_moment",
    "mixture_mean_error",
    "regression_error",
    "share_of_real_data",
]
