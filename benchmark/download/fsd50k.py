"""FSD50K's development set, which encoders are pretrained on; as a benchmark it is HEAR's."""

from benchmark.data.clip import Corpus, Source

RECORD = "https://zenodo.org/records/4060432/files"
# Name, MD5 and size as on the Zenodo record (soundata has the same checksums). The evaluation
# set is left out: it is the test set of a benchmark, and pretraining never reads it.
FILES = (
    ("FSD50K.ground_truth.zip", "ca27382c195e37d2269c4c866dd73485", 334_701),
    ("FSD50K.metadata.zip", "b9ea0c829a411c1d42adb9da539ed237", 6_700_838),
    ("FSD50K.dev_audio.z01", "faa7cf4cc076fc34a44a479a5ed862a3", 3_221_225_472),
    ("FSD50K.dev_audio.z02", "8f9b66153e68571164fb1315d00bc7bc", 3_221_225_472),
    ("FSD50K.dev_audio.z03", "1196ef47d267a993d30fa98af54b7159", 3_221_225_472),
    ("FSD50K.dev_audio.z04", "d088ac4e11ba53daf9f7574c11cccac9", 3_221_225_472),
    ("FSD50K.dev_audio.z05", "81356521aa159accd3c35de22da28c7f", 3_221_225_472),
    ("FSD50K.dev_audio.zip", "c480d119b8f7a7e32fdb58f3ea4d6c5a", 2_306_663_327),
)

FSD50K = Corpus(
    name="fsd50k",
    title="FSD50K, development set (40,966 clips)",
    licence="CC0, CC BY, CC BY-NC and CC Sampling+ clip by clip; the collection CC BY 4.0",
    citation="E. Fonseca et al., FSD50K: an Open Dataset of Human-Labeled Sound Events, "
    "IEEE/ACM TASLP 30, 2022",
    sources=tuple(Source(f"{RECORD}/{name}", f"md5:{md5}", size) for name, md5, size in FILES),
    layout="FSD50K.dev_audio/, FSD50K.ground_truth/ and FSD50K.metadata/",
)
