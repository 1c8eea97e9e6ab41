"""The models. Sizes are those that the authors' pages show."""

from __future__ import annotations

from collections.abc import Mapping

from umd_engine.errors import UnknownNameError
from umd_engine.models.catalog.facts import Checkpoint, Entry, HubFile, Implementation, Published
from umd_engine.models.catalog.own import OWN

MODEL_FOLDER = "plans.json"
VISTA3D_FILES = ("vista3d_pretrained_model/model.pt", "model.pt", "models/model.pt")
FOLDER_FILES = ("*.json", "fold_*/checkpoint_final.pth")


def _nnunet() -> Implementation:
    from umd_engine.models.nnunet.model import NnUNet
    from umd_engine.models.nnunet.protocol import Options

    return Implementation(Options, NnUNet)


def _sam_med3d() -> Implementation:
    from umd_engine.models.sam_med3d.model import SamMed3D
    from umd_engine.models.sam_med3d.options import Options

    return Implementation(Options, SamMed3D)


def _segvol() -> Implementation:
    from umd_engine.models.segvol.model import SegVol
    from umd_engine.models.segvol.options import Options

    return Implementation(Options, SegVol)


def _nninteractive() -> Implementation:
    from umd_engine.models.nninteractive.model import NnInteractive
    from umd_engine.models.nninteractive.protocol import Options

    return Implementation(Options, NnInteractive)


def _sat_nano() -> Implementation:
    from umd_engine.models.sat.model import SatNano
    from umd_engine.models.sat.options import Options

    return Implementation(Options, SatNano)


def _sat_pro() -> Implementation:
    from umd_engine.models.sat.model import SatPro
    from umd_engine.models.sat.options import Options

    return Implementation(Options, SatPro)


def _vista3d() -> Implementation:
    from umd_engine.models.vista3d.model import load_vista3d
    from umd_engine.models.vista3d.options import Options

    return Implementation(Options, load_vista3d)


def _vista3d_ctmr() -> Implementation:
    from umd_engine.models.vista3d.model import load_vista3d_ctmr
    from umd_engine.models.vista3d.options import CtmrOptions

    return Implementation(CtmrOptions, load_vista3d_ctmr)


MODELS = (
    Entry(
        name="nnunet",
        summary="nnU-Net v2, the task-specific reference (3d_fullres, 3d_lowres)",
        needs="a trained-model folder: plans.json, dataset.json, fold_*/checkpoint_final.pth",
        prompts=(),
        patch="plans",
        spacing="plans",
        parameters={},
        checkpoint=Checkpoint((".",), MODEL_FOLDER, FOLDER_FILES),
        published=None,
        code_licence="Apache-2.0",
        weights_licence="your own",
        verified="label maps of nnunetv2 2.8.1, every voxel; stand-in weights",
        code=_nnunet,
    ),
    Entry(
        name="sam-med3d-turbo",
        summary="SAM-Med3D-turbo, points in a crop at 1.5 mm",
        needs="the file sam_med3d_turbo.pth",
        prompts=("point",),
        patch="128x128x128",
        spacing="1.5 mm",
        parameters={"image encoder": 92_924_928, "prompt encoder": 9_052, "mask decoder": 7_575_636},
        checkpoint=Checkpoint(("sam_med3d_turbo.pth",)),
        published=Published("blueyo0/SAM-Med3D", (HubFile("sam_med3d_turbo.pth", "402 MB"),)),
        code_licence="Apache-2.0",
        weights_licence="Apache-2.0",
        verified="outputs of the official network within 1e-6 of their range; each step of the protocol against "
        "TorchIO and ITK; stand-in weights",
        code=_sam_med3d,
    ),
    Entry(
        name="segvol",
        summary="SegVol, text, boxes and points, zoom-out then zoom-in",
        needs="the file pytorch_model.bin or SegVol_v1.pth",
        prompts=("text", "point", "box"),
        patch="32x256x256",
        spacing="native",
        parameters={
            "encoder": 87_388_416,
            "decoder": 29_923_716,
            "prompt encoder": 17_996,
            "CLIP text": 63_165_952,
            "text projection": 393_984,
        },
        checkpoint=Checkpoint(("pytorch_model.bin", "SegVol_v1.pth")),
        published=Published(
            "BAAI/SegVol",
            (
                HubFile("pytorch_model.bin", "724 MB"),
                # the text encoder's tokenizer; CLIP's own repository has the same two files
                HubFile("vocab.json", "862 kB", below="clip-vit-base-patch32"),
                HubFile("merges.txt", "525 kB", below="clip-vit-base-patch32"),
            ),
        ),
        code_licence="MIT",
        weights_licence="not stated on the hub",
        verified="outputs of the official network within 1e-5 of their range; masks of the official functions, "
        "every voxel; stand-in weights",
        code=_segvol,
    ),
    Entry(
        name="nninteractive",
        summary="nnInteractive v1.0, points, 2D boxes, scribbles, lassos and a mask to start from",
        needs="a model folder: plans.json, dataset.json, inference_session_class.json, fold_0/checkpoint_final.pth",
        prompts=("point", "box", "scribble", "lasso", "mask"),
        patch="192x192x192",
        spacing="native",
        parameters={"network": 102_355_818},
        checkpoint=Checkpoint(("nnInteractive_v1.0", "."), MODEL_FOLDER, FOLDER_FILES),
        published=Published("MIC-DKFZ/nnInteractive", (HubFile("nnInteractive_v1.0/*", "at most 416 MB"),)),
        code_licence="Apache-2.0",
        weights_licence="CC-BY-NC-SA-4.0 (non-commercial)",
        verified="masks of nninteractive 2.6.0 after each of 17 steps, every voxel, in as many calls; stand-in weights",
        code=_nninteractive,
    ),
    Entry(
        name="sat-nano",
        summary="SAT-Nano, organs named in words, all in one pass",
        needs="the file SAT_Nano.pth as its authors publish it, with text_encoder.pth beside it",
        prompts=("text",),
        patch="288x288x96",
        spacing="1x1x3 mm",
        parameters={"backbone": 73_919_040, "tokens, queries and head": 35_275_584},
        checkpoint=Checkpoint(("SAT_Nano.pth",)),
        published=None,
        code_licence="this package's own, from a description",
        weights_licence="not known here: ask its authors",
        verified="probes of the official network within 1e-6 of their range; the protocol follows a description; "
        "stand-in weights",
        code=_sat_nano,
        otherwise="its authors; no address is known here",
    ),
    Entry(
        name="sat-pro",
        summary="SAT-Pro, organs named in words, all in one pass",
        needs="the file SAT_Pro.pth as its authors publish it, with text_encoder.pth beside it",
        prompts=("text",),
        patch="288x288x96",
        spacing="1x1x3 mm",
        parameters={"backbone": 435_435_136, "tokens, queries and head": 40_126_208},
        checkpoint=Checkpoint(("SAT_Pro.pth",)),
        published=None,
        code_licence="this package's own, from a description",
        weights_licence="not known here: ask its authors",
        verified="probes of the official network within 2e-6 of their range; the protocol follows a description; "
        "stand-in weights",
        code=_sat_pro,
        otherwise="its authors; no address is known here",
    ),
    Entry(
        name="vista3d",
        summary="VISTA3D, up to 117 classes of CT by id in one pass, or points (mode=point)",
        needs="the file model.pt, or a folder with it",
        prompts=("point",),
        patch="128x128x128",
        spacing="1.5 mm",
        parameters={
            "encoder": 174_951_120,
            "class decoder": 21_155_952,
            "point decoder": 21_155_952,
            "class head": 278_112,
            "point head": 423_918,
        },
        checkpoint=Checkpoint(VISTA3D_FILES),
        published=Published("nvidia/NV-Segment-CT", (HubFile("vista3d_pretrained_model/model.pt"),)),
        code_licence="Apache-2.0",
        weights_licence="research and evaluation only by the bundle's LICENSE, NVIDIA Open Model License by its README",
        verified="label maps of MONAI 1.6.1's inferers by class, points and both, every voxel; stand-in weights",
        code=_vista3d,
    ),
    Entry(
        name="vista3d-ctmr",
        summary="VISTA3D fine-tuned on CT and MR (NV-Segment-CTMR), classes by id",
        needs="the file model.pt, or a folder with it",
        prompts=(),
        patch="192x192x128",
        spacing="1.5 mm",
        parameters={
            "encoder": 174_951_120,
            "class decoder": 21_155_952,
            "point decoder": 21_155_952,
            "class head": 278_112,
            "point head": 423_918,
        },
        checkpoint=Checkpoint(VISTA3D_FILES),
        published=Published("nvidia/NV-Segment-CTMR", (HubFile("vista3d_pretrained_model/model.pt"),)),
        code_licence="Apache-2.0",
        weights_licence="NVIDIA OneWay Noncommercial",
        verified="label maps of MONAI 1.6.1's inferers by class, every voxel; stand-in weights",
        code=_vista3d_ctmr,
    ),
    *OWN,
)
CATALOG: Mapping[str, Entry] = {model.name: model for model in MODELS}


def entry(name: str) -> Entry:
    """The catalogue's entry.

    Raises:
        UnknownNameError: suggests the nearest names.
    """
    if name not in CATALOG:
        raise UnknownNameError("model", name, CATALOG)
    return CATALOG[name]
