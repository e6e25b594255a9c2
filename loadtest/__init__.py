"""Load for reassoc: feeds of synthetic remittances and payments, with the truth beside them.

Everything made here is invented: payers, payees, patients, routing numbers and identifiers belong
to nobody.
"""
