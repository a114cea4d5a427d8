"""DRISHTI-GS1: full fields with disc and cup by four experts."""

import csv

from train.datasets.base import DataSet, MaskFile, Sample


class DrishtiGs1(DataSet):
    """50 photographs, 1024 px wide; masks are the majority of four experts."""

    name = "drishti_gs1"
    citation = "Sivaswamy et al., ISBI 2014"
    terms = "research only"
    obtain = "ask cvit.iiit.ac.in for DRISHTI-GS1; unpack as drishti_gs1/{images,masks_disc,masks_cup,labels.csv}"
    expected = 50

    def samples(self) -> list[Sample]:
        with open(self.folder / "labels.csv", newline="") as file:
            rows = sorted(csv.DictReader(file), key=lambda row: row["stem"])
        return [
            Sample(
                self.name,
                row["stem"],
                row["stem"],
                self.folder / "images" / f"{row['stem']}.jpg",
                {
                    "disc": MaskFile(self.folder / "masks_disc" / f"{row['stem']}.png"),
                    "cup": MaskFile(self.folder / "masks_cup" / f"{row['stem']}.png"),
                },
                {"glaucoma": float(row["label"] == "glaucoma"), "vcdr": float(row["vcdr_majority"])},
                stratum=row["label"],
            )
            for row in rows
        ]
