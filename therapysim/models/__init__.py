"""Whoever speaks: one small chat protocol, and its forms by Hugging Face, vLLM, a server, or a recording."""

from therapysim.models.chat import ChatMessage, ChatModel, HuggingFaceChat, Sampling
from therapysim.models.remote import RemoteChat, RemoteSettings
from therapysim.models.replay import RecordedChat
from therapysim.models.vllm import VLLMChat

__all__ = [
    "ChatMessage",
    "ChatModel",
    "HuggingFaceChat",
    "RecordedChat",
    "RemoteChat",
    "RemoteSettings",
    "Sampling",
    "VLLMChat",
]
