"""A subset of AIROGS: full fields, referable glaucoma or not."""

from train.datasets.base import DataSet, Sample


class AirogsSubset(DataSet):
    """200 photographs, 512 x 512: ``RG`` referable glaucoma, ``NRG`` not."""

    name = "airogs_subset"
    citation = "de Vente et al., IEEE TMI 2023"
    terms = "CC BY-NC-ND 4.0"
    obtain = "download doi:10.5281/zenodo.5793241 (AIROGS) and sort images as airogs_subset/{RG,NRG}"
    expected = 200
    sizes = frozenset({(512, 512)})

    def samples(self) -> list[Sample]:
        return [
            Sample(
                self.name,
                path.stem,
                path.stem,
                path,
                labels={"glaucoma": float(path.parent.name == "RG")},
                stratum=path.parent.name,
            )
            for path in sorted(self.folder.glob("*RG/*.jpg"), key=lambda p: p.stem)
        ]
