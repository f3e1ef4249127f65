"""What each loader does beyond `DatasetConformance`: its layout, its sizes, its bad input."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from tests.data import tiny_folders
from tests.references.datasets import images_of, labelled, pairs
from tune_qat import data
from tune_qat.config import TuneQatError
from tune_qat.data.luma import low_and_high, luma
from tune_qat.data.pixel_file import CACHE_VARIABLE
from tune_qat.data.spec import SPLITS


class TestPhotos:
    def test_default_split_of_scenes(self) -> None:
        names = data.load("photos").names
        assert names == {
            "train": ("china", "hubble_deep_field", "motorcycle_left", "motorcycle_right", "rocket"),
            "val": ("astronaut", "chelsea"),
            "test": ("coffee", "flower"),
        }

    @pytest.mark.parametrize("seed", range(4))
    def test_stereo_pair_stays_together(self, seed: int) -> None:
        names = data.load("photos", options={"split_seed": seed}).names
        assert names is not None
        holders = [split for split, scenes in names.items() if any("motorcycle" in scene for scene in scenes)]
        assert len(holders) == 1
        assert len(names["test"]) >= 2 and len(names["val"]) >= 2

    def test_only_evaluation_photographs_are_cropped(self) -> None:
        cropped, whole = data.load("photos"), data.load("photos", options={"evaluation_crop": 0})
        assert (pairs(cropped, "val").high_shapes == 192).all()
        assert pairs(whole, "val").high_shapes.tolist() == [[510, 510], [300, 450]]
        assert np.array_equal(pairs(cropped, "train").high, pairs(whole, "train").high)
        assert cropped.fingerprint != whole.fingerprint
        high = images_of(pairs(whole, "val"))[1][1]
        assert np.array_equal(images_of(pairs(cropped, "val"))[1][1], high[54 : 54 + 192, 129 : 129 + 192])

    def test_scale_is_part_of_the_data(self) -> None:
        at_two = data.load("photos", options={"scale": 2})
        assert at_two.model_input.scale == 2
        assert np.array_equal(pairs(at_two, "val").low_shapes * 2, pairs(at_two, "val").high_shapes)
        assert at_two.fingerprint != data.load("photos").fingerprint

    def test_patch_larger_than_a_photograph_is_refused(self) -> None:
        with pytest.raises(TuneQatError, match="(?s)images cannot be read.*rocket.*640 x 427 .*too few.*450 x 450"):
            data.load("photos", options={"patch_size": 150})

    def test_evaluation_crop_that_leaves_nothing_is_refused(self) -> None:
        with pytest.raises(TuneQatError, match="4 of 9 images cannot be read"):
            data.load("photos", options={"evaluation_crop": 2})


class TestDigits:
    def test_digits_are_enlarged_with_a_border(self) -> None:
        dataset, source = data.load("digits"), load_digits()
        assert dataset.sizes == {"train": 1079, "val": 359, "test": 359}
        known = {image.astype(int).tobytes(): label for image, label in zip(source.images, source.target, strict=True)}
        for split in (labelled(dataset, name) for name in SPLITS):
            border = split.images.copy()
            border[:, :, 2:26, 2:26] = 0
            assert not border.any()
            for image, label in zip(split.images[:, 0], split.labels, strict=True):
                small = np.rint(image[3:26:3, 3:26:3] * (16 / 255)).astype(int)
                assert known[small.tobytes()] == label
                assert np.array_equal(image[2:26, 2:26], image[3:26:3, 3:26:3].repeat(3, 0).repeat(3, 1))

    def test_splits_are_stratified(self) -> None:
        dataset = data.load("digits")
        for split in (labelled(dataset, name) for name in SPLITS):
            share = np.bincount(split.labels) / len(split.labels)
            assert np.abs(share - 0.1).max() < 0.01  # classes of 174 to 183 of 1,797, and rounding to whole samples

    def test_train_limit_keeps_the_other_splits(self) -> None:
        full, limited = data.load("digits"), data.load("digits", options={"train_limit": 100})
        assert limited.sizes == {"train": 100, "val": 359, "test": 359}
        assert np.array_equal(labelled(full, "test").images, labelled(limited, "test").images)
        assert limited.fingerprint == full.fingerprint and limited.split_fingerprint != full.split_fingerprint
        assert np.bincount(labelled(limited, "train").labels).min() >= 9  # stratified: 10 of each, up to rounding


class TestTorchvisionSets:
    def test_mnist_images_and_labels_are_those_of_the_files(self, tmp_path: Path) -> None:
        tiny_folders.write_mnist(tmp_path, "MNIST")
        dataset = data.load("mnist", data_dir=tmp_path)
        n = tiny_folders.MNIST_TRAIN
        assert dataset.sizes == {"train": n - n // 10, "val": n // 10, "test": tiny_folders.MNIST_TEST}
        raw = (tmp_path / "MNIST/raw/t10k-images-idx3-ubyte").read_bytes()[16:]
        assert labelled(dataset, "test").images.tobytes() == raw
        assert labelled(dataset, "test").labels.tolist() == [i % 10 for i in range(tiny_folders.MNIST_TEST)]

    def test_cifar10_channels_come_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tiny_folders.write_cifar10(tmp_path, monkeypatch)
        dataset = data.load("cifar10", data_dir=tmp_path)
        assert dataset.sizes == {"train": 90, "val": 10, "test": 20}
        batch = np.load(tmp_path / "cifar-10-batches-py/test_batch", allow_pickle=True)["data"]
        assert np.array_equal(labelled(dataset, "test").images, batch.reshape(20, 3, 32, 32))
        assert dataset.options["augment"] == "crop_flip"

    @pytest.mark.parametrize("damage", ["truncated", "removed"])
    def test_damaged_file_is_refused(self, tmp_path: Path, damage: str) -> None:
        tiny_folders.write_mnist(tmp_path, "FashionMNIST")
        file = tmp_path / "FashionMNIST/raw/train-images-idx3-ubyte"
        if damage == "truncated":
            file.write_bytes(file.read_bytes()[:-100])
        else:
            file.unlink()
        with pytest.raises(TuneQatError, match="(?s)'fashion_mnist' in .*raw are incomplete or damaged.*get the data"):
            data.load("fashion_mnist", data_dir=tmp_path)

    def test_cifar10_of_another_checksum_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tiny_folders.write_cifar10(tmp_path, monkeypatch)
        file = tmp_path / "cifar-10-batches-py/data_batch_2"
        file.write_bytes(file.read_bytes() + b"x")
        with pytest.raises(TuneQatError, match="(?s)'cifar10' in .* are incomplete or damaged"):
            data.load("cifar10", data_dir=tmp_path)


class TestDiv2k:
    def test_official_validation_images_are_the_test_split(self, tmp_path: Path) -> None:
        tiny_folders.write_div2k(tmp_path, n_train=25, n_test=3)
        dataset = data.load("div2k", data_dir=tmp_path)
        assert dataset.sizes == {"train": 23, "val": 2, "test": 3}
        assert dataset.names is not None and dataset.names["test"] == ("0801", "0802", "0803")
        image = Image.open(tmp_path / "DIV2K_valid_HR/0802.png")
        low, high = low_and_high(image, 3)
        found_low, found_high = images_of(pairs(dataset, "test"))[1]
        assert np.array_equal(found_low, low) and np.array_equal(found_high, high)
        assert np.array_equal(found_high, luma(np.asarray(image))[:75, :93])

    def test_a_tenth_is_validation_from_thirty_images_on(self, tmp_path: Path) -> None:
        tiny_folders.write_div2k(tmp_path, n_train=30, n_test=1)
        assert data.load("div2k", data_dir=tmp_path).sizes == {"train": 27, "val": 3, "test": 1}

    def test_corrupt_images_are_named_and_counted(self, tmp_path: Path) -> None:
        tiny_folders.write_div2k(tmp_path)
        (tmp_path / "DIV2K_train_HR/0003.png").write_bytes(b"no image")
        cut = tmp_path / "DIV2K_valid_HR/0801.png"
        cut.write_bytes(cut.read_bytes()[:300])
        with pytest.raises(TuneQatError) as caught:
            data.load("div2k", data_dir=tmp_path)
        text = str(caught.value)
        assert "2 of 8 images cannot be read:" in text
        assert "0003.png: cannot identify" in text and "0801.png: " in text

    def test_too_few_training_images_are_refused(self, tmp_path: Path) -> None:
        tiny_folders.write_div2k(tmp_path, n_train=2)
        with pytest.raises(TuneQatError, match="must hold more than 2 images.*holds 2"):
            data.load("div2k", data_dir=tmp_path)

    def test_folder_without_images_is_missing_data(self, tmp_path: Path) -> None:
        (tmp_path / "DIV2K_train_HR").mkdir()
        with pytest.raises(TuneQatError, match=r"looked for .*DIV2K_train_HR/\*\.png"):
            data.load("div2k", data_dir=tmp_path)

    def test_other_pixels_are_other_data(self, tmp_path: Path) -> None:
        tiny_folders.write_div2k(tmp_path)
        before = data.load("div2k", data_dir=tmp_path).fingerprint
        path = tmp_path / "DIV2K_train_HR/0002.png"
        pixels = np.asarray(Image.open(path)).copy()
        pixels[0, 0, 0] ^= 1
        Image.fromarray(pixels).save(path)
        assert data.load("div2k", data_dir=tmp_path).fingerprint != before


class TestTsinghuaDogs:
    OPTIONS = {"image_size": 16}

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        tiny_folders.write_tsinghua_dogs(tmp_path)
        return tmp_path

    def test_lists_make_the_splits_and_folders_the_classes(self, folder: Path) -> None:
        dataset = data.load("tsinghua_dogs", data_dir=folder, options=self.OPTIONS)
        assert dataset.sizes == {"train": 57, "val": 3, "test": 12}
        assert dataset.model_input.classes == 3
        assert dataset.names is not None
        breeds = sorted(tiny_folders.BREEDS)
        for split, names in dataset.names.items():
            labels = labelled(dataset, split).labels
            assert [breeds[label] for label in labels] == [name.split("/")[0] for name in names]

    def test_images_are_the_resized_centre(self, folder: Path) -> None:
        dataset = data.load("tsinghua_dogs", data_dir=folder, options=self.OPTIONS)
        assert dataset.names is not None
        found = labelled(dataset, "test").images[0].transpose(1, 2, 0).astype(int)
        image = Image.open(folder / "low-resolution" / dataset.names["test"][0])
        half = min(image.size) * 224 / 256 / 2
        x, y = image.width / 2, image.height / 2
        box = (round(x - half), round(y - half), round(x + half), round(y + half))
        expected = np.asarray(image.crop(box).resize((16, 16), Image.Resampling.BILINEAR)).astype(int)
        assert np.abs(found - expected).mean() < 8  # the box here is rounded to whole pixels of the source

    def test_lists_may_lie_where_the_archive_leaves_them(self, folder: Path) -> None:
        (folder / "TrainValSplit").mkdir()
        (folder / "TrainAndValList").rename(folder / "TrainValSplit/TrainAndValList")
        assert data.load("tsinghua_dogs", data_dir=folder, options=self.OPTIONS).sizes["test"] == 12

    def test_names_in_a_list_may_lack_the_leading_dot(self, folder: Path) -> None:
        file = folder / "TrainAndValList/validation.lst"
        names = file.read_text(encoding="utf-8-sig").replace(".//", "")
        file.write_text(names, encoding="utf-8-sig")
        assert data.load("tsinghua_dogs", data_dir=folder, options=self.OPTIONS).sizes["test"] == 12

    def test_box_selects_the_largest_dog_with_its_margin(self, folder: Path) -> None:
        name = f"{tiny_folders.BREEDS[0]}/n000020.jpg"
        pixels = np.zeros((100, 200, 3), np.uint8)
        pixels[30:70, 110:170] = 255
        Image.fromarray(pixels).save(folder / "low-resolution" / name, quality=100)
        annotation = folder / "Low-Annotations" / f"{name}.xml"
        annotation.write_text(tiny_folders.dog_annotation((1, 1, 9, 9), (110, 30, 170, 70)), encoding="utf-8-sig")
        boxed = data.load("tsinghua_dogs", data_dir=folder, options={**self.OPTIONS, "use_boxes": True})
        whole = data.load("tsinghua_dogs", data_dir=folder, options=self.OPTIONS)
        place = boxed.names["test"].index(name)  # type: ignore[index]
        # The box with its margin is 48 pixels high and the square 0.875 of that, so 42 around a dog of 40.
        assert labelled(boxed, "test").images[place].mean() > 0.9 * 255
        assert labelled(whole, "test").images[place].mean() < 0.6 * 255
        assert boxed.fingerprint != whole.fingerprint

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "document type"),
            ("<annotation></annotation>", "no bodybndbox"),
            ("<annotation><object>", "no element found"),
            (tiny_folders.dog_annotation((500, 500, 600, 600)), "outside of the image"),
            (tiny_folders.dog_annotation((20, 20, 20, 20)), "empty"),
            (None, "No such file or directory: n000003.jpg.xml"),
        ],
    )
    def test_bad_annotation_is_named(self, folder: Path, text: str | None, reason: str) -> None:
        annotation = folder / "Low-Annotations" / tiny_folders.BREEDS[0] / "n000003.jpg.xml"
        annotation.unlink() if text is None else annotation.write_text(text)
        with pytest.raises(TuneQatError, match=f"(?s)1 of 72 images cannot be read.*n000003.jpg: .*{reason}"):
            data.load("tsinghua_dogs", data_dir=folder, options={**self.OPTIONS, "use_boxes": True})

    def test_corrupt_and_missing_images_are_named_and_counted(self, folder: Path) -> None:
        breed = folder / "low-resolution" / tiny_folders.BREEDS[1]
        (breed / "n100000.jpg").unlink()
        (breed / "n100021.jpg").write_bytes((breed / "n100021.jpg").read_bytes()[:200])
        with pytest.raises(TuneQatError) as caught:
            data.load("tsinghua_dogs", data_dir=folder, options=self.OPTIONS)
        text = str(caught.value)
        assert "2 of 72 images cannot be read:" in text and "n100000.jpg: No such file" in text
        assert "n100021.jpg: " in text

    def test_breed_that_is_not_in_training_is_refused(self, folder: Path) -> None:
        with (folder / "TrainAndValList/validation.lst").open("a") as file:
            file.write(".//1-n000999-wolf/n1.jpg\n")
        with pytest.raises(TuneQatError, match="1-n000999-wolf"):
            data.load("tsinghua_dogs", data_dir=folder, options=self.OPTIONS)

    @pytest.mark.parametrize("content", ["", "n000001.jpg\n"])
    def test_list_that_names_no_breed_is_refused(self, folder: Path, content: str) -> None:
        (folder / "TrainAndValList/train.lst").write_text(content)
        with pytest.raises(TuneQatError, match=r"train\.lst must name images"):
            data.load("tsinghua_dogs", data_dir=folder, options=self.OPTIONS)

    def test_train_limit_decodes_only_what_is_used(self, folder: Path) -> None:
        full = data.load("tsinghua_dogs", data_dir=folder, options=self.OPTIONS)
        limited = data.load("tsinghua_dogs", data_dir=folder, options={**self.OPTIONS, "train_limit": 6})
        assert limited.sizes == {"train": 6, "val": 3, "test": 12}
        assert limited.names is not None and full.names is not None
        assert set(limited.names["train"]) < set(full.names["train"])
        assert limited.names["val"] == full.names["val"]
        assert np.bincount(labelled(limited, "train").labels).tolist() == [2, 2, 2]


class TestImagenet:
    OPTIONS = {"image_size": 16, "in_memory": True}

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        tiny_folders.write_imagenet(tmp_path)
        return tmp_path

    def test_val_is_the_test_split_and_folders_are_the_classes(self, folder: Path) -> None:
        dataset = data.load("imagenet", data_dir=folder, options=self.OPTIONS)
        assert dataset.sizes == {"train": 57, "val": 3, "test": 12}
        assert dataset.model_input.classes == 3
        for split, each in (("train", 19), ("val", 1), ("test", 4)):  # stratified
            assert np.bincount(labelled(dataset, split).labels).tolist() == [each] * 3

    def test_pixels_and_labels_are_those_of_the_files(self, folder: Path) -> None:
        # Each class a grey of its own; torchvision's classes and files in its order.
        levels = {"train": (10, 60, 110), "val": (160, 200, 240)}
        for split, greys in levels.items():
            for synset, grey in zip(tiny_folders.SYNSETS, greys, strict=True):
                for file in (folder / "imagenet" / split / synset).iterdir():
                    Image.new("RGB", (30, 20), (grey,) * 3).save(file, format="JPEG")
        dataset = data.load("imagenet", data_dir=folder, options=self.OPTIONS)
        theirs = ImageFolder(folder / "imagenet" / "val")
        assert labelled(dataset, "test").labels.tolist() == theirs.targets
        for split in ("train", "val", "test"):
            arrays, expected = labelled(dataset, split), np.array(levels["val" if split == "test" else "train"])
            assert np.abs(arrays.images.mean((1, 2, 3)) - expected[arrays.labels]).max() < 2  # JPEG of a flat picture

    def test_images_are_torchvisions_evaluation_crop(self, folder: Path) -> None:
        theirs = ImageFolder(folder / "imagenet" / "val", v2.Compose([v2.Resize(32), v2.CenterCrop(28)]))
        dataset = data.load("imagenet", data_dir=folder, options={**self.OPTIONS, "image_size": 28})
        for index in range(len(theirs)):
            found = labelled(dataset, "test").images[index].astype(int).transpose(1, 2, 0)
            # Resized in one step and not to whole pixels first: 0 to 1.8 levels apart; another square is 7 off.
            assert np.abs(found - np.asarray(theirs[index][0]).astype(int)).mean() < 3

    def test_the_data_folder_may_be_imagenets_own(self, folder: Path) -> None:
        theirs = data.load("imagenet", data_dir=folder, options=self.OPTIONS)
        ours = data.load("imagenet", data_dir=folder / "imagenet", options=self.OPTIONS)
        assert ours.fingerprint == theirs.fingerprint and ours.split_fingerprint == theirs.split_fingerprint

    def test_only_images_count(self, folder: Path) -> None:
        before = data.load("imagenet", data_dir=folder, options=self.OPTIONS)
        synset = folder / "imagenet" / "train" / tiny_folders.SYNSETS[0]
        (synset / "notes.txt").write_text("no image")
        (folder / "imagenet" / "train" / "wnids.txt").write_text("no class")
        assert data.load("imagenet", data_dir=folder, options=self.OPTIONS).fingerprint == before.fingerprint
        next(synset.glob("*.JPEG")).rename(synset / "other.png")  # by content, whatever it is called
        assert data.load("imagenet", data_dir=folder, options=self.OPTIONS).sizes == before.sizes

    def test_train_limit_decodes_only_what_is_used(self, folder: Path) -> None:
        limited = data.load("imagenet", data_dir=folder, options={**self.OPTIONS, "train_limit": 6})
        assert limited.sizes == {"train": 6, "val": 3, "test": 12}
        assert np.bincount(labelled(limited, "train").labels).tolist() == [2, 2, 2]

    def test_missing_folders_get_the_layout(self, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        empty = tmp_path_factory.mktemp("empty")
        with pytest.raises(
            TuneQatError, match=r"(?s)looked for .*imagenet/train.*\{train,val\}/<class>.*image-net\.org"
        ):
            data.load("imagenet", data_dir=empty, options=self.OPTIONS)
        shutil.rmtree(folder / "imagenet" / "val")
        with pytest.raises(TuneQatError, match="looked for .*imagenet/val/<class>"):
            data.load("imagenet", data_dir=folder, options=self.OPTIONS)
        (folder / "imagenet" / "val").mkdir()
        with pytest.raises(TuneQatError, match="looked for .*imagenet/val/<class>"):
            data.load("imagenet", data_dir=folder, options=self.OPTIONS)

    @pytest.mark.parametrize(("lacking", "having"), [("val", "train"), ("train", "val")])
    def test_other_classes_in_train_and_val_are_refused(self, folder: Path, lacking: str, having: str) -> None:
        shutil.rmtree(folder / "imagenet" / lacking / tiny_folders.SYNSETS[1])
        with pytest.raises(TuneQatError, match=f"{lacking} lacks classes that {having} has: {tiny_folders.SYNSETS[1]}"):
            data.load("imagenet", data_dir=folder, options=self.OPTIONS)

    def test_a_class_without_images_is_refused(self, folder: Path) -> None:
        (folder / "imagenet" / "train" / "n09999999").mkdir()
        with pytest.raises(TuneQatError, match="class folders without an image: n09999999"):
            data.load("imagenet", data_dir=folder, options=self.OPTIONS)

    def test_corrupt_images_are_named_and_counted(self, folder: Path) -> None:
        file = next((folder / "imagenet" / "val" / tiny_folders.SYNSETS[2]).iterdir())
        file.write_bytes(file.read_bytes()[:200])
        with pytest.raises(TuneQatError, match=f"(?s)1 of 72 images cannot be read.*{file.name}"):
            data.load("imagenet", data_dir=folder, options=self.OPTIONS)

    def test_on_disk_it_is_the_same(self, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        in_memory = data.load("imagenet", data_dir=folder, options=self.OPTIONS)
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
            on_disk = data.load("imagenet", data_dir=folder, options={"image_size": 16})
            assert on_disk.fingerprint == in_memory.fingerprint
            for split in ("train", "val", "test"):
                assert np.array_equal(labelled(on_disk, split).images, labelled(in_memory, split).images)
