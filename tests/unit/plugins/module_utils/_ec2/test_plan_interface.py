# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans for the source/destination check and for Elastic IPs: values in, actions out."""

from __future__ import annotations

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Association, Eip, Eni, EniAddress
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.plan_interface import (
    AssociateEip,
    DesiredElasticIp,
    DisassociateEip,
    EipState,
    SetSourceDestCheck,
    eip_table,
    plan_eip,
    plan_source_dest_check,
    simulate_eip,
    simulate_source_dest_check,
    source_dest_check_table,
)

OURS, OTHER = "eni-01234567", "eni-89abcdef"


def eni(*, check: bool = True, taken_by: str | None = None) -> Eni:
    second = EniAddress("10.0.1.20", public_ip="203.0.113.9" if taken_by else None, allocation_id=taken_by)
    return Eni(OURS, "02:00:00:00:00:01", "vpc-1", "subnet-1", check, (EniAddress("10.0.1.10", primary=True), second))


def eip(where: tuple[str, str] | None = None) -> Eip:
    return Eip("203.0.113.5", "eipalloc-1", Association("eipassoc-1", *where) if where else None)


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("present", [True, False])
def test_source_dest_check(wanted: bool, present: bool) -> None:
    state = eni(check=present)
    actions = plan_source_dest_check(wanted, state)
    assert actions == (() if wanted is present else (SetSourceDestCheck(OURS, wanted),))
    after = simulate_source_dest_check(state, actions)
    assert plan_source_dest_check(wanted, after) == ()
    assert source_dest_check_table(after).endswith("on\n" if wanted else "off\n")


def associate(private_ip: str = "10.0.1.10", allow: bool = True) -> AssociateEip:
    return AssociateEip("203.0.113.5", "eipalloc-1", OURS, private_ip, allow)


END = DisassociateEip("203.0.113.5", "eipassoc-1", OURS)


@pytest.mark.parametrize(
    ("wish", "where", "expected"),
    [
        (DesiredElasticIp(OURS), None, associate()),
        (DesiredElasticIp(OURS), (OTHER, "10.0.2.10"), associate()),
        (DesiredElasticIp(OURS), (OURS, "10.0.1.10"), None),
        (DesiredElasticIp(OURS), (OURS, "10.0.1.20"), associate()),
        (DesiredElasticIp(OURS, "10.0.1.20"), (OURS, "10.0.1.10"), associate("10.0.1.20")),
        (DesiredElasticIp(OURS, "10.0.1.20"), (OURS, "10.0.1.20"), None),
        (DesiredElasticIp(OURS, allow_reassociation=False), None, associate(allow=False)),
        (DesiredElasticIp(OURS, allow_reassociation=False), (OURS, "10.0.1.10"), None),
        (DesiredElasticIp(OURS, present=False), None, None),
        (DesiredElasticIp(OURS, present=False), (OURS, "10.0.1.20"), END),
        (DesiredElasticIp(OURS, present=False), (OTHER, "10.0.2.10"), None),
        (DesiredElasticIp(OURS, "10.0.1.10", present=False), (OURS, "10.0.1.20"), None),
        (DesiredElasticIp(OURS, "10.0.1.20", present=False), (OURS, "10.0.1.20"), END),
    ],
)
def test_eip(wish: DesiredElasticIp, where: tuple[str, str] | None, expected: AssociateEip | DisassociateEip | None) -> None:
    state = EipState(eip(where), eni() if wish.present else None)
    actions = plan_eip(wish, state)
    assert actions == ((expected,) if expected else ())
    after = simulate_eip(state, actions)
    assert plan_eip(wish, after) == ()
    assert (eip_table(after) == eip_table(state)) is (expected is None)


def test_another_elastic_ip_is_not_pushed_off() -> None:
    with pytest.raises(Refused, match=r"has the Elastic IP 203\.0\.113\.9 already"):
        plan_eip(DesiredElasticIp(OURS, "10.0.1.20"), EipState(eip(), eni(taken_by="eipalloc-9")))


def test_a_public_address_that_is_no_elastic_ip_gives_way() -> None:
    """EC2 itself puts a public address of its own pool there and takes it back: nobody loses anything of theirs."""
    address = EniAddress("10.0.1.10", primary=True, public_ip="198.51.100.7")
    state = EipState(eip(), Eni(OURS, "", "vpc-1", "subnet-1", True, (address,)))
    assert plan_eip(DesiredElasticIp(OURS), state) == (associate(),)


@pytest.mark.parametrize("where", [(OTHER, "10.0.2.10"), (OURS, "10.0.1.20")])
def test_no_reassociation_unless_allowed(where: tuple[str, str]) -> None:
    with pytest.raises(Refused, match=f"{where[1]} of {where[0]}"):
        plan_eip(DesiredElasticIp(OURS, allow_reassociation=False), EipState(eip(where), eni()))


def test_a_private_address_that_is_not_there() -> None:
    with pytest.raises(BadInput, match=r"does not have 10\.0\.1\.99; it has 10\.0\.1\.10, 10\.0\.1\.20"):
        plan_eip(DesiredElasticIp(OURS, "10.0.1.99"), EipState(eip(), eni()))
