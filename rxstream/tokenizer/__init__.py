"""Token ids and text: decoding, counting, and which encoding a model uses.

The only room that imports tiktoken, and only when it is needed. Nothing here
downloads: an encoding is given, or is in tiktoken's cache, or counts are estimates
that say so.
"""

from rxstream.tokenizer.answer import AnswerCounter
from rxstream.tokenizer.counter import TokenCounter
from rxstream.tokenizer.decoder import DecoderStatistics, TokenDecoder
from rxstream.tokenizer.encodings import (
    FILES,
    ORIGIN,
    Encoding,
    VocabularyFile,
    cache_folder,
    encoding_name,
    files_of,
    find_encoding,
)
from rxstream.tokenizer.vocabulary import EstimateWarning, Vocabulary, vocabulary

__all__ = [
    "FILES",
    "ORIGIN",
    "AnswerCounter",
    "DecoderStatistics",
    "Encoding",
    "EstimateWarning",
    "TokenCounter",
    "TokenDecoder",
    "Vocabulary",
    "VocabularyFile",
    "cache_folder",
    "encoding_name",
    "files_of",
    "find_encoding",
    "vocabulary",
]
