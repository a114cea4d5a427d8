"""CHASE_DB1: both eyes of 14 children, vessels drawn by two observers."""

from train.datasets.base import DataSet, MaskFile, Sample


class ChaseDb1(DataSet):
    """28 photographs, 999 x 960. ``vessels`` is the first observer, ``vessels_2`` the second."""

    name = "chase_db1"
    citation = "Fraz et al., IEEE TBME 59(9), 2012; doi:10.1109/TBME.2012.2205687"
    terms = "CC BY 4.0"
    obtain = "download researchdata.kingston.ac.uk/96 and unpack it as chase_db1/"
    expected = 28
    sizes = frozenset({(999, 960)})

    def samples(self) -> list[Sample]:
        return [
            Sample(
                self.name,
                path.stem,
                path.stem[6:8],  # the child's number
                path,
                {
                    "vessels": MaskFile(path.with_name(f"{path.stem}_1stHO.png")),
                    "vessels_2": MaskFile(path.with_name(f"{path.stem}_2ndHO.png")),
                },
                {"laterality": {"L": "OS", "R": "OD"}[path.stem[-1]]},
            )
            for path in sorted(self.folder.glob("Image_*.jpg"))
        ]
