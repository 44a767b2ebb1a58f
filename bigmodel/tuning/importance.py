"""How much each setting of a study matters, by PED-ANOVA. For a worker: Optuna imports scikit-learn for it, which must not stay in the server's memory.

Watanabe et al. 2023, 'PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces'.
"""

from __future__ import annotations

from bigmodel.tuning.study import StudyFolder, import_optuna

MIN_TRIALS = 6  # below that everything is chance


def weigh_settings(folder: StudyFolder) -> dict[str, float]:
    """Name -> share of 1, the largest first. Pruned trials count with the last value they had: most of a pruned search
    would be left out otherwise."""
    optuna, spec = import_optuna(), folder.spec()
    from optuna.importance import get_param_importances

    measured = optuna.create_study(direction="maximize" if spec.metric.higher_is_better else "minimize")
    for trial in folder.open(spec).get_trials(deepcopy=False):
        if trial.state.name in ("COMPLETE", "PRUNED") and trial.value is not None:
            measured.add_trial(
                optuna.trial.create_trial(params=trial.params, distributions=trial.distributions, value=trial.value)
            )
    return dict(get_param_importances(measured))
