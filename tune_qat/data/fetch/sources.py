"""The table of data sets that can be fetched: their archives, sizes and terms, and how much comes out."""

from collections.abc import Sequence
from dataclasses import dataclass

from tune_qat.config.lookup import Table


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A file that a publisher offers, and the one file or folder of the data folder that comes out of it."""

    file: str
    """Name at the publisher's, and at a mirror below `URL/NAME of the data set/`."""
    gives: str
    """Path under the data folder: a folder that is in the archive by that name, or the file in a `.gz`."""
    size: int
    """Size of the download in bytes; 0 where it is not recorded."""
    exact: bool = True
    """Whether the size is known to the byte, so that another one is refused; else it is only shown."""
    unpacked: int
    """Size of what comes out in bytes, about; an archive that gives twice as much is refused."""
    members: int = 1
    """Number of files that come out, about; an archive of twice as many is refused."""
    urls: tuple[str, ...] = ()
    """Addresses at the publisher's; empty where torchvision's own table has them."""
    checksum: str = ""
    """Checksum as `md5:HEX`; empty where torchvision's table has it, or nobody publishes one."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A line of the table of what can be fetched."""

    name: str
    """Name of the data set in the table of datasets."""
    archives: tuple[Archive, ...]
    samples: tuple[int, int]
    """Numbers of samples: training with validation, and test."""
    home: str
    terms: str
    sums: str
    """Sentence on who says what the checksums are."""
    torchvision: str = ""
    """Class of torchvision whose table has addresses and checksums of the archives."""

    @property
    def download(self) -> int:
        """Bytes of all archives, as far as their sizes are recorded."""
        return sum(one.size for one in self.archives)

    @property
    def disk(self) -> int:
        """Bytes of all that comes out, about."""
        return sum(one.unpacked for one in self.archives)


def size_text(size: float) -> str:
    """Return a number of bytes for people, as 11.6 MB."""
    for unit, bytes_ in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= bytes_:
            return f"{size / bytes_:.1f} {unit}"
    return f"{size:.0f} B"


def download_text(archives: Sequence[Archive], size: int) -> str:
    """Return the bytes to download for these archives, in words that say how well they are known."""
    about = "" if all(one.exact for one in archives) else "about "
    unknown = sum(not one.size for one in archives)
    return f"{about}{size_text(size)}" + (f" and {unknown} archives of unknown size" if unknown else "")


def _idx(folder: str, sizes: dict[str, int]) -> tuple[Archive, ...]:
    """Return the archives of a data set in MNIST's format, by the sizes of their downloads."""
    unpacked = {"train-images": 47_040_016, "train-labels": 60_008, "t10k-images": 7_840_016, "t10k-labels": 10_008}
    return tuple(
        Archive(file=f"{name}.gz", gives=f"{folder}/{name}", size=size, unpacked=unpacked[name.rsplit("-", 2)[0]])
        for name, size in sizes.items()
    )


_TORCHVISION = "MD5 of each archive, from torchvision's table"
_DOGS = "https://cg.cs.tsinghua.edu.cn/ThuDogs"
_DIV2K = "https://data.vision.ee.ethz.ch/cvl/DIV2K"

SOURCES = Table(
    "data set",
    (
        Source(
            name="mnist",
            archives=_idx(
                "MNIST/raw",
                {
                    "train-images-idx3-ubyte": 9_912_422,
                    "train-labels-idx1-ubyte": 28_881,
                    "t10k-images-idx3-ubyte": 1_648_877,
                    "t10k-labels-idx1-ubyte": 4_542,
                },
            ),
            samples=(60_000, 10_000),
            home="http://yann.lecun.com/exdb/mnist/",
            terms="CC BY-SA 3.0, as the documentation of Keras states; its own page names no licence",
            sums=_TORCHVISION,
            torchvision="MNIST",
        ),
        Source(
            name="fashion_mnist",
            archives=_idx(
                "FashionMNIST/raw",
                {
                    "train-images-idx3-ubyte": 26_421_880,
                    "train-labels-idx1-ubyte": 29_515,
                    "t10k-images-idx3-ubyte": 4_422_102,
                    "t10k-labels-idx1-ubyte": 5_148,
                },
            ),
            samples=(60_000, 10_000),
            home="https://github.com/zalandoresearch/fashion-mnist",
            terms="MIT licence of Zalando",
            sums=_TORCHVISION,
            torchvision="FashionMNIST",
        ),
        Source(
            name="cifar10",
            archives=(
                Archive(
                    file="cifar-10-python.tar.gz",
                    gives="cifar-10-batches-py",
                    size=170_498_071,
                    unpacked=186_000_000,
                    members=7,
                ),
            ),
            samples=(50_000, 10_000),
            home="https://www.cs.toronto.edu/~kriz/cifar.html",
            terms="no licence is named; cite Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
            sums=_TORCHVISION,
            torchvision="CIFAR10",
        ),
        Source(
            name="div2k",
            archives=(
                Archive(
                    file="DIV2K_train_HR.zip",
                    gives="DIV2K_train_HR",
                    size=3_530_603_713,
                    unpacked=3_540_000_000,
                    members=800,
                    urls=(f"{_DIV2K}/DIV2K_train_HR.zip",),
                    checksum="md5:bdc2d9338d4e574fe81bf7d158758658",
                ),
                Archive(
                    file="DIV2K_valid_HR.zip",
                    gives="DIV2K_valid_HR",
                    size=448_993_893,
                    unpacked=450_000_000,
                    members=100,
                    urls=(f"{_DIV2K}/DIV2K_valid_HR.zip",),
                    checksum="md5:9fcdda83005c5e5997799b69f955ff88",
                ),
            ),
            samples=(800, 100),
            home=f"{_DIV2K}/",
            terms="academic research only; rights stay with the photographers",
            sums="MD5 of each archive, not published by its authors but recorded alike by several public loaders",
        ),
        Source(
            name="tsinghua_dogs",
            archives=(
                Archive(
                    file="low-resolution.zip",
                    gives="low-resolution",
                    size=2_500_000_000,
                    exact=False,
                    unpacked=2_600_000_000,
                    members=70_428,
                    urls=("https://cloud.tsinghua.edu.cn/f/80013ef29c5f42728fc8/?dl=1",),
                ),
                Archive(
                    file="TrainValSplit.zip",
                    gives="TrainAndValList",
                    size=0,
                    exact=False,
                    unpacked=10_000_000,
                    members=2,
                    urls=(f"{_DOGS}/TrainValSplit.zip",),
                ),
                Archive(
                    file="low-annotations.zip",
                    gives="Low-Annotations",
                    size=0,
                    exact=False,
                    unpacked=300_000_000,
                    members=70_428,
                    urls=(f"{_DOGS}/low-annotations.zip",),
                ),
            ),
            samples=(65_228, 5_200),
            home=f"{_DOGS}/",
            terms="academic purposes, as its paper says; its page names no licence",
            sums="none is published: what arrives is checked by its size as the server gives it, and by being read",
        ),
    ),
)
