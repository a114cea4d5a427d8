"""IDRiD: Indian Diabetic Retinopathy Image Dataset, parts A (segmentation) and B (grading)."""

import csv

from train.datasets.base import DataSet, MaskFile, Sample, same_eye_groups

_CITATION = "Porwal et al., Data 3(3):25, 2018; doi:10.21227/H25W98"
_TERMS = "CC BY 4.0"
_OBTAIN = "download doi:10.21227/H25W98; resize A to 1024 and B to 512 pixels wide below idrid/"

_STRUCTURES = {
    "disc": "OD",
    "haemorrhage": "HE",
    "microaneurysm": "MA",
    "hard_exudate": "EX",
    "soft_exudate": "SE",
}


class IdridSegmentation(DataSet):
    """81 full fields (1024 px wide) with masks of disc, haemorrhages, microaneurysms and exudates."""

    name = "idrid_a"
    citation, terms, obtain = _CITATION, _TERMS, _OBTAIN
    expected = 81
    sizes = frozenset({(1024, 680)})

    def __init__(self, root) -> None:
        self.name = "idrid"  # both parts lie in one folder
        super().__init__(root)
        self.name = "idrid_a"
        self.folder = self.folder / "A_Segmentation"

    def samples(self) -> list[Sample]:
        found = []
        for split in ("train", "test"):
            for path in sorted((self.folder / "images" / split).glob("*.jpg")):
                files = {
                    name: self.folder / f"masks_{code}" / split / f"{path.stem}_{code}.png"
                    for name, code in _STRUCTURES.items()
                }
                masks = {name: MaskFile(file) for name, file in files.items() if file.exists()}
                absent = tuple(sorted(files.keys() - masks.keys()))  # no file: it was not seen
                group = f"idrid_a:{path.stem}"
                found.append(
                    Sample(self.name, path.stem, group, path, masks, absent=absent, official=split)
                )
        return sorted(found, key=lambda s: s.id)


def _stem(name: str) -> str:
    return name.removesuffix(".jpg")


class IdridGrading(DataSet):
    """516 full fields (512 px wide) with diabetic retinopathy grade (0-4) and macular oedema risk (0-2).

    An image that is also in part A, or shows an eye that is there, belongs to A's group, whatever its official
    split here says. Six images are there twice, some with two grades; a pair goes together.
    """

    name = "idrid_b"
    citation, terms, obtain = _CITATION, _TERMS, _OBTAIN
    expected = 516

    def __init__(self, root) -> None:
        self.name = "idrid"
        super().__init__(root)
        self.name = "idrid_b"
        self.pairs = self.folder / "A_to_B_duplicates.csv"
        self.folder = self.folder / "B_Disease_Grading"

    def samples(self) -> list[Sample]:
        with open(self.pairs, newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["same_image"] == "True"]
        twins = {f"{row['B_split']}_{_stem(row['B_image'])}": f"idrid_a:{_stem(row['A_image'])}" for row in rows}
        alike = same_eye_groups(self.name)
        # Of a pair, only one may be known as part A's: its group is the pair's.
        part_a = {alike.get(id, id): group for id, group in twins.items()}
        found = []
        for split, table in (("train", "a_IDRiD_Disease_Grading_Training_Labels.csv"),
                             ("test", "b_IDRiD_Disease_Grading_Testing_Labels.csv")):
            with open(self.folder / "2_Groundtruths" / table, newline="") as file:
                rows = list(csv.reader(file))[1:]
            for row in rows:
                id = f"{split}_{row[0]}"  # the two official parts number their images independently
                eye = alike.get(id, id)
                found.append(
                    Sample(
                        self.name,
                        id,
                        part_a.get(eye, eye if eye.startswith("idrid_a:") else f"idrid_b:{eye}"),
                        self.folder / "images_512" / split / f"{row[0]}.jpg",
                        labels={"dr_grade": float(row[1]), "dme_risk": float(row[2])},
                        stratum=row[1],
                        official=split,
                    )
                )
        return sorted(found, key=lambda s: s.id)
