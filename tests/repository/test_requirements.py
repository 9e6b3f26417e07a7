"""The lock files: hashed, free of addresses, of one mind with each other and with pyproject.toml."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = {
    "requirements.txt": [],
    "requirements-demo.txt": ["demo", "openvino"],
    "requirements-dev.txt": ["demo", "openvino", "dev"],
    "requirements-gpu.txt": ["gpu"],
}
LOCKS = [*EXTRAS, "requirements-pip.txt"]
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = ("linux", "darwin")


def pins(name: str) -> list[tuple[Requirement, list[str]]]:
    """Each pinned requirement with its hashes."""
    text = re.sub(r"\\\n", " ", (ROOT / name).read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return [(Requirement(line.split("--hash=")[0]), re.findall(r"--hash=(\S+)", line)) for line in lines]


def asked(name: str) -> list[Requirement]:
    if name == "requirements-pip.txt":
        texts = PROJECT["dependency-groups"]["installer"]
    else:
        extras = PROJECT["project"]["optional-dependencies"]
        texts = PROJECT["project"]["dependencies"] + [
            text for extra in EXTRAS[name] for text in extras[extra]
        ]
    return [Requirement(text) for text in texts]


def applies(requirement: Requirement, python: str, platform: str) -> bool:
    environment = {
        **default_environment(),
        "python_version": python,
        "python_full_version": f"{python}.1",
        "sys_platform": platform,
        "platform_system": platform.capitalize(),
        "platform_machine": "arm64" if platform == "darwin" else "x86_64",
        "extra": "",
    }
    return requirement.marker is None or requirement.marker.evaluate(environment)


def pinned(requirement: Requirement) -> str:
    (only,) = requirement.specifier
    assert only.operator == "=="
    return only.version


@pytest.mark.parametrize("name", LOCKS)
def test_no_address_of_any_kind(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for line in text.splitlines():
        assert not re.search(r"://|\bwww\.|file:|git\+|@ ", line), line
        assert not re.match(r"\s*(--?(index|extra-index|find-links|trusted-host|i|f)\b)", line), line
        assert not re.search(r"(^|[\s=])(/|~/|[A-Za-z]:\\)", line), f"a path of one machine: {line}"
        assert not re.search(r"\b\d{1,3}(\.\d{1,3}){3}:\d", line), f"an address: {line}"


@pytest.mark.parametrize("name", LOCKS)
def test_everything_is_pinned_and_hashed(name: str) -> None:
    for requirement, hashes in pins(name):
        assert pinned(requirement)
        assert hashes, f"{requirement.name} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes), requirement.name


@pytest.mark.parametrize("name", LOCKS)
def test_holds_what_the_project_asks_for(name: str) -> None:
    held = pins(name)
    for python in PYTHONS:
        for platform in PLATFORMS:
            for wish in asked(name):
                if not applies(wish, python, platform):
                    continue
                versions = {
                    pinned(pin)
                    for pin, _ in held
                    if canonicalize_name(pin.name) == canonicalize_name(wish.name)
                    and applies(pin, python, platform)
                }
                assert len(versions) == 1, f"{wish} on Python {python}, {platform}: {versions or 'absent'}"
                assert wish.specifier.contains(Version(versions.pop()), prereleases=True), (
                    f"{wish}: run `make lock`"
                )


@pytest.mark.parametrize("name", [name for name in LOCKS if name != "requirements-dev.txt"])
def test_no_two_files_disagree(name: str) -> None:
    def versions(lock: str, python: str, platform: str) -> dict[str, str]:
        return {
            canonicalize_name(pin.name): pinned(pin)
            for pin, _ in pins(lock)
            if applies(pin, python, platform)
        }

    for python in PYTHONS:
        for platform in PLATFORMS:
            widest, other = (
                versions("requirements-dev.txt", python, platform),
                versions(name, python, platform),
            )
            different = {
                key: (other[key], widest[key]) for key in other.keys() & widest if other[key] != widest[key]
            }
            assert not different, f"Python {python}, {platform}: {different}"


def test_the_demo_set_is_within_the_dev_set() -> None:
    # .ci/install relies on it: who has run `make test` need not install again for `make demo`.
    dev = {canonicalize_name(pin.name) for pin, _ in pins("requirements-dev.txt")}
    assert {canonicalize_name(pin.name) for pin, _ in pins("requirements-demo.txt")} <= dev


def test_versions_known_to_break_prefect_are_absent() -> None:
    assert Version(version("prefect")) < Version("3.9")
    assert Version(version("fastapi")) < Version("0.151")
    assert Version(version("sqlalchemy")) < Version("2.1")  # with it, nothing is scheduled and nothing said
