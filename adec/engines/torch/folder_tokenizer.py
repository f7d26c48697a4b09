"""Text to token ids with the tokenizer.json of a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adec.engines.torch.folder_vocabulary import tokenizer_json
from adec.engines.vocabulary import Vocabulary
from adec.errors import EngineError


class FolderTokenizer:
    """The `tokenizers` library over one tokenizer.json, read at the first text."""

    def __init__(self, folder: Path, vocabulary: Vocabulary) -> None:
        self._folder = folder
        self._vocabulary = vocabulary
        self._tokenizer: Any = None

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Ids of `text` without a begin token; see `Tokenizer.encode`. Half surrogates count as "?".

        Raises EngineError when tokenizer.json has changed or the library refuses it.
        """
        tokenizer = self._tokenizer or self._open()
        # the attribute says that names of special tokens are text like any other
        tokenizer.encode_special_tokens = not special
        text = text.encode("utf-8", errors="replace").decode()
        try:
            ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        except Exception as error:
            raise EngineError(f"the tokenizer of {self._folder} failed: {error}") from error
        return ids

    def _open(self) -> Any:
        from tokenizers import Tokenizer

        text = tokenizer_json(self._folder, self._vocabulary.control)
        try:
            self._tokenizer = Tokenizer.from_str(text)
        # a bug in the library surfaces as a PanicException, which is no Exception
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            raise EngineError(
                f"cannot read {self._folder / 'tokenizer.json'}: {str(error)[:120]}"
            ) from error
        return self._tokenizer
