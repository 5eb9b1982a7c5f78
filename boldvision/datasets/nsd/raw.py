"""An existing copy of the bucket, used in place and never written to."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from boldvision.config import Config
from boldvision.datasets.nsd.download import WORKERS, Entry
from boldvision.datasets.nsd.integrity import gzip_fault
from boldvision.datasets.nsd.keys import require_safe_keys, the_missing
from boldvision.errors import UserError
from boldvision.files import reading, sha256
from boldvision.paths import Paths

OF_A_COPY = "a file of an existing copy of the bucket"


def check_places(config: Config) -> None:
    """Make sure, before any job runs, that no output lies in the existing copy of the bucket.

    Raises
    ------
    UserError
        See `require_apart`.
    """
    if config.raw is not None:
        paths = Paths(config.dataset)
        made = [paths.results, paths.logs, paths.benchmarks]
        fetched = [entry.folder for entry in config.generators.values() if entry.repository]
        fetched += [n.folder for n in map(config.network, config.network_names) if n.files]
        networks = [config.metrics.weights_folder, *fetched]
        require_apart(config.raw, paths.resources, *made, *networks)


def require_apart(raw: str, resources: str | Path, *outputs: str | Path) -> None:
    """Make sure that the copy is a folder, and that nothing is written or removed in it.

    Jobs write, and Snakemake removes what a failed job has made, through symbolic links as well.

    Parameters
    ----------
    raw
        Folder with the bucket's keys; it, or folders in it, may be links.
    resources
        Folder in which keys of the bucket are put; the copy is neither in it nor around it.
    outputs
        More folders that are written to; they are not in the copy.

    Raises
    ------
    UserError
        A folder of the outputs, or a link in it, leads into the copy, or the copy lies in
        `resources`, or it is not a folder that can be read.
    """
    copies = _raw_places(raw)
    own = Path(os.path.realpath(resources))
    for copy in copies:
        if copy.is_relative_to(own):
            raise UserError(
                f"raw: {copy} lies in {own}, where jobs write and remove files; name a copy that "
                "lies elsewhere, or choose another `dataset`"
            )
    for folder in (resources, *outputs):
        for place in _with_links(folder):
            real = Path(os.path.realpath(place))
            if any(real.is_relative_to(copy) for copy in copies):
                raise UserError(
                    f"{place}: leads to {real}, into the existing copy of the bucket (`raw`: "
                    f"{raw}), where jobs would write and remove files; make it a folder outside "
                    "that copy, or choose another `dataset`"
                )


def _raw_places(raw: str) -> list[Path]:
    """Real paths of the copy and of the links directly in it, of which it may be made up."""
    path = Path(os.path.realpath(os.path.expanduser(raw)))
    with reading(path, "a folder with the bucket's keys", "correct `raw`"):
        if not path.is_dir():
            raise UserError(
                f"raw: {raw}: expected a folder with the bucket's keys, found "
                f"{'a file' if path.exists() else 'nothing'} at {path}; correct it, or set it to "
                "null to download"
            )
        links = [entry.path for entry in os.scandir(path) if entry.is_symlink()]
    return [path, *(Path(os.path.realpath(link)) for link in links)]


def _with_links(folder: str | Path) -> Iterator[str]:
    """A folder, and every link to a folder below it."""
    yield str(folder)
    for above, names, _ in os.walk(folder):
        yield from filter(os.path.islink, (os.path.join(above, name) for name in names))


def list_raw(raw: str, folder: str, below: bool = True) -> list[str]:
    """Keys in a folder of the copy, as `Bucket.keys` lists those of the bucket.

    Links are followed, but for those to a folder around them; broken ones are listed, so that
    they are found missing.

    Parameters
    ----------
    raw
        Folder with the bucket's keys.
    folder
        The folder, with its final ``/``.
    below
        With the folders in it.

    Raises
    ------
    UserError
        A folder is missing or cannot be read, or a name is unsafe.
    """
    top = raw_path(raw, folder)
    found = [f"{folder}{path.relative_to(top).as_posix()}" for path in _files_in(top, below)]
    require_safe_keys(found, str(top))
    return found


def _files_in(folder: Path, below: bool, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in above:
        return
    with reading(folder, "a folder of an existing copy of the bucket", "check `raw`"):
        entries = sorted((entry.name, entry.is_dir()) for entry in os.scandir(folder))
    for name, is_folder in entries:
        if not is_folder:
            yield folder / name
        elif below:
            yield from _files_in(folder / name, below, above | {real})


def link(raw: str, targets: dict[str, Path]) -> list[Entry]:
    """Link files of an existing copy of the bucket, which is never written to.

    Parameters
    ----------
    raw
        Folder with the bucket's keys.
    targets
        Where each key is linked.

    Raises
    ------
    UserError
        Files are missing, cannot be read or are damaged gzip files.
    """
    sources = raw_files(raw, targets)
    for key, source in sources.items():
        target = targets[key]
        if os.path.realpath(target) != os.path.realpath(source):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            target.symlink_to(source)
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(_inspect_raw, sources.items()))


def raw_files(raw: str, wanted: Iterable[str]) -> dict[str, Path]:
    """Absolute paths of keys in an existing copy of the bucket.

    Raises
    ------
    UserError
        Some are missing, or cannot be reached.
    """
    paths = {key: raw_path(raw, key) for key in wanted}
    missing = [key for key, path in paths.items() if not has_file(path)]
    if missing:
        raise UserError(
            f"{raw}: {the_missing(missing, len(paths))}; `raw` must be a folder with the bucket's "
            "keys: complete it, lower `sessions` of the subject to those that it has, or set it "
            "to null to download"
        )
    return paths


def has_file(path: Path) -> bool:
    """Whether there is a file, or a link to one.

    Raises
    ------
    UserError
        That cannot be found out: a folder may not be searched, a mount is gone.
    """
    with reading(path, OF_A_COPY, "check `raw`"):
        return path.is_file()


def raw_path(raw: str, key: str) -> Path:
    """Where a key lies in an existing copy of the bucket, whose ``~`` is this account's home."""
    return (Path(os.path.expanduser(raw)) / key).absolute()


def _inspect_raw(item: tuple[str, Path]) -> Entry:
    key, path = item
    with reading(path, OF_A_COPY, "check `raw`"):
        fault = gzip_fault(path) if key.endswith(".gz") else None
        if fault is not None:
            raise UserError(
                f"{path}: damaged gzip ({fault}); replace it in your copy of the bucket"
            )
        stat = path.stat()
        modified = datetime.fromtimestamp(int(stat.st_mtime), UTC).isoformat()
        return Entry(key, stat.st_size, "", modified, sha256(path))
