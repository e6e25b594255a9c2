"""Writes directory.toml: who is paid and who pays, as the matcher's directory has it."""

from __future__ import annotations

from reassoc.loadtest.world import Payee, World, site_npis

DIRECTORY_NAME = "directory.toml"
TENANTS = ("north", "south", "west")
"""The first ones; what comes behind them has a number."""
TENANTS_MAX = 100_000


def directory_text(world: World, tenants: int = len(TENANTS)) -> str:
    """The payees and payers of a world but for its strangers. O(payees + payers).

    tenants : among whom the payees are shared out, in turn
    """
    names = [*TENANTS, *(f"tenant-{number:06d}" for number in range(len(TENANTS), tenants))]
    parts = ["# Who is who in this feed. Everything in it is invented.\n"]
    parts += [_payee(payee, names[payee.number % tenants]) for payee in world.payees]
    # What an aggregator pays for is one payer with it: its plans' identifiers stand there.
    for payer in world.payers:
        ids = list(dict.fromkeys((payer.payer_id, payer.company_id)))
        parts.append(
            f'\n[[payers]]\nname = "{payer.name}"\nids = {_list(ids)}\n'
            f"names = {_list([payer.name, payer.company_name])}\n"
            f'accounts = [{{ routing = "{payer.odfi}", account = "{payer.account}" }}]\n'
        )
    for aggregator in world.aggregators:
        plans = [world.payers[number].payer_id for number in aggregator.plans]
        parts.append(
            f'\n[[payers]]\nname = "{aggregator.name}"\nids = {_list([aggregator.payer_id])}\n'
            f"names = {_list([aggregator.company_name])}\naggregator = true\n"
            f"plans = {_list(plans)}\n"
        )
    return "".join(parts)


def _payee(payee: Payee, tenant: str) -> str:
    npis = _list([payee.npi, *site_npis(payee)])
    return (
        f'\n[[payees]]\nname = "{payee.name}"\ntenant = "{tenant}"\n'
        f'receiver = "{payee.receiver}"\ntins = ["{payee.tax_id}"]\nnpis = {npis}\n'
        f'accounts = [{{ routing = "{payee.rdfi}", account = "{payee.account}" }}]\n'
    )


def _list(values: list[str]) -> str:
    return "[" + ", ".join(f'"{value}"' for value in values) + "]"
