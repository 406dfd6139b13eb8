"""The words of a policy's model card, by training: what is the same in all cards, and what each training has of its own."""

# ruff: noqa: E501 - the rows of a Markdown table cannot be wrapped

__all__ = [
    "CARD",
    "COPIED",
    "COURSE",
    "HOW",
    "LICENCES",
    "PREFERS",
    "RANKED",
    "REWARD",
    "REWARDS",
    "SHOWN",
    "SMOLLM2_ID",
    "TRAIN",
]

# Known to us; of any other base the reader must look.
SMOLLM2_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
LICENCES = {"HuggingFaceTB/SmolLM2-": "apache-2.0"}

CARD = """---
{front}
---

# A therapist policy trained by TherapySim

{what} {how}

**Not a clinical device, and not fit to talk with a person in distress.** Its patients are fiction, and so is everything it
learnt from. No clinical outcome was measured, and nothing here says how a real person would fare.

## What it was trained from and on

| | |
|---|---|
| base | {base} |
| licence | {licence} |
| updates | {step}, each from {sessions} a device, of at most {size} |
| patients | {patients} |
| who words them | {patient} |
| seed | {seed} |
{merge}
{section}

## Settings

| | |
|---|---|
{settings}

## Numbers

{numbers}

They are the simulator's own. The patients of the validation are simulated as well, by the same hands; they
are those of split `dev`, {validated}. `validation/return` is the mean of its sessions' rewards,
`return_low` and `return_high` the ends of its 95 % interval by patient.

## How to load it

It is prompted as it was trained: {prompt}. `FOLDER` is where this card lies{run}.

```sh
{commands}
```

```python
{python}
```

## Use

For research on reinforcement learning of dialogue, on rewards and their exploits, and on simulated patients. It is **not** for
therapy, counselling, triage, diagnosis, crisis help, or practice on people, with or without supervision. Whoever is in distress
should turn to local emergency services, a crisis line or a professional.

It inherits the base model's errors and biases, reads English alone, may say what is harmful or untrue, and does not recognise
danger reliably. The emotion sensor behind its state header was taught on comments of Reddit.
"""

REWARDS = {
    "grpo": "what a session brought (mood, alliance, disclosure) and what a turn must not do, behind a gate.",
    "default": "every term, those included that words alone can please, behind a gate.",
    "user": "two functions alone, deficit rise and safety, with no gate; of 62 cheap policies 28 please it.",
}
ADAPTED = ("lora_r", "lora_alpha", "lora_dropout", "lora_targets", "dtype", "quantize_4bit", "unsloth")
SHOWN = {
    "grpo": (
        "lr", "beta", "generations", "groups", "shared_turns", "redraw_groups", "redraw_spread", "batch_size",
        "accumulation", "advantage", "turn_weight", "loss_type", "clip", "clip_high", "scale_rewards", "max_grad_norm", "learn_reasoning",
        "mask_cut_turns", "cut_penalty", "overlong_tokens", "temperature", "top_p", "max_turn_tokens",
        "max_prompt_tokens", "max_completion_tokens", "show_state", "chat_template_kwargs", *ADAPTED, "vllm",
        "importance", "importance_max",
    ),
    "dpo": (
        "lr", "beta", "loss_type", "label_smoothing", "sft_weight", "warmup", "batch_size", "accumulation",
        "max_grad_norm", "max_turn_tokens", "max_tokens", "show_state", "chat_template_kwargs", *ADAPTED,
    ),
    "sft": (
        "therapists", "draws", "best", "lr", "warmup", "batch_size", "accumulation", "max_grad_norm", "max_turn_tokens",
        "max_tokens", "show_state", "chat_template_kwargs", *ADAPTED,
    ),
}  # fmt: skip
HOW = {
    "grpo": "It was trained by reinforcement learning (GRPO over whole sessions) against **simulated** patients.",
    "dpo": "It was trained on pairs of answers (DPO), to prefer the better one of each.",
    "sft": "It was fine-tuned (SFT) to copy what other therapists said to **simulated** patients.",
}
REWARD = """## Reward

{rubric}: {reward} Rewards of this kind can be pleased: a policy may repeat a
question about danger, or find words that the readers of a turn take for good ones. `docs/rewards.md` of TherapySim lists the
terms, the audit of cheap policies and the exploits that are known. Read transcripts before you believe a number."""
COPIED = """## What it copies

Sessions of {therapists}: of those with each patient the share {best} that earned most by {rubric}. A copy
says what they would say, where they would be wrong too. Read transcripts before you believe a number.

`validation/loss` below is the mean loss a token on what they say to the patients of the validation."""
PREFERS = """## What it prefers

The chosen answer of each pair of {files} to the rejected one. It is held to the policy it started from: {beta} A pair
says what whoever made it thought better, where they were wrong too. Read transcripts before you believe a number."""
COURSE = ("validation/best", "validation/since_best", "validation/stopped")
TRAIN = ("reward", "reward_std", "kl", "loss", "mean_token_accuracy", "session/turns", "session/polarity")
RANKED = ("rewards/margins", "rewards/accuracies")
