"""The settings of one GRPO training: what may be set, what is allowed, and how a file of them is read."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from therapysim.models.server import require_url, require_variable, server_of
from therapysim.settings import Count, Name, Number, Positive, Share
from therapysim.train.grpo.advantages import Scale
from therapysim.train.preset_sets import Presets
from therapysim.train.run_settings import RunSettings, policy_setting, require, setting

__all__ = ["GRPOSettings", "load_settings", "preset_notes", "presets"]

# A therapist's turn and the patient's answer need so many tokens between them.
_LEAST_TOKENS = 16
# What does not go with a vLLM server, and why.
_NOT_SERVED = {"quantize_4bit": "TRL would send packed 4-bit weights to a server that holds whole ones",
               "unsloth": "TRL would have to send the weights of a model that unsloth has changed"}  # fmt: skip


_session = partial(setting, "sessions")
_learning = partial(setting, "learning")
_adapter = partial(setting, "adapter and memory")
_sampling = partial(setting, "sampling")
_keeping = partial(setting, "checkpoints and validation")
_tracking = partial(setting, "tracking")


class GRPOSettings(RunSettings):
    """Everything that decides a GRPO run; saved as ``settings.json`` in its folder.

    One *generation* plays ``groups`` x ``generations`` sessions. One *update* (an optimizer step, what ``max_steps``
    counts) learns from ``batch_size`` x ``accumulation`` of them. TRL wants a generation to hold whole groups, and the
    defaults 8, 1 and 4 make an update of 4 sessions, half a group. They are reconciled without changing any of them:
    the 8 sessions of a generation serve ``updates_per_generation`` = 2 updates. In the second one the policy has
    already moved by one update; the clipped importance ratio (logged as ``ratio/mean``) corrects for that. With
    ``accumulation`` 8 every update is exactly on-policy. An update may also span several whole generations.

    Raises:
        ConfigError: a value has the wrong type, is outside its range, or does not fit another.
        PersonaError: a persona is unknown, or one of the test patients.
    """

    training: ClassVar[str] = "grpo"
    budgets: ClassVar[str] = "max_prompt_tokens + max_completion_tokens"
    renamed: ClassVar[Mapping[str, str]] = {
        "use_vllm": "vllm",
        "vllm_mode": "vllm",
        "sample_every": "validate_every",
        "wandb": "track",
        "sample_sessions": "validate_sessions",
    }

    out: Name = policy_setting(
        "runs/grpo", "folder of this run; one that holds a run already is refused, unless --resume", free=True
    )

    patient: Name = _session("scripted", "who words the patient's lines: scripted, llm, a model, or URL#MODEL")
    patient_key_env: str = _session("", "environment variable with the key of the patient's server", free=True)
    groups: Positive = _session(1, "groups in a generation, each with another patient: more make a steadier gradient")
    generations: int = _session(
        8, "sessions in a group, all with the same patient and seed; compared with one another", ge=2
    )
    shared_turns: Count = _session(
        0, "most first turns that the sessions of a group share; the group parts from one state after 0 to so many"
    )
    redraw_groups: Count = _session(
        0, "most groups of a generation that are drawn anew, with other patients, since all fared alike; 0 draws none"
    )
    redraw_spread: float = _session(
        0.01, "standard deviation of returns below which a group's sessions count as alike", gt=0
    )
    max_prompt_tokens: Positive = _session(512, "budget of the system prompt and the patient's first words")
    max_completion_tokens: Positive = _session(512, "budget of all that follows, the patient's words included")

    max_minutes: Number = _learning(
        0.0, "stop, with a checkpoint, after so many minutes of updates; 0 never does", free=True
    )
    beta: Number = _learning(0.04, "weight of the KL divergence from the starting policy; 0 lets it drift")
    advantage: Literal["trajectory", "turn", "mixed"] = _learning(
        "trajectory", "credit of a token: its session's reward, its turn's, or a mix of both"
    )
    turn_weight: Share = _learning(0.5, "share of the turn's credit where advantage is mixed")
    loss_type: Literal["grpo", "dr_grpo", "dapo"] = _learning(
        "grpo",
        "how tokens are averaged: grpo within each session (short ones weigh more a "
        "token), dapo over the update's tokens, dr_grpo by a constant",
    )
    clip: float = _learning(
        0.2, "how far new over old probability may move from 1 before a token is left out", gt=0, lt=1
    )
    clip_high: float = _learning(
        0.0,
        "the same upwards, for tokens that become likelier: more than clip keeps rare words alive; 0 is clip",
        ge=0,
        lt=1,
    )
    scale_rewards: Scale = _learning(
        "group", "what advantages are divided by: the spread within the group, over the whole generation, or nothing"
    )
    cut_penalty: Number = _learning(0.0, "taken from a turn's reward where max_turn_tokens cut it off")
    learn_reasoning: bool = _learning(
        True, "learn from what the policy reasons before its words too; no patient hears it"
    )
    overlong_tokens: Count = _learning(
        0,
        "last tokens before max_turn_tokens over which a turn is charged more and more, up to cut_penalty; 0 is off",
    )
    mask_cut_turns: bool = _learning(True, "do not learn from turns that max_turn_tokens cut off")

    temperature: float = _sampling(1.0, "sampling temperature: higher explores more", gt=0)
    top_p: float = _sampling(
        1.0, "nucleus sampling; below 1 the sampled distribution is no longer the trained one", gt=0, le=1
    )
    vllm: Literal["off", "colocate", "server"] = _sampling(
        "off", "sample with Hugging Face (off), or vLLM here or behind a server; needs a GPU"
    )
    vllm_server_url: str = _sampling("", "address where vllm is server, such as http://localhost:8000", free=True)
    vllm_gpu_memory: float = _sampling(
        0.3, "share of the GPU's memory that a colocated vLLM takes", gt=0, le=1, free=True
    )
    vllm_compile: bool = _sampling(
        True, "let a colocated vLLM compile the model: a minute at the first start", free=True
    )
    patient_processes: Count = _sampling(
        0, "processes for scripted patients beside vLLM; 0 chooses by cores", free=True
    )
    patient_timeout_s: float = _sampling(
        120.0, "seconds after which a process of patients is replaced, and its turn played again", gt=0, free=True
    )
    patients_at_once: Count = _sampling(
        0,
        "calls at once of a patient that is no process; 0 leaves it to the patient, such as its server's client",
        free=True,
    )
    importance: Literal["token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "off"] = _sampling(
        "token_truncate",
        "how vLLM's probabilities are corrected to the trained model's: by "
        "token or whole sequence, large ratios cut (truncate) or left out (mask); off: not at "
        "all",
    )
    importance_max: float = _sampling(3.0, "the ratio above which importance truncates or masks", ge=1)

    save_steps: Positive = _keeping(
        50, "updates between two checkpoints; a multiple of updates a generation", free=True
    )
    retries: Count = _keeping(
        3, "times in a row that rows which cannot be learnt from are tried again, before the run stops", free=True
    )
    retry_pause_s: Number = _keeping(
        30.0, "seconds before they are, where patients failed; twice as many each time", free=True
    )
    patience: Count = _keeping(
        0, "stop after so many validations in a row without a better return; 0 never stops", free=True
    )
    alarm_reward_std: Number = _keeping(
        0.01, "alarm where rewards of a group spread less, 3 generations on end", free=True
    )
    alarm_repetition: Share = _keeping(
        0.5, "alarm where more than this share of dev turns repeats an earlier one", free=True
    )
    alarm_kl: Number = _keeping(
        1.0, "alarm where the KL divergence a token is above this, 3 updates on end; none where beta is 0", free=True
    )
    stop_on_alarm: bool = _keeping(
        False, "stop the run at the first alarm; cut turns stop none without mask_cut_turns", free=True
    )

    transcripts_every: Count = _tracking(
        50, "updates between two training groups kept word for word; 0 keeps none", free=True
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        server_of(self.patient, "patient")
        require_variable(self.patient_key_env or None)
        if self.vllm_server_url:
            require_url(self.vllm_server_url, "setting vllm_server_url")
        self._check_together()
        self._check_batches()
        return self

    def _check_together(self) -> None:
        served = self.vllm != "server" or self.vllm_server_url.startswith(("http://", "https://"))
        require("vllm_server_url", self.vllm_server_url, served, "http://HOST:PORT, since vllm is server")
        for name, why in _NOT_SERVED.items():
            both = self.vllm == "server" and getattr(self, name)
            require("vllm", self.vllm, not both, f"off or colocate, since {name} is set: {why}")
        self._check_lengths()
        whole = self.vllm == "off" or self.top_p == 1.0
        require(
            "top_p", self.top_p, whole, "1, since vllm is set: it would tell the probabilities of what was left over"
        )
        waits = not self.patience or self.validate_every > 0
        require("patience", self.patience, waits, "0, since validate_every is 0 and nothing is validated")

    def _check_lengths(self) -> None:
        own = f"less than max_turns {self.max_turns}, so that each session has a turn of its own"
        require("shared_turns", self.shared_turns, self.shared_turns < self.max_turns, own)
        fits = self.max_turn_tokens <= self.max_completion_tokens
        budget = f"at most max_completion_tokens {self.max_completion_tokens}"
        require("max_turn_tokens", self.max_turn_tokens, fits, budget)
        room = _LEAST_TOKENS * self.max_turns
        enough = f"at least {room}, {_LEAST_TOKENS} for each of max_turns {self.max_turns} and its answer"
        require("max_completion_tokens", self.max_completion_tokens, room <= self.max_completion_tokens, enough)
        within = f"at most max_turn_tokens {self.max_turn_tokens}"
        require("overlong_tokens", self.overlong_tokens, self.overlong_tokens <= self.max_turn_tokens, within)
        charged = not self.overlong_tokens or self.cut_penalty > 0
        require("overlong_tokens", self.overlong_tokens, charged, "0, since cut_penalty is 0 and charges nothing")

    def _check_batches(self) -> None:
        """TRL's rules on batches, and ours: no update straddles two generations, and none is cut by a checkpoint."""
        made, size = self.generation_sessions, self.batch_size
        require("batch_size", size, made % size == 0, f"a divisor of groups x generations = {made}")
        per_update = size * self.accumulation
        whole = made % per_update == 0 or per_update % made == 0
        rule = f"batch_size x accumulation = {per_update} and groups x generations = {made} to divide one another"
        require("accumulation", self.accumulation, whole, rule)
        # A checkpoint inside a generation would have to sample the rest anew: another curve after a resume.
        steps, saved = self.updates_per_generation, self.save_steps
        near = max(steps, saved // steps * steps)
        rule = f"a multiple of {steps} updates a generation, such as {near}"
        require("save_steps", saved, saved % steps == 0, rule)

    @property
    def context(self) -> int:
        """Tokens that one row may have: the prompt and all that follows."""
        return self.max_prompt_tokens + self.max_completion_tokens

    @property
    def samples_with_vllm(self) -> bool:
        """Whether sampling needs vLLM."""
        return self.vllm != "off"

    @property
    def generation_sessions(self) -> int:
        """Sessions played in one generation, over all devices."""
        return self.groups * self.generations

    @property
    def updates_per_generation(self) -> int:
        """Updates that one generation serves on one device, at least 1."""
        return max(1, self.generation_sessions // (self.batch_size * self.accumulation))


_PRESETS = Presets(GRPOSettings, Path(__file__).with_name("presets.yaml"))
presets, preset_notes, load_settings = _PRESETS.settings, _PRESETS.notes, _PRESETS.load
