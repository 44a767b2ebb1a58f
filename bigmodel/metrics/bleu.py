"""How close translations are to their references."""

from __future__ import annotations

from collections.abc import Sequence

from bigmodel.data.tokenizers import is_chinese


def bleu_and_chrf(answers: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Corpus BLEU (Papineni et al. 2002) and chrF (Popović 2015) by sacrebleu, 0 to 100, of answers[i] against
    references[i]; Chinese is compared character by character."""
    import sacrebleu

    tokenize = "zh" if is_chinese(references) else "13a"
    return {
        "bleu": sacrebleu.corpus_bleu(answers, [references], tokenize=tokenize).score,
        "chrf": sacrebleu.corpus_chrf(answers, [references]).score,
    }
