"""SkyRL: a session as an environment of ``skyrl_gym``.

    from therapysim.train.connect import skyrl

    skyrl.register(patient="scripted", rubric="grpo")
    Path("train.jsonl").write_text("".join(json.dumps(row) + "\\n" for row in skyrl.rows(2000)))

The trainer makes an environment for each trajectory, from a row of its data and its own ``generator.max_turns``. The
row's prompt is a placeholder: ``init`` puts the system prompt and the patient's first words in its place, just as a
benchmark shows them. What a turn earned comes with its step, and SkyRL puts it on that turn's last token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import skyrl_gym
from skyrl_gym.envs.base_text_env import BaseTextEnv, BaseTextEnvStepOutput
from skyrl_gym.envs.registration import registry

from therapysim.agents.therapists.therapist import SYSTEM_PROMPT, conversation
from therapysim.envs.batch import Session, SessionBatch, SessionConfig, Start
from therapysim.errors import ConfigError
from therapysim.train.connect.retrying import begin, take

__all__ = ["ENV", "TINY", "TherapyEnv", "register", "rows"]

#: What rows call the environment.
ENV = "therapysim"
#: Told where a turn earned exactly nothing: a reward of 0 would not show where that turn ends.
TINY = 1e-12


class TherapyEnv(BaseTextEnv):
    """One session; the policy is the therapist.

    Args:
        env_config: SkyRL's own, not used.
        extras: of the row: ``seed``, ``persona``, ``split``, ``vary`` as of ``Start``; ``max_turns`` of the trainer.
        config: settings of the session.
        patient, rubric: by name, as ``SessionBatch`` takes them; environments of a process share a patient.
        show_state: whether the policy reads the state header.
        retries: how often a patient that failed is asked for the same turn again, before the session ends as failed.

    Raises:
        ConfigError, PersonaError: the row names no seed, or a patient that there is not.
    """

    def __init__(
        self,
        env_config: Any = None,
        extras: Mapping[str, Any] | None = None,
        *,
        config: SessionConfig | None = None,
        patient: str = "scripted",
        rubric: str = "grpo",
        show_state: bool = True,
        retries: int = 2,
    ) -> None:
        super().__init__()
        row, own = dict(extras or {}), config or SessionConfig()
        self.max_turns = int(row.get("max_turns") or own.max_turns)
        self.start, self.show_state, self.retries = _start(row), show_state, retries
        self.batch = SessionBatch(replace(own, max_turns=self.max_turns), patient=patient, rubric=rubric)
        self.rewards: list[float] = []

    @property
    def session(self) -> Session:
        """The session as it stands."""
        return self.batch.sessions[0]

    def init(self, prompt: Sequence[Mapping[str, str]]) -> tuple[list[dict[str, str]], dict[str, Any]]:
        """The system prompt and the patient's first words; blank ones where it could not even begin."""
        begin(self.batch, self.start, self.retries)
        shown = self._shown()
        return shown if len(shown) > 1 else [*shown, {"role": "user", "content": ""}], {
            "persona": self.session.persona.id
        }

    def step(self, action: str) -> BaseTextEnvStepOutput:
        """A therapist's turn, and the patient's answer.

        Returns:
            ``reward`` is 0 where the patient failed for good: ``metadata["failed"]`` tells it from a poor turn.
        """
        turn = None if self.session.done else take(self.batch, action, self.retries)
        failed, done = self.session.failed, self.session.done
        reward = 0.0 if turn is None or failed else float(turn.reward) or TINY
        self.rewards += [] if failed else [reward]
        self.turns += 1
        told: dict[str, Any] = {"failed": failed, "ending": self.session.ending}
        told |= {"terms": turn.terms} if turn is not None and turn.score is not None else {}
        return BaseTextEnvStepOutput(
            observations=[] if done else self._shown()[-1:], reward=reward, done=done, metadata=told
        )

    def get_metrics(self) -> dict[str, Any]:
        """Return, turns, alliance, and whether the session failed, met its goal or was broken off."""
        last = self.session
        ended = {f"ending/{name}": float(last.ending == name) for name in ("goal", "crisis", "rupture")}
        own = {"return": sum(self.rewards), "turns": len(self.rewards), "alliance": last.latent.alliance}
        return {**own, **ended, "failed": float(last.failed)}

    def _shown(self) -> list[dict[str, str]]:
        return [{"role": m["role"], "content": m["content"]}
                for m in conversation(self.session, show_state=self.show_state)]  # fmt: skip


def _start(row: Mapping[str, Any]) -> Start:
    if not isinstance(row.get("seed"), int):
        raise ConfigError(f"row has seed {row.get('seed')!r}, expected a whole number; make rows by skyrl.rows")
    return Start(row["seed"], row.get("persona") or None, row.get("split") or "train", bool(row.get("vary", False)))


def rows(count: int, *, seed: int = 0, split: str = "train", vary: bool = True) -> list[dict[str, Any]]:
    """Rows of a data set, a session each, with seeds from ``seed`` on: one a line of JSON, or Parquet."""
    prompt = [{"role": "system", "content": SYSTEM_PROMPT}]
    own = {"prompt": prompt, "env_class": ENV, "persona": "", "split": split, "vary": vary}
    return [{**own, "seed": seed + i} for i in range(count)]


def register(**settings: Any) -> None:
    """Makes ``skyrl_gym`` know the environment, anew where it does; call it in the process that plays the sessions.

    Args:
        settings: ``TherapyEnv``'s.
    """
    registry.pop(ENV, None)
    skyrl_gym.register(id=ENV, entry_point=f"{__name__}:TherapyEnv", kwargs=settings)
