"""PALM: full fields of myopic, normal and pathological eyes with disc masks."""

from train.datasets.base import DataSet, MaskFile, Sample, same_eye_groups


class PalmDisc(DataSet):
    """381 photographs of about 512 px (H high myopia, N normal, P pathological); lists fix the splits.

    The published lists put several photographs of one eye into different parts; such a group goes as a
    whole to the most protected part that any of its images is in (test, then val)."""

    name = "palm_disc"
    citation = "Fang et al., Sci Data 11:99, 2024"
    terms = "research only"
    obtain = "register at palm.grand-challenge.org; unpack as palm_disc/{JPEGImages,Annotations,*_list.txt}"
    expected = 381
    sizes = frozenset({(512, 496), (512, 512)})

    def samples(self) -> list[Sample]:
        found = []
        groups = same_eye_groups(self.name)
        for split in ("train", "val", "test"):
            for line in (self.folder / f"{split}_list.txt").read_text().splitlines():
                if not line.strip():
                    continue
                image, mask = line.split()
                path = self.folder / image
                found.append(
                    Sample(
                        self.name,
                        path.stem,
                        groups.get(path.stem, path.stem),
                        path,
                        {"disc": MaskFile(self.folder / mask, 1, 1, (0, 1))},
                        stratum=path.stem[0],
                        official=split,
                    )
                )
        return sorted(found, key=lambda s: s.id)
