"""REFUGE: disc crops with disc and cup masks and glaucoma labels."""

from train.datasets.base import DataSet, MaskFile, Sample


class RefugeCrops(DataSet):
    """321 crops, 512 x 512; the mask holds 0 (cup), 128 (rim) and 255 (background)."""

    name = "refuge_crops"
    citation = "Orlando et al., Med Image Anal 59, 2020"
    terms = "research only"
    obtain = "register at refuge.grand-challenge.org; crop to the disc as refuge_crops/{images,masks}"
    expected = 321
    sizes = frozenset({(512, 512)})

    def samples(self) -> list[Sample]:
        found = []
        for path in sorted((self.folder / "images").glob("*.jpg")):
            mask = self.folder / "masks" / f"{path.stem}.png"
            found.append(
                Sample(
                    self.name,
                    path.stem,
                    path.stem,
                    path,
                    {
                        "disc": MaskFile(mask, 0, 191, (0, 128, 255)),
                        "cup": MaskFile(mask, 0, 63, (0, 128, 255)),
                    },
                    {"glaucoma": float(path.stem.startswith("g"))},
                    stratum=path.stem[0],
                )
            )
        return found
