"""Inspects a model folder without loading it: which files are whole, which model it is, what its weights weigh."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from toolkit.errors import BadModelFolder
from toolkit.probe.folder import children_of
from toolkit.probe.model_config import config_facts, missing_tensors
from toolkit.probe.model_location import ModelLocation, locate_model
from toolkit.probe.model_manifest import (
    CODEC_WEIGHTS,
    INDEX,
    PUBLISHED_CODEC_BYTES,
    PUBLISHED_WEIGHT_BYTES,
    SMALL_FILES,
    WEIGHTS,
    FileReport,
    check_small_file,
    missing_or_none,
    read_json_table,
)
from toolkit.probe.safetensors_header import Tensor, WeightsFile, inspect_weights_file
from toolkit.probe.weights_scan import cached_hash_matches, nonfinite_tensors
from troubleshoot.facts import NA

__all__ = ["component_of", "inspect_model"]

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_MAX_SHARDS = 200
# The name under which a rule knows each fault, worst first: the first that occurs is the folder's problem.
_PROBLEMS: Mapping[str, tuple[str, ...]] = {
    "lfs-pointer": ("lfs-pointer",),
    "html-page": ("html-page", "json-page"),
    "zero-filled": ("zero-filled",),
    "truncated": ("truncated", "header-cut", "too-short", "empty"),
    "pickle": ("pickle", "zip-archive", "gguf"),
    "missing-files": ("missing", "dangling-link"),
}
_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64"}


def inspect_model(
    path: str | Path,
    *,
    scan_values: bool = False,
    check_hashes: bool = False,
    environ: Mapping[str, str] | None = None,
) -> dict[str, object]:
    """Facts ``model.*`` about a model folder, a repository id or a hub cache folder. Offline; reads headers only.

    ``scan_values`` also reads all weights for NaN and infinity, ``check_hashes`` compares cached files with the hash
    they are named by (each about as long as reading 4.5 GB takes). Never raises for what it finds.
    """
    try:
        location = locate_model(path, environ)
    except BadModelFolder as error:
        return _not_there(path, str(error))
    return _Inspection(location, scan_values, check_hashes).facts()


def component_of(file: str, tensor: str) -> str:
    """Part of the model that a tensor belongs to, by the prefixes of the published checkpoints."""
    if file.startswith("speech_tokenizer/"):
        return {"decoder": "codec_decoder", "encoder": "codec_encoder"}.get(tensor.split(".", 1)[0], "other")
    for prefix, component in (
        ("talker.code_predictor.", "code_predictor"),
        ("talker.model.text_embedding.", "text_embedding"),
        ("talker.", "talker"),
        ("speaker_encoder.", "speaker_encoder"),
    ):
        if tensor.startswith(prefix):
            return component
    return "other"


def _not_there(path: str | Path, sentence: str) -> dict[str, object]:
    unknown = NA("the model was not found")
    return {
        "model.path": os.fspath(path),
        "model.state": "missing",
        "model.problem": "missing-files",
        "model.problem_text": sentence,
        "model.missing_files": unknown,
        "model.speech_tokenizer": unknown,
        "model.size": unknown,
        "model.type": unknown,
        "model.warnings": [],
    }


class _Inspection:
    """One look at one folder; its parts share the warnings and the weight files that were read."""

    def __init__(self, location: ModelLocation, scan_values: bool, check_hashes: bool) -> None:
        self._location = location
        self._folder = location.folder
        self._scan_values = scan_values
        self._check_hashes = check_hashes
        self._warnings = list(location.notes)
        self._weights: dict[str, WeightsFile] = {}
        self._has_config = False

    def facts(self) -> dict[str, object]:
        config = self._table("config.json")
        self._has_config = bool(config)
        shape = config_facts(config, self._table("generation_config.json"), self._table("speech_tokenizer/config.json"))
        pickles = list(_pickles(self._folder))
        reports = [*self._small_files(), *self._main_weights(shape, pickles), self._codec_weights()]
        reports = [self._with_missing_tensors(report, config, shape) for report in reports]
        if self._check_hashes:
            reports = [self._with_hash(report) for report in reports]
        self._warn_about(pickles, reports, shape)
        return {
            "model.path": str(self._folder),
            "model.source": self._location.source,
            "model.revision": self._location.revision or NA("the folder does not name one"),
            "model.name": self._location.name,
            **shape,
            **self._verdict(reports),
            **self._weight_facts(),
            **self._value_facts(),
            "model.pickle_files": pickles,
            "model.warnings": self._warnings,
        }

    def _table(self, name: str) -> dict[str, object]:
        table = read_json_table(self._folder / name)
        return {} if isinstance(table, str) else table

    def _small_files(self) -> list[FileReport]:
        reports = [check_small_file(self._folder, name) for name in SMALL_FILES]
        # Conversions ship the fast tokenizer in one file, which stands for both lists.
        lists = ("vocab.json", "merges.txt")
        if any(report.name in lists and report.verdict == "missing" for report in reports):
            fast = check_small_file(self._folder, "tokenizer.json")
            if fast.verdict == "ok":
                reports = [report for report in reports if report.name not in lists or report.verdict != "missing"]
                reports.append(fast)
        return reports

    def _main_weights(self, shape: Mapping[str, object], pickles: list[str]) -> list[FileReport]:
        published = PUBLISHED_WEIGHT_BYTES.get((str(shape["model.size"]), str(shape["model.type"])))
        if os.path.exists(self._folder / INDEX) and not os.path.lexists(self._folder / WEIGHTS):
            return self._shards()
        report = self._weight_file(WEIGHTS, published)
        if report.verdict == "missing":
            at_top = [name for name in pickles if name.startswith(("pytorch_model", "model", "consolidated"))]
            if at_top:
                sentence = f"is missing; {at_top[0]} is a pickle, which is not loaded: it can run code"
                return [FileReport(WEIGHTS, None, published, "pickle", sentence)]
        return [report]

    def _shards(self) -> list[FileReport]:
        table = read_json_table(self._folder / INDEX)
        if isinstance(table, str):
            return [FileReport(INDEX, None, None, "not-json", table)]
        places = table.get("weight_map")
        if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
            return [FileReport(INDEX, None, None, "bad-index", "has no weight_map that names a file for each tensor")]
        names = sorted(set(places.values()))
        unsafe = [name for name in names if not _is_plain_name(name)]
        if unsafe or len(names) > _MAX_SHARDS:
            sentence = f"names {unsafe[0][:120]!r}, no file of this folder" if unsafe else f"names {len(names)} files"
            return [FileReport(INDEX, None, None, "bad-index", sentence)]
        reports = [FileReport(INDEX, (self._folder / INDEX).stat().st_size, None, "ok")]
        for name in names:
            report = self._weight_file(name, None)
            header = self._weights[name].header if name in self._weights else None
            if report.verdict == "ok" and header is not None:
                there = {tensor.name for tensor in header.tensors}
                lost = [tensor for tensor, place in places.items() if place == name and tensor not in there]
                if lost:
                    sentence = f"lacks {len(lost)} tensors that the index places in it, such as {lost[0][:120]!r}"
                    report = FileReport(name, report.byte_count, report.expected_bytes, "missing-tensors", sentence)
            reports.append(report)
        return reports

    def _codec_weights(self) -> FileReport:
        return self._weight_file(CODEC_WEIGHTS, PUBLISHED_CODEC_BYTES)

    def _weight_file(self, name: str, published: int | None) -> FileReport:
        path = self._folder / name
        missing = missing_or_none(path, name, published)
        if missing:
            return missing
        weights = inspect_weights_file(path)
        self._weights[name] = weights
        problem = weights.problem
        expected = weights.expected_bytes or (published if problem else weights.byte_count)
        verdict, sentence = (problem.name, problem.sentence) if problem else ("ok", "")
        return FileReport(name, weights.byte_count, expected, verdict, sentence)

    def _with_missing_tensors(
        self, report: FileReport, config: Mapping[str, object], shape: Mapping[str, object]
    ) -> FileReport:
        """A tensor that is not in the file is made up at random by the loader, which then speaks noise."""
        if report.verdict != "ok" or report.name not in (WEIGHTS, CODEC_WEIGHTS):
            return report
        header = self._weights[report.name].header
        there = {tensor.name: tensor.shape for tensor in header.tensors} if header else {}
        lost = missing_tensors(report.name, there, config, shape)
        if not lost:
            return report
        sentence = f"lacks {len(lost)} tensors that config.json asks for, such as {lost[0]!r}"
        return FileReport(report.name, report.byte_count, report.expected_bytes, "missing-tensors", sentence)

    def _with_hash(self, report: FileReport) -> FileReport:
        if report.verdict != "ok" or report.name not in self._weights:
            return report
        try:
            matches = cached_hash_matches(self._folder / report.name)
        except OSError as error:
            self._warnings.append(f"{report.name}: its hash could not be computed ({error.strerror or error})")
            return report
        if matches is None or matches:
            return report
        sentence = "does not have the hash that the cache names it by: delete it and download again"
        return FileReport(report.name, report.byte_count, report.expected_bytes, "wrong-hash", sentence)

    def _warn_about(self, pickles: list[str], reports: list[FileReport], shape: Mapping[str, object]) -> None:
        if pickles:
            self._warnings.append(
                f"{len(pickles)} pickle files ({', '.join(pickles[:3])}): loading one can run code; use only your own"
            )
        for report in reports:
            is_list = report.name in ("vocab.json", "merges.txt") and shape["model.text_vocabulary"] == 151_936
            if is_list and report.byte_count and report.byte_count < (report.expected_bytes or 0):
                self._warnings.append(
                    f"{report.name} has {report.byte_count} bytes, the published file {report.expected_bytes}"
                )
            if not report.needed and report.verdict != "ok" and self._has_config:
                self._warnings.append(f"{report.name} {report.sentence} (synthesis does not read it)")
        names = [child.name for child in children_of(self._folder)]
        unfinished = [name for name in names if name.endswith((".incomplete", ".part", ".aria2"))]
        if unfinished:
            self._warnings.append(f"unfinished downloads lie in the folder: {', '.join(unfinished[:3])}")

    def _verdict(self, reports: list[FileReport]) -> dict[str, object]:
        faults = [report for report in reports if report.is_fault]
        verdicts = {report.verdict for report in faults}
        problem = next((name for name, kinds in _PROBLEMS.items() if verdicts & set(kinds)), None)
        if problem is None:
            problem = sorted(verdicts)[0] if verdicts else "none"
        gone = [report.name for report in faults if report.verdict in _PROBLEMS["missing-files"]]
        codec = [report for report in reports if report.name.startswith("speech_tokenizer/")]
        nothing = {"config.json", WEIGHTS} <= set(gone)
        needed = sum(report.needed for report in reports)
        text = "; ".join(f"{report.name} {report.sentence}" for report in faults[:5])
        return {
            "model.state": "missing" if nothing else ("incomplete" if faults else "complete"),
            "model.problem": problem,
            "model.problem_text": f"{len(faults)} of {needed} files are not right: {text}" if faults else "",
            "model.missing_files": ", ".join(gone),  # text, as conditions of rules read it
            "model.speech_tokenizer": not any(report.is_fault for report in codec),
            "model.files": [report.as_fact() for report in reports],
        }

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for name, weights in self._weights.items():
            for tensor in weights.header.tensors if weights.header else ():
                yield name, tensor

    def _weight_facts(self) -> dict[str, object]:
        by_component: dict[str, dict[str, int]] = {}
        main: Counter[str] = Counter()
        for file, tensor in self._tensors():
            sizes = by_component.setdefault(component_of(file, tensor.name), {})
            sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.byte_count
            if not file.startswith("speech_tokenizer/"):
                main[tensor.dtype] += tensor.byte_count
        if not main:
            reason = NA("no header of the main weights could be read")
            return {"model.dtype": reason, "model.weight_bytes": by_component or reason}
        stored = main.most_common(1)[0][0]
        return {"model.dtype": _DTYPES.get(stored, stored.lower()), "model.weight_bytes": by_component}

    def _value_facts(self) -> dict[str, object]:
        if not self._scan_values:
            return {"model.nonfinite_tensors": NA("the values were not scanned")}
        found: list[dict[str, object]] = []
        for name, weights in self._weights.items():
            if weights.header is None:
                continue
            try:
                bad = nonfinite_tensors(weights)
            except OSError as error:
                self._warnings.append(f"{name}: its values could not be read ({error.strerror or error})")
                continue
            found += [
                {"file": name, "tensor": row.name, "nan": row.nan_count, "infinite": row.infinite_count} for row in bad
            ]
        return {"model.nonfinite_tensors": found}


def _is_plain_name(name: str) -> bool:
    pure = PurePosixPath(name)
    return (
        bool(name)
        and len(name) <= 255
        and not pure.is_absolute()
        and len(pure.parts) == 1
        and name not in (".", "..")
        and not set(name) & {"\0", "\\", ":"}
    )


def _pickles(folder: Path) -> Iterator[str]:
    for child in children_of(folder):
        if child.name.lower().endswith(_PICKLES):
            yield child.name
        elif os.path.isdir(child) and not os.path.islink(child):
            for grandchild in children_of(child):
                if grandchild.name.lower().endswith(_PICKLES):
                    yield f"{child.name}/{grandchild.name}"
