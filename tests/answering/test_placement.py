"""Which servers run the large model, who said so, and what is warned of."""

from __future__ import annotations

import dataclasses

import pytest

from adec.answering import placement
from adec.answering.choice import Choice
from adec.answering.placement import place
from adec.answering.plan import Plan, plan
from adec.decoding.pair.clock.cost_curve import CostCurve, Curves
from adec.engines.base import OpenOptions
from adec.engines.llama.rpc_addresses import Address
from adec.errors import EngineError, ProfileError, UsageError
from adec.practice import large_folder
from adec.profiles.schema import MeasuredOn

TWO = ("10.0.0.2:50052", "10.0.0.3:50052")


def asked(*rpc: str) -> OpenOptions:
    return OpenOptions(rpc=rpc)


def planned(measured: str | None = None, *, timed: bool = True) -> Plan:
    """The built-in pair with a profile that was measured on these servers."""
    ready = plan(Choice(strategy="plain"))
    assert ready.profile is not None
    profile = dataclasses.replace(ready.profile, name="mine", machine=MeasuredOn(rpc=measured))
    curves = Curves(CostCurve({1: 2.0}), CostCurve({1: 1.0})) if timed else None
    return dataclasses.replace(ready, profile=profile, curves=curves, threads=(2, 2))


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """judge.lan is known, and nothing is asked of the network."""
    known = {"judge.lan": "10.0.0.2", "far.example": "8.8.4.4"}

    def resolve(server: Address) -> Address:
        if server.host[0].isdigit():
            return server
        if server.host not in known:
            raise EngineError(f"{server.host} is not known")
        return Address(known[server.host], server.port)

    monkeypatch.setattr(placement, "resolve", resolve)


def test_nothing_asked_is_nothing_done() -> None:
    ready = planned()
    placed = place(ready, OpenOptions())
    assert (placed.options.rpc, placed.remarks, placed.named) == ((), (), None)
    assert placed.plan is ready


def test_typed_servers_are_used_without_a_word() -> None:
    placed = place(planned(timed=False), asked(*TWO))
    assert (placed.options.rpc, placed.remarks) == (TWO, ())
    assert placed.named == ",".join(TWO)


def test_servers_of_a_setting_or_a_profile_are_told() -> None:
    told = "the large model runs on 2 RPC servers: 10.0.0.2:50052, 10.0.0.3:50052"
    assert place(planned(timed=False), asked(*TWO), "./adec.toml").remarks == (
        f"{told} (./adec.toml)",
    )
    placed = place(planned(",".join(TWO)), OpenOptions())
    assert placed.remarks == (f"{told} (profile mine)",) and placed.options.rpc == TWO
    assert placed.plan.curves is not None


def test_off_overrides_a_profile_and_voids_its_times() -> None:
    placed = place(planned(",".join(TWO)), asked())
    assert (placed.options.rpc, placed.named) == ((), None)
    (remark,) = placed.remarks
    assert "was measured on 10.0.0.2:50052, 10.0.0.3:50052: its times are not used" in remark
    assert placed.plan.curves is None and placed.plan.threads is None


def test_times_that_were_measured_here_are_not_used_for_servers() -> None:
    placed = place(planned(), asked(*TWO))
    (remark,) = placed.remarks
    assert "profile mine was measured without RPC servers" in remark
    assert placed.plan.curves is None


@pytest.mark.parametrize("given", ["judge.lan:50052", "10.0.0.2:50052"])
def test_a_name_and_its_address_are_one_server(given: str) -> None:
    placed = place(planned("judge.lan:50052"), asked(given))
    assert placed.options.rpc == ("10.0.0.2:50052",)
    assert placed.remarks == () and placed.plan.curves is not None
    assert place(planned(placed.named), placed.options).remarks == ()
    moved = place(planned("gone.lan:50052"), asked(given))
    assert "was measured on gone.lan:50052" in moved.remarks[0]


def test_addresses_outside_private_networks_are_warned_of_after_resolving() -> None:
    ready = planned(timed=False)
    (one,) = place(ready, asked("far.example:9", "10.0.0.2:9")).remarks
    assert one.startswith("far.example:9 (8.8.4.4) is outside private networks")
    two = place(ready, asked("8.8.8.8:1", "1.1.1.1:1")).remarks
    assert [remark.split()[0] for remark in two] == ["8.8.8.8:1", "1.1.1.1:1"]


def test_a_folder_is_refused_before_anything_is_asked_of_the_network() -> None:
    ready = plan(Choice(model=str(large_folder()), strategy="plain"))
    with pytest.raises(UsageError, match="--rpc moves layers of GGUF models") as caught:
        place(ready, asked("gone.lan:1"))
    assert "--rpc off" in str(caught.value)
    with pytest.raises(UsageError, match="ADEC_RPC moves layers"):
        place(ready, asked("gone.lan:1"), "ADEC_RPC")
    assert place(ready, asked()).options.rpc == ()


def test_a_bad_address_in_a_profile_is_the_profiles_error() -> None:
    with pytest.raises(ProfileError, match=r"profile mine: machine\.rpc: '\[::1\]:5'"):
        place(planned("[::1]:5"), OpenOptions())
