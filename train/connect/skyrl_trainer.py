"""SkyRL's trainer on this environment; needs the package ``skyrl``, in an environment of its own.

    python -m therapysim.train.connect.skyrl_trainer data.train_data='["train.jsonl"]' generator.max_turns=8 \\
        trainer.algorithm.advantage_estimator=therapysim_turn therapysim.patient=scripted …

Settings are SkyRL's own, and ``therapysim.*`` those of the environment. A session whose patient failed for good moves
no weight: its tokens are masked. What it had earned until then stays in its group's mean.
"""

import sys
from dataclasses import asdict, dataclass, field
from typing import Any

import ray
from skyrl.backends.skyrl_train.inference_servers.utils import resolve_policy_model_name
from skyrl.train.config import SkyRLTrainConfig
from skyrl.train.config.config import BaseConfig
from skyrl.train.entrypoints.main_base import BasePPOExp
from skyrl.train.generators.skyrl_gym_generator import SkyRLGymGenerator
from skyrl.train.utils import validate_cfg
from skyrl.train.utils.utils import initialize_ray

from therapysim.errors import ConfigError
from therapysim.train.connect.skyrl import register
from therapysim.train.connect.skyrl_credit import ESTIMATOR, register_advantages

__all__ = ["Config", "Experiment", "MaskingGenerator", "main", "refuse"]


@dataclass
class EnvironmentSettings(BaseConfig):
    """``TherapyEnv``'s settings."""

    patient: str = "scripted"
    rubric: str = "grpo"
    show_state: bool = True
    retries: int = 2


@dataclass
class Config(SkyRLTrainConfig):
    """SkyRL's settings and ours."""

    therapysim: EnvironmentSettings = field(default_factory=EnvironmentSettings)


class MaskingGenerator(SkyRLGymGenerator):
    """SkyRL's, but for sessions that failed: nothing is learned from their tokens."""

    def _post_process_agent_loop_output(self, agent_loop_output: Any, _env_extras: Any, _trajectory_id: Any) -> Any:
        parts = getattr(agent_loop_output, "step_outputs", [agent_loop_output])
        if parts and parts[-1].env_metrics.get("failed"):
            for part in parts:
                part.loss_mask = [0] * len(part.loss_mask)
        return agent_loop_output


class Experiment(BasePPOExp):
    """A training whose sessions are played by ``MaskingGenerator``."""

    def get_generator(self, cfg: Config, tokenizer: Any, inference_engine_client: Any) -> MaskingGenerator:
        """Registers the environment in this process, where the sessions are played."""
        register(**asdict(cfg.therapysim))
        return MaskingGenerator(
            generator_cfg=cfg.generator,
            skyrl_gym_cfg=cfg.environment.skyrl_gym,
            inference_engine_client=inference_engine_client,
            tokenizer=tokenizer,
            policy_model_name=resolve_policy_model_name(cfg),
        )


@ray.remote(num_cpus=1)
def _train(config: Config) -> None:
    Experiment(config).run()


def refuse(config: Config) -> None:
    """Refuses settings that change a turn's reward before ``therapysim_turn`` sees it: turns could not be told apart.

    Raises:
        ConfigError: one of them is on.
    """
    told = {
        "trainer.algorithm.use_kl_in_reward": config.trainer.algorithm.use_kl_in_reward,
        "generator.zero_reward_on_non_stop": config.generator.zero_reward_on_non_stop,
    }
    wrong = [name for name, on in told.items() if on]
    if config.trainer.algorithm.advantage_estimator == ESTIMATOR and wrong:
        raise ConfigError(f"{wrong[0]} is true with advantage_estimator={ESTIMATOR}, expected false; or choose grpo")


def main() -> None:
    """Reads the settings from the command line, and trains."""
    register_advantages()  # before the settings are checked; Ray's processes hear of it from this one
    config = Config.from_cli_overrides(sys.argv[1:])
    refuse(config)
    validate_cfg(config)
    initialize_ray(config)
    ray.get(_train.remote(config))


if __name__ == "__main__":
    main()
