"""Configuration: differences only, and errors that name the neighbour."""

import dataclasses
from pathlib import Path

import pytest

from pretrain.augment.effects import ClipConfig
from pretrain.augment.layer import KINDS
from pretrain.config import Config, read_config
from pretrain.state import GONE, _flat
from wavebyol_hear.checkpoint import load_encoder
from wavebyol_hear.encoder import PRESETS
from wavebyol_hear.files.settings import SettingsError

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "pretrain/configs"


def test_the_default_preset_is_the_dataclass():
    assert read_config("default") == Config()


@pytest.mark.parametrize("preset", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_every_preset_reads_and_survives_plain_values(preset):
    config = read_config(preset)
    assert type(config.encoder).from_dict(config.encoder.to_dict()) == config.encoder


def test_paper_is_what_the_authors_coded():
    config = read_config("paper")
    assert config.encoder == PRESETS["h2"]
    assert (config.byol.tau, config.byol.tau_every, config.byol.projector) == (
        0.99,
        "epoch",
        (4096, 4096),
    )
    assert (config.optim.name, config.optim.lr, config.optim.batch) == ("adamp", 5e-5, 64)
    assert (config.optim.weight_decay, config.optim.eps) == (1.5e-6, 1e-3)
    assert config.run.precision == "fp32"


@pytest.mark.parametrize(
    ("preset", "path"),
    [
        ("h1", "baselines/weights/h1.safetensors"),
        ("wide_bank", "wavebyol_hear/weights/wide_bank.safetensors"),
    ],
)
def test_weights_of_the_checkout_were_trained_as_their_preset_says(preset, path):
    encoder, provenance = load_encoder(ROOT / path)
    config = _flat(read_config(preset).to_dict())
    assert encoder.config == PRESETS[preset]
    assert provenance["crops"] == config["optim.steps"] * config["optim.batch"]
    parts = {part: provenance["config"][part] for part in ("byol", "views", "optim")}
    config |= GONE
    used = _flat(parts)  # settings that came later are in no file
    left = ("gain.decibels", "band_reject.width", "noise.colours")  # of effects that are gone
    used = {key: value for key, value in used.items() if not key.endswith(left)}
    assert used == {key: config.get(key) for key in used}


def test_file_and_sets_change_only_what_they_name(tmp_path):
    (tmp_path / "mine.yaml").write_text("optim: {lr: 1e-3}\nencoder: slim\n")
    config = read_config(
        "default",
        str(tmp_path / "mine.yaml"),
        [
            *("optim.batch=8", "encoder.widths=8 P 16 P", "views.speed=[0.9, 1.1]"),
            "views.sample={everyday: .5, speech: .25, music: .25}",
        ],
    )
    assert config.optim == dataclasses.replace(Config().optim, lr=1e-3, batch=8)
    assert config.encoder == dataclasses.replace(PRESETS["slim"], widths="8 P 16 P")
    assert config.views.speed == (0.9, 1.1)
    assert dataclasses.astuple(config.views.sample) == (0.5, 0.25, 0.25)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("optim.lrr=1", r"optim\.lrr is not a setting: the nearest is optim\.lr"),
        ("optim.batch=many", r"optim\.batch is 'many': it takes a whole number"),
        ("optim.batch=true", r"optim\.batch is True: it takes a whole number"),
        ("optim.name=sgd", r"optim\.name is 'sgd': it is one of adamw, adamp"),
        ("optim=3", r"optim is 3: it takes a mapping"),
        ("encoder.widths=8 X", r"encoder\.widths are '8 X'"),
        ("encoder=h9", r"no preset 'h9'"),
        ("optim.batch", "has no '='"),
        ("optim.batch=[", r"--set optim\.batch=\[ is not YAML"),
        ("optim.batch=1", r"optim\.batch is 1: give 2 or more"),
        ("optim.steps=-3", r"optim\.steps is -3: give 0 or more"),
        ("optim.lr=nan", r"optim\.lr is 'nan': it takes a number"),
        ("byol.tau=2", r"byol\.tau is 2.0: give 0 to 1"),
        ("encoder.crop_samples=10", r"encoder\.crop_samples is 10: its .* frames .* give 2560 or"),
        ("byol.projector=8", r"byol\.projector is 8: it takes a list of 2 whole numbers"),
        ("byol.temperature=0", r"byol\.temperature is 0\.0: give more than 0"),
        ("views.augment.noise.snr=[19, 5]", r"noise\.snr is .*: give \(low, high\)"),
        ("views.augment.clip.probability=2", r"clip\.probability is 2\.0: give 0 to"),
        ("views.augment.noise.origin=store", r"augment\.noise\.store is empty: give a folder"),
        ("views.augment.equaliser.knots=1", r"equaliser\.knots is 1: give 2 or more"),
        ("views.augment.reverb.decay=[.2, 2]", r"reverb\.decay is .*: give more than 0"),
        ("views.augment.reverb.damping=[0, 1]", r"reverb\.damping is .*: give 0 to 0\.99"),
        ("views.augment.speed.speeds=[0]", r"speed\.speeds is \(0\.0,\): give more than 0"),
        ("views.augment.speed.speeds=[]", r"speed\.speeds is empty"),
        ("views.augment.time_dropout.seconds=-1", r"time_dropout\.seconds is -1\.0: give 0"),
        ("views.augment.count=[6, 7]", r"augment\.count is .* but 5 effects"),
        ("views.speed=[1.2, 0.8]", r"views\.speed is \(1\.2, 0\.8\): give \(low, high\)"),
        ("views.speed=[0, 1]", r"views\.speed is \(0\.0, 1\.0\): give more than 0"),
        ("views.sample.noise=1", r"views\.sample\.noise is not a setting"),
        ("views.sample={everyday: .5, music: .2}", r"views\.sample: the shares sum to 0\.7: give"),
        ("views.sample={everyday: -1, music: 2}", r"everyday is -1\.0: give 0 to 1"),
        ("run.log_every=0", r"run\.log_every is 0: give 1 or more"),
        ("encoder=3", "encoder is 3: it takes a preset's name or a mapping"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(assignment, message):
    with pytest.raises(SettingsError, match=message):
        read_config("default", None, [assignment])


def test_a_recipe_of_effects_is_named_and_changed():
    none = read_config("default", None, ["views.augment=none"]).views.augment
    assert all(getattr(none, name).probability == 0 for name in KINDS)
    given = ["views.augment={preset: light, clip: {probability: 0.5}}"]
    changed = read_config("default", None, given).views.augment
    light = read_config("slim").views.augment
    assert changed == dataclasses.replace(light, clip=ClipConfig(probability=0.5))
    with pytest.raises(SettingsError, match="no preset 'heavy'; it is one of none, light"):
        read_config("default", None, ["views.augment=heavy"])


def test_unknown_presets_and_files_are_named():
    with pytest.raises(SettingsError, match="'defualt' is unknown"):
        read_config("defualt")
    with pytest.raises(SettingsError, match=r"nowhere\.yaml is not a file"):
        read_config("default", "nowhere.yaml")


def test_a_file_that_is_no_yaml_or_has_odd_keys_is_named(tmp_path):
    place = tmp_path / "odd.yaml"
    for content, message in ((b"\xff\xfe\x00", "is not YAML"), (b"1: 2", "1 is not a setting")):
        place.write_bytes(content)
        with pytest.raises(SettingsError, match=message):
            read_config("default", str(place))
