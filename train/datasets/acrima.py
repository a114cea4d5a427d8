"""ACRIMA: disc-centred crops labelled glaucoma or normal."""

import csv

from train.datasets.base import DataSet, Sample, same_eye_groups


class Acrima(DataSet):
    """605 crops of 705. There are no patient ids and there may be several images of one eye."""

    name = "acrima"
    citation = "Diaz-Pinto et al., BioMed Eng OnLine 18:29, 2019"
    terms = "CC BY 4.0 by a catalogue; the shipped read-me states none"
    obtain = "download figshare.com/s/c2d31f850af14c5b5232 and unpack it as acrima/{images,labels.csv}"
    expected = 605

    def samples(self) -> list[Sample]:
        with open(self.folder / "labels.csv", newline="") as file:
            rows = sorted(csv.DictReader(file), key=lambda row: row["file"])
        groups = same_eye_groups(self.name)
        return [
            Sample(
                self.name,
                row["file"].removesuffix(".jpg"),
                groups.get(row["file"].removesuffix(".jpg"), row["file"].removesuffix(".jpg")),
                self.folder / "images" / row["file"],
                labels={"glaucoma": float(row["label"] == "glaucoma")},
                stratum=row["label"],
            )
            for row in rows
        ]
