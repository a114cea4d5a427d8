"""Why the instrument does not start without networks that it can trust, in Japanese as well."""

from __future__ import annotations

import pytest

from device.language import Translator
from tests.device.sentences import templates

JA = Translator("ja")
SAID = (
    templates("device.bundle", "BundleError", "_refused",
              functions=("load", "_unpack", "_parse", "_manifest", "_golden", "_refused"))
    | templates("device.pipeline", "BundleError", functions=("Pipeline", "_newest"))
    | templates("device.runtime", "RuntimeUnavailableError", "BundleError")
    | templates("device.signing", "KeyFileError", functions=("read_public_keys",))
)  # fmt: skip
TO_MAKERS = {"there is no task {}; known: {}"}  # of bundles, and to nobody else


@pytest.mark.parametrize("sentence", sorted(SAID - TO_MAKERS))
def test_every_sentence_has_a_translation(sentence):
    assert JA.knows(sentence)


def test_there_are_sentences_to_check():
    assert len(SAID) > 20


def test_a_refusal_is_translated_with_its_reason_and_way_out():
    said = (
        "the bundle a.tnh is refused: model.tflite is not what its manifest vouches for; "
        "copy it again from its source"
    )
    assert JA(said) == (
        "バンドル a.tnh は使用できません：model.tflite がマニフェストの保証する内容と異なります。"
        "入手元からもう一度コピーしてください"
    )
