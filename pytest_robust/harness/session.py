"""What one pytest session holds: its options, registries, bench, and the claims and events it has collected."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest

from pytest_robust.harness.looks import Looks
from pytest_robust.harness.options import Options, read_options, report_folder
from pytest_robust.harness.records import Records

if TYPE_CHECKING:
    from pytest_robust.bench.bench import Bench
    from pytest_robust.catalogue import Registries
    from pytest_robust.gate.baseline_file import Baseline
    from pytest_robust.gate.robust import Robust

_KEY = pytest.StashKey["RobustSession"]()


class RobustSession:
    """The state of one session, in ``config.stash``, so that nested sessions stay apart.

    Args:
        config: of the session.
        options: checked.
    """

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self.config = config
        self.options = options
        #: The claims and events of every test so far; complete in the process that the user started.
        self.records = Records()
        #: Results of the gate that the running test has looked at.
        self.looks = Looks()
        #: What became of the baseline that was to be saved, for the summary.
        self.baseline_note = ""
        #: Whether the options left none of the collected tests.
        self.nothing_selected = False
        self._register_error: Exception | None = None

    @property
    def worker(self) -> str | None:
        """The id of this pytest-xdist worker; None in the process that the user started."""
        workerinput: dict[str, Any] | None = getattr(self.config, "workerinput", None)
        return None if workerinput is None else str(workerinput["workerid"])

    @property
    def registries(self) -> Registries:
        """The registries with everything that conftest.py files and plugins register, made when first needed.

        Raises:
            RobustError: an implementation of the hook registers something that cannot be; the same each time.
        """
        if self._register_error is not None:
            raise self._register_error
        return self._registries

    @cached_property
    def _registries(self) -> Registries:
        from pytest_robust.catalogue import Registries

        registries = Registries()
        try:
            self.config.hook.pytest_robust_register.call_historic(kwargs={"registries": registries})
        except Exception as error:
            # pluggy has already noted the call, so a second try would register everything twice.
            self._register_error = error
            raise
        return registries

    @cached_property
    def bench(self) -> Bench:
        """The bench that the options describe, built when a test first asks for it.

        Raises:
            DeviceError: this machine does not have the device.
            CacheError: the cache folder cannot be used.
        """
        options, registries = self.options, self.registries  # a mistake in them shows before torch is imported
        from pytest_robust.bench.bench import Bench
        from pytest_robust.bench.settings import Settings
        from pytest_robust.harness.devices import session_device, share_cores
        from pytest_robust.harness.progress import terminal_progress

        chosen: dict[str, Any] = {} if options.cache is None else {"cache": options.cache}
        settings = Settings(
            dataset=options.dataset,
            family=options.family,
            scale=options.scale,  # type: ignore[arg-type]  # one of SCALES, checked when it was read
            device=session_device(options.device, self.worker),
            data_root=options.data_root,
            download=options.download,
            seed=options.seed,
            **chosen,
        )
        if self.worker is not None:
            share_cores(self.config)
        return Bench(settings, registries, terminal_progress(self.config))

    @cached_property
    def robust(self) -> Robust:
        """The release gate on the bench, with the user's rootdir as its folder; errors as of `bench`."""
        bench = self.bench
        from pytest_robust.gate.robust import Robust

        return Robust(bench, root=self.config.rootpath, told=self.looks.note)

    @cached_property
    def baseline(self) -> Baseline | None:
        """What ``--robust-baseline`` names, read; None if it names nothing.

        Raises:
            GateError: it cannot be read.
        """
        if self.options.baseline is None:
            return None
        from pytest_robust.gate.baseline_file import Baseline

        return Baseline.read(self.options.baseline)

    def drain(self) -> list[dict[str, Any]]:
        """The bench's events since the last call; builds no bench."""
        bench: Bench | None = self.__dict__.get("bench")
        return [] if bench is None else bench.ledger.drain()


def open_session(config: pytest.Config) -> None:
    """Read and check the options, and keep the session's state; the expensive checks only where an option asks.

    Raises:
        pytest.UsageError: an option that cannot be right.
    """
    forget_report(config)
    session = config.stash[_KEY] = RobustSession(config, read_options(config))
    if session.worker is not None:
        return  # what it records goes to the process that started it, which checked the options as well
    config.pluginmanager.register(session.records, "robust-records")
    if session.options.given and not config.getoption("help"):  # help is given whatever the options say
        from pytest_robust.harness.checks import check_options

        check_options(session)


def forget_report(config: pytest.Config) -> None:
    """Let the report folder say that the run did not finish, until this one's report is written at its end.

    Before the options are checked: a run that ends there leaves no earlier verdicts behind, which somebody could take
    for its own.
    """
    asked = any(config.getoption(name, default=False) for name in ("help", "markers", "collectonly"))
    if hasattr(config, "workerinput") or asked:
        return  # a worker writes no report, and neither does who only asks
    folder = report_folder(config)
    if folder is not None and folder.is_dir():
        from pytest_robust.harness.stale import forget

        forget(folder)


def session_of(config: pytest.Config) -> RobustSession:
    """The state that belongs to `config`."""
    return config.stash[_KEY]
