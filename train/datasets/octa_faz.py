"""OCTA en-face images with masks of the foveal avascular zone."""

import csv

from train.datasets.base import DataSet, MaskFile, Sample


class OctaFaz(DataSet):
    """100 images, superficial plexus 3 x 3 mm and deep plexus 6 x 6 mm, 512 x 512."""

    name = "octa_faz"
    citation = "Wang et al., arXiv:2107.10476; doi:10.5281/zenodo.5075194"
    terms = "CC BY 4.0"
    obtain = "download doi:10.5281/zenodo.5075194 and unpack it as octa_faz/{images,masks,index.csv}"
    expected = 100
    sizes = frozenset({(512, 512)})

    def samples(self) -> list[Sample]:
        with open(self.folder / "index.csv", newline="") as file:
            rows = sorted(csv.DictReader(file), key=lambda row: row["stem"])
        return [
            Sample(
                self.name,
                row["stem"],
                row["stem"].split("_")[1],  # the two plexuses of one number stay together
                self.folder / "images" / f"{row['stem']}.png",
                {"faz": MaskFile(self.folder / "masks" / f"{row['stem']}.png")},
                {"plexus": row["plexus"], "field_mm": float(row["fov_mm"])},
                stratum=row["plexus"],
            )
            for row in rows
        ]
