"""The model card says what the data allow."""

import pytest

from quantize.card import licence


@pytest.mark.parametrize(
    ("terms", "research"),
    [
        ({"octa_faz": "CC BY 4.0"}, False),
        ({"octa_faz": "CC BY 4.0", "refuge_crops": "research only"}, True),
        ({"airogs_subset": "CC BY-NC-ND 4.0"}, True),
    ],
)
def test_research_only_data_make_research_only_weights(terms, research):
    assert ("research use only" in licence(terms)) == research
