"""Replies kept on disk: a run with any chat model, a distant one too, repeated offline, word for word."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from therapysim.errors import ConfigError, ModelError
from therapysim.files import whole
from therapysim.models.chat import ChatMessage, ChatModel, Sampling, calls_at_once, check_seeds, interrupt
from therapysim.models.server import refuse_secrets

__all__ = ["Mode", "RecordedChat"]

Mode = Literal["record", "replay", "refresh"]

_MODES = ("record", "replay", "refresh")
# Part of every key: raise it when the layout of an entry changes, so that older ones are not read.
_FORMAT = 1

_Request = dict[str, Any]
_Call = tuple[Sequence[Sequence[ChatMessage]], Sampling, Sequence[int]]


class RecordedChat:
    """A chat model whose replies are kept, and given again when the same is asked.

    An entry is one JSON file, ``folder/ab/abcd….json``, named by the SHA-256 of its request: the model's identity, the
    chat, the sampling and the seed. It holds request, reply and a checksum of both, and is written whole or not at
    all. An entry that is not, byte for byte, what would be written for its request is damaged: it is asked for anew, or
    refused where no model may be asked. Several processes may share a folder: the first to keep a reply decides it,
    and the others give it too.

    ==========  ==========================================  ===================================
    mode        an entry there                              no entry, or a damaged one
    ==========  ==========================================  ===================================
    record      is given                                    the model is asked, the reply kept
    replay      is given                                    ``ModelError``
    refresh     the model is asked, the entry replaced      the model is asked, the reply kept
    ==========  ==========================================  ===================================
    """

    def __init__(
        self, model: ChatModel | None, folder: str | Path, mode: Mode = "record", *, identity: str | None = None
    ) -> None:
        """A chat model around another.

        Args:
            model: what is asked for a reply that is not kept; None where ``mode`` is "replay".
            folder: where the replies are kept; made at the first of them.
            mode: see the table above.
            identity: what the model is called in the keys. None takes the model's own ``identity`` or, where there is
                no model, that of whoever's replies the folder holds. Give one where a model's own would change
                between runs, as a server's address may, or where a folder holds several models' replies.

        Raises:
            ConfigError: an unknown mode, no model to ask, nothing to call it, or a secret in its name.
        """
        if mode not in _MODES:
            raise ConfigError(f"RecordedChat: mode is {mode!r}, expected one of {', '.join(_MODES)}")
        if model is None and mode != "replay":
            raise ConfigError(f"RecordedChat: mode '{mode}' asks a model, but model is None; give one, or use 'replay'")
        self.model, self.folder, self.mode = model, Path(folder).expanduser(), mode
        self.identity = _checked_identity(model, _only_identity(self.folder) if not (model or identity) else identity)

    def __repr__(self) -> str:
        return f"RecordedChat({self.model!r}, {str(self.folder)!r}, {self.mode!r}, identity={self.identity!r})"

    def reply(self, chats: Sequence[Sequence[ChatMessage]], sampling: Sampling, seeds: Sequence[int]) -> list[str]:
        """One reply a chat, in order; the model is asked once for all that are missing, and once for equal requests.

        Raises:
            ConfigError: the numbers of chats and seeds differ, or a seed is negative.
            ModelError: in replay, an entry is missing or damaged; otherwise the model failed, or the folder did. What
                the model did answer is kept, and stands with what was found in the error's ``replies``.
        """
        check_seeds(chats, seeds)
        requests = [self._request(chat, sampling, seed) for chat, seed in zip(chats, seeds, strict=True)]
        keys = [_key(request) for request in requests]
        rows = dict(zip(keys, range(len(keys)), strict=True))  # one row for each different request
        known = {} if self.mode == "refresh" else self._find(rows, requests)
        missing = {key: row for key, row in rows.items() if key not in known}
        if missing and self.mode == "replay":
            raise ModelError(self._absence(list(missing), len(rows)))
        failed = self._ask(missing, requests, (chats, sampling, seeds), known)
        if failed:
            # A model that failed as a whole may yet answer the same chats one by one: that is the caller's to try.
            replies = None if failed.replies is None else [known.get(key) for key in keys]
            told = dict(zip(missing, failed.reasons, strict=False))
            raise ModelError(str(failed), replies, [told.get(key, "") for key in keys]) from failed
        return [known[key] for key in keys]

    @property
    def at_once(self) -> int:
        """How many calls from threads the model takes at once; 1 where there is none."""
        return calls_at_once(self.model)

    def interrupt(self) -> None:
        """Breaks off what the model is asked, where it can be."""
        interrupt(self.model)

    def _request(self, chat: Sequence[ChatMessage], sampling: Sampling, seed: int) -> _Request:
        """All that a reply depends on. Numbers are of one type each: 0 and 0.0 are the same temperature."""
        return {
            "format": _FORMAT,
            "identity": self.identity,
            "messages": [dict(message) for message in chat],
            "max_tokens": int(sampling.max_tokens),
            "temperature": float(sampling.temperature),
            "top_p": float(sampling.top_p),
            "seed": int(seed),
        }

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"

    def _find(self, rows: dict[str, int], requests: Sequence[_Request]) -> dict[str, str]:
        """The replies that are kept, by key."""
        found = ((key, _read(self._path(key), requests[row])) for key, row in rows.items())
        return {key: reply for key, reply in found if reply is not None}

    def _ask(
        self, missing: dict[str, int], requests: Sequence[_Request], call: _Call, known: dict[str, str]
    ) -> ModelError | None:
        """Puts the model's replies to what is missing into ``known``, each kept on disk; gives its error, if any."""
        if not missing or self.model is None:
            return None
        chats, sampling, seeds = call
        rows = missing.values()
        replies, failed = _try(self.model, [chats[i] for i in rows], sampling, [seeds[i] for i in rows])
        for (key, row), reply in zip(missing.items(), replies, strict=True):
            if reply is not None:
                known[key] = self._keep(self._path(key), requests[row], reply)
        return failed

    def _keep(self, path: Path, request: _Request, reply: str) -> str:
        """Writes an entry; where another process was first, its reply stands."""
        draft = path.with_name(f".{path.name}.{uuid4().hex}")  # no two processes write the same draft
        try:
            with whole(draft) as part:
                part.write_bytes(_entry(request, reply))
            return self._place(draft, path, request, reply)
        except OSError as error:
            raise ModelError(
                f"RecordedChat: cannot keep a reply in {path}: {error}; free or choose another folder"
            ) from error
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)

    def _place(self, draft: Path, path: Path, request: _Request, reply: str) -> str:
        if self.mode == "record":
            try:
                path.hardlink_to(draft)  # unlike a renaming, it fails where the name is taken
                return reply
            except FileExistsError:
                theirs = _read(path, request)
                if theirs is not None:
                    return theirs
            except OSError:
                pass  # a file system without hard links: the last one to write decides
        draft.replace(path)
        return reply

    def _absence(self, missing: Sequence[str], asked: int) -> str:
        path = self._path(missing[0])
        state = "is damaged" if path.exists() else "is missing"
        return (
            f"RecordedChat: {len(missing)} of {asked} replies cannot be replayed; the first, {path}, {state}. "
            f"Expected a recording of '{self.identity}' with the same chats, sampling and seeds; "
            "record again with mode='record' and a model"
        )


def _try(
    model: ChatModel, chats: Sequence[Sequence[ChatMessage]], sampling: Sampling, seeds: Sequence[int]
) -> tuple[Sequence[str | None], ModelError | None]:
    """The model's replies, and its error where some or all are missing."""
    replies: Sequence[str | None]
    try:
        replies, failed = model.reply(chats, sampling, seeds), None
    except ModelError as error:
        replies, failed = error.replies if error.replies is not None else [None] * len(chats), error
    if len(replies) != len(chats):
        raise ModelError(f"RecordedChat: {type(model).__name__} gave {len(replies)} replies to {len(chats)} chats")
    return replies, failed


def _only_identity(folder: Path) -> str | None:
    """Whose replies a folder holds; None where there are none.

    Raises:
        ConfigError: it holds those of several models.
    """
    found: set[str] = set()
    for path in sorted(folder.glob("*/*.json")):
        try:
            found.add(str(json.loads(path.read_bytes())["request"]["identity"]))
        except (OSError, ValueError, LookupError, TypeError):  # damaged: told when it is asked for
            continue
        if len(found) > 1:
            told = ", ".join(map(repr, sorted(found)))
            raise ConfigError(f"RecordedChat: {folder} holds replies of {told}; give identity='…', as one of them")
    return next(iter(found), None)


def _checked_identity(model: ChatModel | None, identity: str | None) -> str:
    name = identity if identity is not None else getattr(model, "identity", None)
    if not isinstance(name, str) or not name:
        what = "there is no model" if model is None else f"{type(model).__name__} has none of its own"
        raise ConfigError(f"RecordedChat: identity is {name!r} and {what}; give identity='…', as it was recorded under")
    refuse_secrets(name, "RecordedChat: identity")
    return name


def _key(request: _Request) -> str:
    return hashlib.sha256(_canonical(request)).hexdigest()


def _canonical(value: Any) -> bytes:
    """JSON that is the same for equal values, in ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _entry(request: _Request, reply: str) -> bytes:
    """The bytes of an entry."""
    body = {"request": request, "reply": reply}
    return _canonical({**body, "checksum": hashlib.sha256(_canonical(body)).hexdigest()}) + b"\n"


def _read(path: Path, request: _Request) -> str | None:
    """The reply in an entry, None where there is none or the entry is damaged.

    Raises:
        ModelError: the file is there and may not be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(f"RecordedChat: cannot read {path}: {error}") from error
    try:
        reply = json.loads(data)["reply"]
    except (ValueError, LookupError, TypeError):
        return None
    return reply if isinstance(reply, str) and data == _entry(request, reply) else None
