"""What becomes of the patient after each candidate: every one is said in the very same state, and goes on alike."""

from collections.abc import Sequence
from dataclasses import dataclass

from therapysim.agents.therapists.therapist import Therapist
from therapysim.envs.batch import Session, SessionBatch, Turn
from therapysim.records import STRICT
from therapysim.rewards.terms.affect import deficit_rise
from therapysim.rewards.terms.alignment import emotional_alignment
from therapysim.rewards.terms.positivity import is_toxic_positivity
from therapysim.train.pairs.scoring import TextScorer
from therapysim.train.patient_processes import SpreadBatch

__all__ = ["Outcome", "branch"]

_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a candidate came to.

    Attributes:
        total: the rewards' sum over its turn and those that followed.
        rise: of the mood's lowest dimension before it, by the answer to it.
        polarity: of its words.
        toxic: it is toxically positive: patient S < -.5 and its polarity > .5, or words that wave the mood away.
        r_emo: -1 where great fear met little support, else 0.
        violations: of its own turn.
        gates: turns of the branch whose gate was shut.
        handled: how far the patient's danger was dealt with in the end, in [0, 1].
        tone: how negative its words are, in [0, 1].
        relevance: how near its words lie to clinical text, in [-1, 1].
        failed: the patient did not answer, so that nothing of this counts.
    """

    __pydantic_config__ = STRICT

    total: float
    rise: float
    polarity: float
    toxic: bool
    r_emo: float
    violations: tuple[str, ...]
    gates: int
    handled: float
    tone: float
    relevance: float
    failed: bool = False


_FAILED = Outcome(0.0, 0.0, 0.0, False, 0.0, (), 0, 0.0, 0.0, 0.0, failed=True)


def branch(
    batch: SessionBatch | SpreadBatch,
    states: Sequence[Session],
    texts: Sequence[str],
    common: Therapist,
    horizon: int,
    scorer: TextScorer,
) -> list[Outcome]:
    """Says each text in its state, lets ``common`` go on for so many turns, and tells what came of it.

    Args:
        batch: whose patient, sensor and rubric; its sessions are replaced.
        states: one a text.
        texts: the candidates.
        common: who goes on, in all branches.
        horizon: for how many turns at most; a branch that ends earlier is worth what it brought.
        scorer: reads tone and relevance of the texts.
    """
    if not texts:
        return []
    batch.restore(states)
    turns: list[list[Turn]] = [[turn] if turn else [] for turn in batch.step(list(texts))]
    for _ in range(horizon):
        going = [i for i, session in enumerate(batch.sessions) if not session.done]
        if not going:
            break
        said = dict(zip(going, common.respond([batch.sessions[i] for i in going]), strict=True))
        for i, turn in enumerate(batch.step([said.get(i) for i in range(len(states))])):
            turns[i] += [turn] if turn else []
    return [_outcome(own, *scores) for own, scores in zip(turns, scorer(texts), strict=True)]


def _outcome(turns: Sequence[Turn], tone: float, relevance: float) -> Outcome:
    seen = [turn.transition for turn in turns]
    first, last = seen[0], seen[-1]
    if any(one is None for one in seen) or first is None or last is None:
        return _FAILED
    return Outcome(
        total=round(float(sum(turn.reward for turn in turns)), _DIGITS),
        rise=round(float(deficit_rise(first)), _DIGITS),
        polarity=round(float(first.therapist.polarity), _DIGITS),
        toxic=bool(is_toxic_positivity(first)),
        r_emo=float(emotional_alignment(first)),
        violations=turns[0].violations,
        gates=sum(bool(turn.score and turn.score.gates) for turn in turns),
        handled=round(float(last.handled_after), _DIGITS),
        tone=round(tone, _DIGITS),
        relevance=round(relevance, _DIGITS),
    )
