"""How each kind of server is asked: the same questions in its own words.

llama-server   llama.cpp's `/completion`: ids in and out, any number of likeliest tokens, a
               cache of prompts; it scores no given tokens
echo           OpenAI's legacy `echo` with `logprobs`, as llama-cpp-python's server has it:
               scores given tokens, by text
vllm           vLLM's `prompt_logprobs`: scores given tokens, by ids
openai         completions and nothing else for certain
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from adec.engines.remote.http_client import AGAIN, HttpClient
from adec.engines.remote.replies import ServerReply, llama_reply, openai_reply, unshifted

DialectName = Literal["llama-server", "echo", "vllm", "openai"]
Prompt = str | Sequence[int]


class Dialect(ABC):
    """One kind of server. All requests are greedy; adec draws by itself where it samples."""

    name: DialectName
    takes_ids = False
    scores_prompts = False

    def __init__(self, client: HttpClient, model: str, top: int) -> None:
        """`top`: likeliest tokens to ask for at each position, 0 for none."""
        self.client = client
        self.model = model
        self.top = top

    @abstractmethod
    def write(self, prompt: Prompt, max_tokens: int) -> Iterator[ServerReply]:
        """What the server writes, as it arrives. Closing the iterator ends the request."""

    @abstractmethod
    def write_whole(
        self, prompt: Prompt, max_tokens: int, again: frozenset[int] = AGAIN
    ) -> ServerReply:
        """The same in one piece."""

    def not_ended(self, prompt: Prompt) -> ServerReply:
        """One token where the model would end, with the likeliest ones, the end among them."""
        raise NotImplementedError(f"{self.name} tells no ends")

    def score(self, prompt: Prompt, again: frozenset[int] = AGAIN) -> ServerReply:
        """The given tokens with their log-probabilities, and one token more."""
        raise NotImplementedError(f"{self.name} scores no prompts")


class LlamaServer(Dialect):
    """llama.cpp's llama-server."""

    name: DialectName = "llama-server"
    takes_ids = True

    def write(self, prompt: Prompt, max_tokens: int) -> Iterator[ServerReply]:
        body = self._body(prompt, max_tokens) | {"stream": True}
        for data in self.client.stream(self._url, body, max_tokens):
            yield _read(self.client, data)

    def write_whole(
        self, prompt: Prompt, max_tokens: int, again: frozenset[int] = AGAIN
    ) -> ServerReply:
        data = self.client.post(self._url, self._body(prompt, max_tokens), again=again)
        return _read(self.client, data)

    def not_ended(self, prompt: Prompt) -> ServerReply:
        # the end is barred from the draw, and the log-probabilities are those before that
        body = self._body(prompt, 1) | {"ignore_eos": True}
        return _read(self.client, self.client.post(self._url, body))

    @property
    def _url(self) -> str:
        return f"{self.client.address.root}/completion"

    def _body(self, prompt: Prompt, max_tokens: int) -> dict[str, Any]:
        return {
            "prompt": prompt if isinstance(prompt, str) else list(prompt),
            "n_predict": max_tokens,
            "temperature": 0.0,
            # what a server may have been started with would change the likeliest token
            "repeat_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "dry_multiplier": 0.0,
            "mirostat": 0,
            "cache_prompt": True,
            "return_tokens": True,
            "n_probs": self.top,
            "model": self.model,
        }


class OpenAi(Dialect):
    """Completions as OpenAI's API had them first."""

    name: DialectName = "openai"
    more: dict[str, Any] = {}  # noqa: RUF012 - constant
    """Fields that only this kind of server knows."""

    def write(self, prompt: Prompt, max_tokens: int) -> Iterator[ServerReply]:
        body = self._body(prompt, max_tokens) | {"stream": True}
        for data in self.client.stream(self._url, body, max_tokens):
            yield _read(self.client, data, openai=True)

    def write_whole(
        self, prompt: Prompt, max_tokens: int, again: frozenset[int] = AGAIN
    ) -> ServerReply:
        body = self._body(prompt, max_tokens)
        return _read(self.client, self.client.post(self._url, body, again=again), openai=True)

    @property
    def _url(self) -> str:
        return f"{self.client.address.base}/completions"

    def _body(self, prompt: Prompt, max_tokens: int) -> dict[str, Any]:
        asked = {"logprobs": self.top} if self.top else {}
        return {
            "model": self.model,
            "prompt": prompt if isinstance(prompt, str) else list(prompt),
            "max_tokens": max_tokens,
            "temperature": 0.0,
            **asked,
            **self.more,
        }


class EchoServer(OpenAi):
    """A server that repeats the prompt with the log-probabilities of its tokens."""

    name: DialectName = "echo"
    scores_prompts = True

    def score(self, prompt: Prompt, again: frozenset[int] = AGAIN) -> ServerReply:
        body = self._body(prompt, 1) | {"echo": True}
        data = self.client.post(self._url, body, again=again)
        return _read(self.client, data, openai=True, echoed=True)


class LlamaCppPython(EchoServer):
    """llama-cpp-python's server, whose defaults are not greedy: it penalises repetitions."""

    shifted = False
    """Whether rows of an echoed prompt stand one place too early."""

    more = {"repeat_penalty": 1.0, "min_p": 0.0, "top_p": 1.0}  # noqa: RUF012

    def score(self, prompt: Prompt, again: frozenset[int] = AGAIN) -> ServerReply:
        reply = super().score(prompt, again)
        return unshifted(reply, prompt) if self.shifted and isinstance(prompt, str) else reply


class Vllm(OpenAi):
    """vLLM's server; its model's own generation settings are overridden."""

    name: DialectName = "vllm"
    takes_ids = True
    scores_prompts = True
    more = {  # noqa: RUF012
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "return_tokens_as_token_ids": True,
        "skip_special_tokens": False,
    }

    def not_ended(self, prompt: Prompt) -> ServerReply:
        # the end is written like any other token
        body = self._body(prompt, 1) | {"ignore_eos": True}
        return _read(self.client, self.client.post(self._url, body), openai=True)

    def score(self, prompt: Prompt, again: frozenset[int] = AGAIN) -> ServerReply:
        body = self._body(prompt, 1) | {"prompt_logprobs": self.top or 1}
        return _read(self.client, self.client.post(self._url, body, again=again), openai=True)


def _read(
    client: HttpClient, data: Any, *, openai: bool = False, echoed: bool = False
) -> ServerReply:
    try:
        return openai_reply(data, echoed=echoed) if openai else llama_reply(data)
    except ValueError as error:
        failure = client.failure(str(error))
        failure.odd = True
        raise failure from None
