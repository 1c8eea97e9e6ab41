"""MONAI bundles: a small one made by a test, run by MONAI's own parser, inferer and transforms, and by this engine."""

import copy
import json

import nibabel
import numpy as np
import pytest
import torch
from custom_common import describe, load, scan, segment

from umd_engine.data.nifti import read
from umd_engine.errors import CheckpointError, MissingFileError, ModelError, UnsupportedModelError
from umd_engine.models.catalog import Request
from umd_engine.models.custom.bundle.config import Config

SPLEEN = {
    "imports": ["$import glob", "$import os"],
    "bundle_root": ".",
    "output_dir": "$@bundle_root + '/eval'",
    "dataset_dir": "/data",
    "datalist": "$list(sorted(glob.glob(@dataset_dir + '/imagesTs/*.nii.gz')))",
    "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
    "network_def": {
        "_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [4, 8, 8],
        "strides": [2, 2], "num_res_units": 1, "norm": "batch",
    },
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
            {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5, 2.0], "mode": "bilinear"},
            {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -57, "a_max": 164, "b_min": 0, "b_max": 1,
             "clip": True},
            {"_target_": "EnsureTyped", "keys": "image"},
        ],
    },
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [24, 24, 16], "sw_batch_size": 4, "overlap": 0.5},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image",
             "nearest_interp": False, "to_tensor": True},
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir"},
        ],
    },
    "evaluator": {"_target_": "SupervisedEvaluator", "amp": True},
    "checkpointloader": {"_target_": "CheckpointLoader", "load_path": "$@bundle_root + '/models/model.pt'",
                         "load_dict": {"model": "@network"}},
    "run": ["$@evaluator.run()"],
}  # fmt: skip


def whole_body():
    """The other common pattern: choices, z-scores of what is not 0, Gaussian windows, argmax before the way back."""
    made = copy.deepcopy(SPLEEN)
    made["displayable_configs"] = {"highres": False, "sw_overlap": 0.25, "sw_batch_size": 1}
    made["image_key"] = "image"
    made["pixdim"] = "$[1.5, 1.5, 1.5] if @displayable_configs#highres else [3.0, 3.0, 3.0]"
    made["modelname"] = "$'model.pt' if @displayable_configs#highres else 'model_lowres.pt'"
    made["checkpointloader"]["load_path"] = "$@bundle_root + '/models/' + @modelname"
    made["network_def"] = {"_target_": "SegResNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 3,
                           "init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1], "dropout_prob": 0.2}  # fmt: skip
    made["preprocessing"]["transforms"][3]["pixdim"] = "@pixdim"
    made["preprocessing"]["transforms"][4:5] = [
        {"_target_": "NormalizeIntensityd", "keys": "@image_key", "nonzero": True},
        {"_target_": "ScaleIntensityd", "keys": "@image_key", "minv": -1.0, "maxv": 1.0},
    ]
    made["inferer"] |= {"overlap": "@displayable_configs#sw_overlap", "mode": "gaussian", "padding_mode": "replicate",
                        "device": "$torch.device('cpu')", "roi_size": [16, 16, 32]}  # fmt: skip
    steps = made["postprocessing"]["transforms"]
    steps[1], steps[2] = steps[2], {**steps[1], "nearest_interp": True}
    return made


def sigmoids():
    made = copy.deepcopy(SPLEEN)
    made["network_def"] = {"_target_": "monai.networks.nets.DynUNet", "spatial_dims": 3, "in_channels": 1,
                           "out_channels": 3, "kernel_size": [3, 3, 3], "strides": [1, 2, 2],
                           "upsample_kernel_size": [2, 2], "filters": [4, 8, 8],
                           "norm_name": ["INSTANCE", {"affine": True}]}  # fmt: skip
    made["preprocessing"]["transforms"][4] = {
        "_target_": "ScaleIntensityRangePercentilesd", "keys": "image", "lower": 1, "upper": 99, "b_min": -1.0,
        "b_max": 1.0, "clip": True,
    }  # fmt: skip
    made["postprocessing"]["transforms"][0] = {"_target_": "Activationsd", "keys": "pred", "sigmoid": True}
    made["postprocessing"]["transforms"][2] = {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5}
    return made


def bundle(folder, config=SPLEEN, names=("background", "liver", "spleen"), weights="model.pt"):
    """A bundle's folder as MONAI's own classes make it."""
    from monai.bundle import ConfigParser

    for name in ("configs", "models"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    outputs = {"pred": {"num_channels": len(names), "channel_def": {str(i): n for i, n in enumerate(names)}}}
    data = {"inputs": {"image": {"num_channels": 1, "channel_def": {"0": "image"}}}, "outputs": outputs}
    (folder / "configs" / "metadata.json").write_text(json.dumps({"network_data_format": data}))
    torch.manual_seed(5)
    network = ConfigParser(config).get_parsed_content("network_def")
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    last = [m for m in network.modules() if getattr(m, "out_channels", 0) == 3 and getattr(m, "bias", None) is not None]
    with torch.no_grad():  # every class somewhere
        last[-1].bias -= network.eval()(torch.rand(1, 1, 32, 32, 32)).mean((0, 2, 3, 4))
    torch.save({"model": network.state_dict()}, folder / "models" / weights)
    return folder


def official(folder, image_file):
    """MONAI's run: its parser's transforms, network and inferer, without the ignite loop around them."""
    from monai.bundle import ConfigParser
    from monai.data import decollate_batch, list_data_collate

    config = json.loads((folder / "configs" / "inference.json").read_text())
    config["bundle_root"], config["device"] = str(folder), "$torch.device('cpu')"
    config["postprocessing"]["transforms"] = config["postprocessing"]["transforms"][:-1]  # nothing is saved
    parser = ConfigParser(config)
    parser["imports"] = []
    prepare, inferer, finish, network = (
        parser.get_parsed_content(key) for key in ("preprocessing", "inferer", "postprocessing", "network_def")
    )
    path = parser.get_parsed_content("checkpointloader#load_path")
    network.load_state_dict(torch.load(path, weights_only=True)["model"])
    network.eval()
    batch = list_data_collate([prepare({"image": str(image_file)})])
    with torch.no_grad():
        batch["pred"] = inferer(batch["image"], network)
    (done,) = [finish(item) for item in decollate_batch(batch)]
    return done["pred"].as_tensor().numpy(), done["pred"].affine.numpy()


@pytest.fixture
def head(tmp_path):
    """An image that lies in its file in another order than RAS."""
    volume = scan((47, 38, 33), (1.2, 1.7, 1.4), seed=4, smooth=6)
    turned = nibabel.Nifti1Image(np.ascontiguousarray(volume.voxels), volume.affine).as_reoriented(
        nibabel.orientations.axcodes2ornt("PIL")
    )
    nibabel.save(turned, tmp_path / "head.nii.gz")
    return tmp_path / "head.nii.gz"


@pytest.mark.parametrize(
    ("config", "weights"), [(SPLEEN, "model.pt"), (whole_body(), "model_lowres.pt"), (sigmoids(), "model.pt")],
    ids=["spleen", "whole body", "sigmoids"],
)  # fmt: skip
def test_a_bundle_is_run_as_monai_runs_it(config, weights, tmp_path, head):
    folder = bundle(tmp_path / "mine", config, weights=weights)
    model = Request.parse(str(folder)).load({})
    image = read(head)
    labels = segment(model, image).labels
    wanted, _ = official(folder, head)
    found = image.grid.to_file_order(labels.numpy())
    if config["network_def"]["_target_"].endswith("DynUNet"):
        painted = np.zeros(wanted.shape[1:], np.uint8)
        for channel in range(3):
            painted[wanted[channel] > 0] = channel + 1  # later organs over earlier ones
        assert model.organs == {"background": (1,), "liver": (2,), "spleen": (3,)}
    else:
        painted = wanted[0].astype(np.uint8)
        assert model.organs == {"liver": (1,), "spleen": (2,)}
    assert len(np.unique(painted)) >= 3 and found.shape == painted.shape
    assert (found != painted).sum() <= 5
    assert model.protocol["name"] == "monai-bundle" and model.protocol["trusted"] == []


def test_the_request_may_name_it_too(tmp_path):
    folder = bundle(tmp_path / "mine")
    assert Request.parse(str(folder)).title == "mine"
    named = Request.parse(f"monai-bundle@spleen={folder}")
    assert (
        named.title == "monai-bundle@spleen" and named.load({}).weights == Request.parse(str(folder)).load({}).weights
    )


def test_a_description_may_take_a_bundles_network(tmp_path):
    bundle(tmp_path)
    path = describe(tmp_path, {"format": "bundle", "file": "configs/inference.json"}, windows__patch=[16, 16, 16])
    found = segment(load(path, trust=False), scan())
    assert set(torch.unique(found.labels).tolist()) <= {0, 1, 2}


def test_the_bundle_file_that_is_named_is_the_one_that_is_read(tmp_path):
    import shutil

    bundle(tmp_path / "mine")
    (tmp_path / "mine" / "other").mkdir()
    shutil.copy(tmp_path / "mine/configs/inference.json", tmp_path / "mine/other/inference.json")
    (tmp_path / "mine/configs/inference.yaml").write_text("network_def: {_target_: os.system}")
    for file in ("configs/inference.yaml", "other/inference.json"):
        with pytest.raises(ModelError, match=r"configuration is .*configs/inference\.json"):
            load(describe(tmp_path, {"format": "bundle", "file": f"mine/{file}"}), trust=False)
    (tmp_path / "mine/models/model.pt").rename(tmp_path / "w.pt")  # beside the description
    network = {"format": "bundle", "file": "mine/configs/inference.json", "weights": "w.pt"}
    files = load(describe(tmp_path, network), trust=False).protocol["files"]
    assert list(files) == ["network:mine/configs/inference.json", "network:w.pt"]
    with pytest.raises(MissingFileError, match="no such weights"):
        load(describe(tmp_path, network | {"weights": "gone.pt"}), trust=False)


def _set(way, value):
    def change(config):
        place = config
        for step in way[:-1]:
            place = place[step]
        place[way[-1]] = value

    return change


def _percentile(**changes):
    return _set((*STEPS, 4), {"_target_": "ScaleIntensityRangePercentilesd", "keys": "image", "lower": 1, "upper": 99,
                              "b_min": 0, "b_max": 1} | changes)  # fmt: skip


def _components(**changes):
    def change(config):
        config["postprocessing"]["transforms"].insert(
            3, {"_target_": "KeepLargestConnectedComponentd", "keys": "pred"} | changes
        )

    return change


def _multiplied(config):
    config["network_def"]["channels"] = "@a0"
    config.update({f"a{i}": [f"@a{i + 1}"] * 20 for i in range(8)}, a8=1)


STEPS, AFTER = ("preprocessing", "transforms"), ("postprocessing", "transforms")
RUNS = "$__import__('pathlib').Path('it_ran').touch()"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set(("network_def", "_target_"), "os.system"), "'os.system' is not on the allow-list"),
        (_set(("network_def", "_target_"), "mine.UNet"), "'mine.UNet' is not on the allow-list"),
        (_set(("network_def", "_target_"), "torch.nn.Conv3d"), "allow-list"),
        (_set(("network_def",), "$monai.networks.nets.UNet()"), "no network_def"),
        (_set(("network_def", "strides"), RUNS), "the expression"),
        (_set(("network_def", "strides"), "$[2 for i in range(2)]"), "the expression"),
        (_set(("network_def", "norm"), {"_target_": "os.getcwd"}), "made by 'os.getcwd'"),
        (_set(("network_def", "_mode_"), "callable"), None),
        (_set(("network_def", "strides"), "%other.json::x"), "another file"),
        (_set(("network_def", "strides"), "@nothing"), "refers to nothing"),
        (_set(("network_def", "strides"), "@network_def#strides"), "times"),
        (_set(("network_def", "stride"), 2), "cannot be built"),
        (_set((*STEPS, 4, "a_min"), "$int(3)"), "the expression"),
        (_set((*STEPS, 4, "_target_"), "Lambdad"), "preprocessing with Lambdad"),
        (_set((*STEPS, 4, "_target_"), "mine.ScaleIntensityRanged"), "'mine.ScaleIntensityRanged'"),
        (_set((*STEPS, 4, "speed"), 3), "ScaleIntensityRanged with speed"),
        (_set((*STEPS, 3, "padding_mode"), "zeros"), "Spacingd with padding_mode"),
        (_set((*STEPS, 2, "_target_"), "EnsureTyped"), "Orientationd"),
        (_set((*STEPS, 3, "mode"), ["bilinear", "nearest"]), r"Spacingd with mode \['bil"),
        (_percentile(lower=None), "lower None, which is no number"),
        (_percentile(upper="99"), "upper '99', which is no number"),
        (_set((*AFTER, 2), {"_target_": "AsDiscreted", "threshold": "abc"}), "threshold 'abc', which is no number"),
        (_components(applied_labels="x"), "applied_labels that are no numbers"),
        (_components(connectivity=4), "connectivity 4"),
        (_components(connectivity=[1]), r"connectivity \[1\]"),
        (_components(is_onehot=True), "is_onehot"),
        (lambda config: (_percentile()(config), _set(("network_def",), "@net")(config)), "no dictionary"),
        (_set(("network_def",), "@net"), "no network_def"),
        (_multiplied, "references that multiply"),
        (_set((*STEPS, 4, "b_max"), []), "intensity.0"),
        (_set((*STEPS, 2, "_target_"), {"a": 1}), "preprocessing with"),
        (_set(("network_def", "strides"), "$" + "-" * 3000 + "1"), "the expression"),
        (_set(("preprocessing",), "$@other"), "no Compose"),
        (_set((*AFTER, 0, "_target_"), "Lambdad"), "postprocessing with Lambdad"),
        (_set((*AFTER, 2, "argmax"), False), "neither argmax nor a threshold"),
        (_set((*AFTER, 1, "transform"), "@inferer"), "Invertd of another"),
        (_set((*AFTER, 1, "_target_"), "EnsureTyped"), "in the order"),
        (_set(("inferer", "_target_"), "SimpleInferer"), "no SlidingWindowInferer"),
        (_set(("inferer", "cval"), 3), "SlidingWindowInferer"),
        (_set(("inferer", "roi_size"), [24, 24, -1]), "windows.patch.2"),
        (_set(("checkpointloader", "load_path"), "/etc/passwd"), "outside the bundle"),
        (_set(("checkpointloader", "load_path"), "$@bundle_root + '/../w.pt'"), "outside the bundle"),
        (_set(("checkpointloader", "load_path"), "$os.path.join('a')"), "the expression"),
    ],
)  # fmt: skip
def test_what_is_not_the_pattern_is_refused_and_not_run(change, words, tmp_path, monkeypatch):
    folder = bundle(tmp_path / "mine")
    config = copy.deepcopy(SPLEEN)
    change(config)
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    monkeypatch.chdir(tmp_path)
    if words is None:
        assert Request.parse(str(folder)).load({}).organs
        return
    with pytest.raises(ModelError, match=words) as caught:
        Request.parse(str(folder)).load({})
    assert str(caught.value.where).startswith(str(folder)) and caught.value.mend
    assert not (tmp_path / "it_ran").exists()


def _described(folder, change=lambda config: None, base=SPLEEN, names=("background", "liver", "spleen")):
    config = copy.deepcopy(base)
    change(config)
    bundle(folder, base, names)
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    return Request.parse(str(folder)).load({}).description.output


@pytest.mark.parametrize(("hops", "neighbours"), [(1, 6), (2, 18), (3, 26), (None, 26)])
def test_components_are_joined_as_monai_joins_them(hops, neighbours, tmp_path):
    from monai.transforms import KeepLargestConnectedComponent

    from umd_engine.kernels.components import largest_component

    output = _described(tmp_path, _components(connectivity=hops, is_onehot=False))
    assert output.connectivity == neighbours and output.largest_component == ("liver", "spleen")
    labels = (torch.rand((1, 20, 20, 20), generator=torch.Generator().manual_seed(1)) > 0.75).to(torch.uint8)
    wanted = KeepLargestConnectedComponent(connectivity=hops)(labels.clone())[0] != 0
    assert torch.equal(largest_component(labels[0], output.connectivity) != 0, wanted)


def test_channel_0_keeps_its_components_unless_it_is_named(tmp_path):
    assert _described(tmp_path, _components(), sigmoids()).largest_component == ("liver", "spleen")
    assert _described(tmp_path, _components(applied_labels=0), sigmoids()).largest_component == ("background",)


@pytest.mark.parametrize("threshold", [0.5, 0.0, 0.3, 1.0, -2.0])
def test_the_threshold_itself_is_above_it_as_in_monai(threshold, tmp_path):
    from monai.transforms import AsDiscrete

    limit = torch.tensor(threshold)
    values = torch.stack([limit, torch.nextafter(limit, -limit.new_tensor(9.0)), limit + 0.1, limit - 0.1])
    output = _described(tmp_path, _set((*AFTER, 2, "threshold"), threshold), sigmoids())
    found = values.clone().sub_(output.threshold) > 0
    wanted = AsDiscrete(threshold=threshold)(values[None])[0] != 0
    assert found[0] and (torch.equal(found, wanted) or threshold == 0)  # at 0 the least normal number is 0


def test_files_of_a_bundle_that_are_missing_or_broken(tmp_path):
    folder = bundle(tmp_path / "mine")
    request = Request.parse(str(folder))
    (folder / "models" / "model.pt").rename(folder / "w.pt")
    with pytest.raises(MissingFileError, match="no such weights"):
        request.load({})
    torch.save({"model": {}}, folder / "models" / "model.pt")
    with pytest.raises(CheckpointError, match="missing"):
        request.load({})
    with pytest.raises(MissingFileError, match=r"other\.json"):
        request.load({"config": "other"})
    metadata = folder / "configs" / "metadata.json"
    many = metadata.read_text().replace('"num_channels": 1', '"num_channels": 1000000000000')
    for text in ("{}", "[", "[]", '{"network_data_format": {"inputs": {}, "outputs": {}}}', many):
        metadata.write_text(text)
        with pytest.raises(CheckpointError):
            request.load({})
    metadata.unlink()
    with pytest.raises(MissingFileError):
        request.load({})


@pytest.mark.parametrize(
    ("text", "value"),
    [("$'a' + @b", "ab"), ("$-3", -3), ("$[1, -2.5, @c#d]", [1, -2.5, 7]), ("$@c#e#1", "y"), ("$1 if @f else 2", 2),
     ("plain", "plain"), ("@bundle_root", ".")],
)  # fmt: skip
def test_the_expressions_that_are_understood(text, value, tmp_path):
    (tmp_path / "configs").mkdir()
    content = {"b": "b", "c": {"d": 7, "e": ["x", "y"]}, "f": False, "bundle_root": "/elsewhere"}
    (tmp_path / "configs" / "inference.json").write_text(json.dumps(content))
    assert Config(tmp_path).value(text) == value


@pytest.mark.parametrize("text", ["$(1).__class__", "$@b.upper()", "$[].append", "$1 + 1", "$lambda: 1", "$@b[0]",
                                  "$" + "(" * 500, "$f'{1}'", "$_reference_x", "$not True"])  # fmt: skip
def test_the_expressions_that_are_not(text, tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "inference.json").write_text('{"b": "b"}')
    with pytest.raises(UnsupportedModelError, match="the expression"):
        Config(tmp_path).value(text)
