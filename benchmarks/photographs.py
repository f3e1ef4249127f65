"""Photographs of the study `lsq_optimizers`, made from packages of Debian: `python -m benchmarks.photographs DATA`.

Writes 24 photographs into DATA/DIV2K_train_HR and 12 into DATA/DIV2K_valid_HR, the folders of dataset `div2k`. The
packages are fetched by `apt-get download` and unpacked by `dpkg-deb`, nothing is installed. Their licences (GPL-2+,
CC-BY-4.0, CC-BY-SA-4.0, LGPL-3 by file: /usr/share/doc/PACKAGE/copyright) are why the photographs are not in this
repository. Each is scaled down to a long side of 1,020 pixels, which leaves nothing of JPEG's blocks.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

LONG_SIDE = 1020
BACKGROUNDS, MATE, PLASMA = "usr/share/backgrounds", "usr/share/backgrounds/mate/nature", "usr/share/wallpapers"
TRAIN = {
    ("lomiri-wallpapers-16.04", BACKGROUNDS): (
        "Bridge_by_Sander_Klootwijk Dragonfly_by_Bolly Picture_1A_by_freespace Wine_by_Jakkub_Mede "
        "free_by_Peter_Nerlich greentock_by_Peter_Nerlich picosdeeuropa_by_Aitzol_Berasategi "
        "seeding_by_Clements_Engelhardt"
    ),
    ("lomiri-wallpapers-20.04", BACKGROUNDS): "Kleiber_by_Lukas_Baubkus",
    ("mate-backgrounds", MATE): "Aqua Dune FreshFlower GreenMeadow RainDrops Storm Wood YellowFlower",
    (
        "plasma-workspace-wallpapers",
        PLASMA,
    ): "BytheWater ColdRipple DarkestHour FallenLeaf Grey OneStandsOut summer_1am",
}
TEST = {
    ("lomiri-wallpapers-16.04", BACKGROUNDS): (
        "Picture_0B_by_freespace aitzgorri_by_Aitzol_Berasategi friends_by_Aitzol_Berasategi "
        "life_by_Aitzol_Berasategi sunset_by_Aitzol_Berasategi"
    ),
    ("mate-backgrounds", MATE): "Blinds Garden LadyBird TwoWings",
    ("plasma-workspace-wallpapers", PLASMA): "EveningGlow Kite Path",
}
"""No scene is in both."""
FOLDERS = {"DIV2K_train_HR": TRAIN, "DIV2K_valid_HR": TEST}
PIXELS_SHA256 = "d59ca0d0586b90e4f1870e77a142ef18329386ae11da41f5a7645f5998c951ea"
"""Hash of all names and decoded pixels, as the study was run with: Debian 12, Pillow 12."""


def unpack(package: str, folder: Path) -> Path:
    """Fetch a package of the distribution and return the folder of its files; `CalledProcessError` if it cannot."""
    target = folder / package
    target.mkdir()
    subprocess.run(["apt-get", "download", "--quiet", package], cwd=target, check=True, capture_output=True)
    (archive,) = target.glob("*.deb")
    subprocess.run(["dpkg-deb", "--extract", archive, target], check=True)
    return target


def find(files: Path, folder: str, name: str) -> Path:
    """Return the largest image of that name; Plasma's are folders that hold several sizes."""
    found = [*(files / folder).glob(f"{name}.jpg"), *(files / folder / name).glob("contents/images/*.jpg")]
    return max(found, key=lambda path: path.stat().st_size)


def scaled(path: Path) -> Image.Image:
    """Return the photograph with three channels and a long side of 1,020 pixels."""
    with Image.open(path) as image:
        whole = image.convert("RGB")
    ratio = LONG_SIDE / max(whole.size)
    return whole.resize((round(whole.width * ratio), round(whole.height * ratio)), Image.Resampling.LANCZOS)


def make(data: Path) -> str:
    """Write both folders and return the hash of all names and pixels."""
    with tempfile.TemporaryDirectory() as temporary:
        names = sorted({package for listed in FOLDERS.values() for package, _ in listed})
        unpacked = {name: unpack(name, Path(temporary)) for name in names}
        for folder, listed in FOLDERS.items():
            (data / folder).mkdir(parents=True, exist_ok=True)
            for (package, place), names_there in listed.items():
                for name in names_there.split():
                    scaled(find(unpacked[package], place, name)).save(data / folder / f"{name}.png")
    return pixels_sha256(data)


def pixels_sha256(data: Path) -> str:
    """Hash names and decoded pixels, which do not depend on how a PNG is compressed."""
    whole = hashlib.sha256()
    for path in sorted(path for folder in FOLDERS for path in (data / folder).glob("*.png")):
        pixels = np.asarray(Image.open(path))
        whole.update(f"{path.parent.name}/{path.name} {pixels.shape}\n".encode())
        whole.update(pixels.tobytes())
    return whole.hexdigest()


def main() -> int:
    """Make the photographs; exit status 1 where their pixels are not those of the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the data, as `tune-qat run --data-dir` takes it")
    made = make(parser.parse_args().data)
    print(f"sha256 of names and pixels: {made}")
    if made != PIXELS_SHA256:
        print(f"The study was run with {PIXELS_SHA256}: other versions of the packages or of Pillow's JPEG decoder.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
