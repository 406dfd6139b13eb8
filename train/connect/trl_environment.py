"""TRL: a session of an OpenEnv server as an environment of ``GRPOTrainer``; needs ``openenv`` beside ``trl``.

    therapysim serve --most 64 --turns 4

    GRPOTrainer(model, environment_factory=partial(SpokenSession, "http://localhost:8000"), train_dataset=rows, ...)

TRL lets a policy act by tools alone, so the therapist speaks by the tool ``say``; what it says otherwise, nobody
hears. Its chat template must know tools. ``rows`` have a prompt, and a seed that all sessions of a group share.
"""

from typing import Any

from therapysim.train.connect.openenv import TherapyAction, TherapyClient

__all__ = ["SpokenSession"]


class SpokenSession:
    """One session after another; TRL makes as many of these as it plays at once.

    Args:
        address: of the server.
    """

    def __init__(self, address: str) -> None:
        self._client = TherapyClient(address).sync()
        self._rewards: list[float] = []
        self._done = self._failed = False

    def reset(
        self,
        seed: int = 0,
        persona: str | None = None,
        split: str | None = None,
        vary: bool | None = None,
        max_turns: int | None = None,
        **_: Any,
    ) -> str:
        """Begins the session of a row; its other columns are TRL's.

        Returns:
            The patient's first words, which TRL puts behind the prompt.

        Raises:
            RuntimeError: the server has no room, or the row names nobody.
        """
        told = self._client.reset(seed=seed, persona=persona, split=split, vary=vary, max_turns=max_turns)
        self._rewards, self._done, self._failed = [], told.done, told.observation.failed
        return str(told.observation.message)

    def say(self, text: str) -> str:
        """Says something to the patient, and hears the answer.

        Args:
            text: the therapist's words.

        Returns:
            The patient's answer.
        """
        if self._done:
            return "The session is over."
        self._failed = True  # unless an answer comes: TRL goes on after any error
        told = self._client.step(TherapyAction(text=text))
        self._done, self._failed = told.done, told.observation.failed
        if told.reward is not None:
            self._rewards.append(told.reward)
        return str(told.observation.message)

    def get_reward(self) -> float | None:
        """Ends the session, and gives its return: 0 where nothing was said; None where patient or server failed.

        TRL asks once, when the policy has ended, and leaves None out.
        """
        self._done = True
        self._client.disconnect()  # room for others, until the next reset connects anew
        return None if self._failed else sum(self._rewards)
