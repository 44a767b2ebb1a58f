"""How close translations are to their references."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bigmodel.core.contracts import Metric
from bigmodel.core.words import _
from bigmodel.data.tokenizers import is_chinese
from bigmodel.metrics.row_metric import Records, RowMetric, Values, additive

if TYPE_CHECKING:
    import numpy as np


def bleu_and_chrf(answers: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Corpus BLEU (Papineni et al. 2002) and chrF (Popović 2015) by sacrebleu, 0 to 100, of answers[i] against
    references[i]; Chinese is compared character by character."""
    import sacrebleu

    tokenize = "zh" if is_chinese(references) else "13a"
    return {
        "bleu": sacrebleu.corpus_bleu(answers, [references], tokenize=tokenize).score,
        "chrf": sacrebleu.corpus_chrf(answers, [references]).score,
    }


CHRF_PP = Metric(
    "chrf_pp",
    _("chrF++"),
    _("chrF that also counts words and pairs of words; follows people's judgement a little closer."),
)
TER = Metric(
    "ter",
    _("TER"),
    _("How many edits would turn the translation into the reference, for each hundred words of it; lower is better."),
    higher_is_better=False,
)
LENGTH_RATIO = Metric(
    "length_ratio",
    _("Length ratio"),
    _("How long the translations are beside the references; near 1 is good, below it something is left out."),
)


def translation_row_metrics(named: Sequence[Metric]) -> tuple[RowMetric, ...]:
    """Of records with `answer` and `reference`, by sacrebleu. named: the task's own metrics, of which chrf and bleu."""
    words = {metric.name: metric for metric in named} | {CHRF_PP.name: CHRF_PP, TER.name: TER}
    scored = (_by_sacrebleu(words[name], scorer) for name, scorer in SCORERS.items())
    return (*scored, additive(LENGTH_RATIO, _lengths, lambda sums: sums[:, 0] / sums[:, 1]))


def signatures(records: Records) -> dict[str, str]:
    """What a figure must be quoted with (Post 2018), by name of the metric."""
    told = {}
    for name, make in SCORERS.items():
        scorer = make(records)
        scorer.corpus_score([""], [[""]])  # which tells it how many references there are
        told[name] = str(scorer.get_signature())
    return told


def _chrf(_records: Records) -> Any:
    from sacrebleu.metrics import CHRF

    return CHRF()


def _chrf_pp(_records: Records) -> Any:
    from sacrebleu.metrics import CHRF

    return CHRF(word_order=2)


def _bleu(records: Records) -> Any:
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize="zh" if is_chinese(records["reference"]) else "13a")


def _ter(records: Records) -> Any:
    from sacrebleu.metrics import TER as TranslationEditRate

    return TranslationEditRate(asian_support=is_chinese(records["reference"]))


SCORERS: Mapping[str, Callable[[Records], Any]] = {"chrf": _chrf, "bleu": _bleu, "chrf_pp": _chrf_pp, "ter": _ter}


def _by_sacrebleu(metric: Metric, scorer: Any) -> RowMetric:
    """A corpus score from the sums of what sacrebleu counts in each sentence, as its own significance tests do."""

    def bind(records: Records) -> Values:
        import numpy as np

        score = scorer(records)
        counts = np.asarray(score._extract_corpus_statistics(list(records["answer"]), [list(records["reference"])]))
        return lambda weights: np.asarray(
            [score._compute_score_from_stats(list(sums)).score for sums in weights @ counts]
        )

    return RowMetric(metric, bind)


def _lengths(records: Records) -> np.ndarray:
    """(rows, 2): characters of the answer and of the reference."""
    import numpy as np

    return np.asarray([(len(a), len(b)) for a, b in zip(records["answer"], records["reference"], strict=True)], float)
