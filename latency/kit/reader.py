"""Reads the results of a kit and makes a latency table of them."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from latency.kit.runner import RESULTS
from latency.roofline import Peak
from latency.rounds import Reading
from latency.study import Study
from latency.table import Table, peak_of
from latency.timing import Timings
from profiles.errors import ProfileError
from profiles.profile import Profile, Setting

_LONGEST_NAME: Final = 180


def import_results(path: Path) -> Profile:
    """Returns the latency table of a kit's results.json, of origin `imported`.

    Raises:
        ProfileError: when there is no such file, or it is not whole, was altered, is of another version, or holds what
            no kit writes.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except FileNotFoundError as error:
        raise ProfileError(f"there are no results {path}") from error
    except (ValueError, RecursionError) as error:
        raise ProfileError(f"{path} is not whole ({error}); carry it over again") from error
    except OSError as error:
        raise ProfileError(f"{path} cannot be read ({error.strerror})") from error
    if not isinstance(record, dict) or record.get("schema") != RESULTS:
        raise ProfileError(f"{path} holds no results of a kit, or of another version: results.json is what to import")
    body = {name: value for name, value in record.items() if name != "digest"}
    if hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest() != record.get("digest"):
        raise ProfileError(f"{path} was altered after it was measured; carry it over again")
    try:
        return _profile(path, record)
    except ProfileError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ProfileError(f"{path} holds what no kit writes ({error!r}); carry it over again") from error


def _profile(path: Path, record: Mapping[str, Any]) -> Profile:
    kit = record["kit"]
    study = Study.from_record(kit["study"])
    alone, whole = _timings(path, record["alone"]), _timings(path, record["whole"])
    mode = kit["mode"]
    where = (kit["device"], record["hardware"], record["runtime"], mode["dtype"], study.batch_size, mode["threads"])
    setting = Setting(*where, mode["channels_last"], mode["compiled"])
    for text in (study.model, setting.device, setting.hardware, setting.runtime):
        if not (isinstance(text, str) and text and text.isprintable() and len(text) <= _LONGEST_NAME):
            raise ProfileError(f"{path} names a network, device or runtime {text!r:.80}: no kit writes that")
    peak: Peak = peak_of(alone, kit["reference_size"])
    table = Table(study, alone, whole, peak=peak, on_processor=kit["on_processor"])
    return table.profile(setting, "imported", record["seconds"])


def _timings(path: Path, record: Mapping[str, Any]) -> Timings:
    rounds = {
        name: [[Reading(wall_ms, cpu_ms) for wall_ms, cpu_ms in visit] for visit in visits]
        for name, visits in record.items()
    }
    for name, visits in rounds.items():
        for reading in (reading for visit in visits for reading in visit):
            if not (math.isfinite(reading.wall_ms) and reading.wall_ms > 0):
                raise ProfileError(f"{path}: {name} read {reading.wall_ms} ms")
    return Timings(rounds)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no latency")
