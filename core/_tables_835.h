/* The tables that an 835 becomes. Field sources: 005010X221A1 element numbers (004010X091A1 where
 * it differs).
 *
 * `offset` and `end` are byte positions in the window that was scanned: window_offset of the result
 * is added to get the position in the file. Child ranges are [start, stop) in the child table.
 * Texts of interchanges and groups lie in a side buffer (`envelopes`), because a window rarely
 * holds the ISA that its transactions belong to.
 */
#ifndef REASSOC_TABLES_835_H
#define REASSOC_TABLES_835_H

#include "_columns.h"

#define INTERCHANGE_COLUMNS(X)                                                                     \
    X(int64, file_offset,                                                                          \
      "byte of the ISA in the file (of the first segment where there is no ISA)")                  \
    X(int64, file_end, "byte after the interchange in the file; -1 while it is open")              \
    X(uint32, ordinal, "0-based number of the interchange in the file")                            \
    X(flag, enveloped, "an ISA was there; false for bare ST..SE or GS..GE")                        \
    X(flag, closed, "the interchange has ended: its counts are final")                             \
    X(flag, valid, "IEA there, its count and control number right (true where there is no ISA)")   \
    X(uint8, element_separator, "ISA byte 4")                                                      \
    X(uint8, component_separator, "ISA16")                                                         \
    X(uint8, repetition_separator, "ISA11 where it is no letter, digit or line end; else 0")       \
    X(uint8, segment_terminator, "byte after ISA16")                                               \
    X(text, isa,                                                                                   \
      "the ISA segment without line wraps, terminator included where it stands, 1088 bytes at "    \
      "most")                                                                                      \
    X(code2, sender_qualifier, "ISA05")                                                            \
    X(text, sender, "ISA06, trailing blanks removed")                                              \
    X(code2, receiver_qualifier, "ISA07")                                                          \
    X(text, receiver, "ISA08, trailing blanks removed")                                            \
    X(date, date, "ISA09")                                                                         \
    X(code8, version, "ISA12")                                                                     \
    X(text, control_number, "ISA13")                                                               \
    X(code2, usage, "ISA15: P production, T test")                                                 \
    X(uint32, group_count, "functional groups seen")                                               \
    X(uint32, transaction_count, "transaction sets of any kind seen")

#define GROUP_COLUMNS(X)                                                                           \
    X(row, interchange, "row in interchanges")                                                     \
    X(int64, file_offset, "byte of the GS in the file")                                            \
    X(uint32, ordinal, "0-based number of the group in the file")                                  \
    X(flag, enveloped, "a GS was there")                                                           \
    X(flag, closed, "the group has ended: its counts are final")                                   \
    X(flag, valid, "GE there, its count and control number right (true where there is no GS)")     \
    X(text, gs,                                                                                    \
      "the GS segment without line wraps, terminator included where it stands, 1088 bytes at "     \
      "most")                                                                                      \
    X(code2, functional_id, "GS01: HP for 835")                                                    \
    X(text, sender, "GS02")                                                                        \
    X(text, receiver, "GS03")                                                                      \
    X(date, date, "GS04")                                                                          \
    X(text, control_number, "GS06")                                                                \
    X(text, version, "GS08: 005010X221A1, 004010X091A1")                                           \
    X(uint32, transaction_count, "transaction sets of any kind seen")

#define TRANSACTION_COLUMNS(X)                                                                     \
    X(uint32, offset, "byte of ST")                                                                \
    X(uint32, end,                                                                                 \
      "byte after the terminator of SE, or after its last byte where it has none; "                \
      "where SE is missing the byte at which something else starts, or the input ends")            \
    X(uint32, ordinal, "0-based number of the 835 in its file")                                    \
    X(row, interchange, "row in interchanges")                                                     \
    X(row, group, "row in groups")                                                                 \
    X(row, range, "row of the range it was read from, see read_835_ranges; 0 for a whole buffer")  \
    X(uint32, segment_count, "segments from ST to SE, both counted")                               \
    X(flag, balanced, "BPR02 = sum of CLP04 - sum of PLB amounts, all of them readable")           \
    X(flag, valid,                                                                                 \
      "no finding of severity error in it: balanced, SE there, its count and number right")        \
    X(text, control_number, "ST02")                                                                \
    X(text, implementation, "ST03")                                                                \
    X(code2, handling, "BPR01: I, H, C, D, P, U, X")                                               \
    X(cents, paid_cents, "BPR02")                                                                  \
    X(code2, credit_debit, "BPR03: C or D")                                                        \
    X(code4, payment_method, "BPR04: ACH, BOP, CHK, FWT, NON")                                     \
    X(code4, payment_format, "BPR05: CCP, CTX")                                                    \
    X(code2, payer_bank_qualifier, "BPR06")                                                        \
    X(text, payer_bank, "BPR07")                                                                   \
    X(code2, payer_account_qualifier, "BPR08")                                                     \
    X(text, payer_account, "BPR09")                                                                \
    X(text, originator, "BPR10: payer identifier, equal to TRN03")                                 \
    X(text, originator_supplement, "BPR11: equal to TRN04")                                        \
    X(code2, payee_bank_qualifier, "BPR12")                                                        \
    X(text, payee_bank, "BPR13")                                                                   \
    X(code2, payee_account_qualifier, "BPR14")                                                     \
    X(text, payee_account, "BPR15")                                                                \
    X(date, effective_date, "BPR16: check date or EFT effective date")                             \
    X(text, trace, "TRN02: check or EFT trace number")                                             \
    X(text, payer_id, "TRN03: payer identifier")                                                   \
    X(text, trace_supplement, "TRN04")                                                             \
    X(code4, currency, "CUR02; empty means USD")                                                   \
    X(date, production_date, "DTM*405")                                                            \
    X(text, receiver_id, "REF*EV: receiver identification")                                        \
    X(text, payer_name, "N1*PR, N102")                                                             \
    X(code2, payer_entity_qualifier, "N1*PR, N103")                                                \
    X(text, payer_entity_id, "N1*PR, N104")                                                        \
    X(text, payee_name, "N1*PE, N102")                                                             \
    X(code2, payee_entity_qualifier, "N1*PE, N103: XX NPI, FI TIN, XV plan id")                    \
    X(text, payee_entity_id, "N1*PE, N104")                                                        \
    X(text, payee_tin, "REF*TJ of the payee, else N104 where N103 is FI")                          \
    X(cents, claim_paid_cents, "sum of CLP04")                                                     \
    X(cents, provider_adjustment_cents, "sum of PLB amounts; positive reduces the payment")        \
    X(uint64, body_hash,                                                                           \
      "hash of the bytes between ST and SE: equal content in another envelope has the same")       \
    X(uint32, claim_start, "first of its rows in claims")                                          \
    X(uint32, claim_stop, "one after its last row in claims")                                      \
    X(uint32, service_start, "first of its rows in services")                                      \
    X(uint32, service_stop, "one after its last row in services")                                  \
    X(uint32, adjustment_start, "first of its rows in adjustments")                                \
    X(uint32, adjustment_stop, "one after its last row in adjustments")                            \
    X(uint32, provider_adjustment_start, "first of its rows in provider_adjustments")              \
    X(uint32, provider_adjustment_stop, "one after its last row in provider_adjustments")

/* Transaction sets other than 835: counted and skipped, still reachable. */
#define SKIPPED_COLUMNS(X)                                                                         \
    X(uint32, offset, "byte of ST")                                                                \
    X(uint32, end, "as in transactions")                                                           \
    X(code4, set_id, "ST01: 837, 999, 277, ...")                                                   \
    X(uint32, segment_count, "segments from ST to SE")                                             \
    X(row, interchange, "row in interchanges")                                                     \
    X(row, group, "row in groups")                                                                 \
    X(row, range, "row of the range it was read from")                                             \
    X(text, trace, "TRN02 of the first TRN before any detail loop (an 820's)")                     \
    X(text, payer_id, "TRN03 of the same")

#define CLAIM_COLUMNS(X)                                                                           \
    X(row, transaction, "row in transactions")                                                     \
    X(uint32, offset, "byte of CLP")                                                               \
    X(uint32, end, "byte where the next segment that is not its own starts")                       \
    X(near, patient_control_number, "CLP01")                                                       \
    X(code2, status, "CLP02: 1, 2, 3, 4, 19, 20, 21, 22, 23, 25")                                  \
    X(cents, charge_cents, "CLP03")                                                                \
    X(cents, paid_cents, "CLP04")                                                                  \
    X(cents, patient_responsibility_cents, "CLP05")                                                \
    X(code2, filing_indicator, "CLP06")                                                            \
    X(near, payer_claim_number, "CLP07")                                                           \
    X(code2, facility_type, "CLP08")                                                               \
    X(code2, frequency, "CLP09")                                                                   \
    X(code4, drg, "CLP11")                                                                         \
    X(int64, drg_weight_e4, "CLP12, in ten-thousandths")                                           \
    X(int64, discharge_fraction_e4, "CLP13, in ten-thousandths")                                   \
    X(cents, adjustment_cents, "sum of its CAS amounts and those of its services")                 \
    X(flag, balanced,                                                                              \
      "CLP03 - adjustments = CLP04, and CLP03 = sum of SVC02 where there are services")            \
    X(uint32, service_start, "first of its rows in services")                                      \
    X(uint32, service_stop, "one after its last row in services")                                  \
    X(uint32, adjustment_start,                                                                    \
      "first of its rows in adjustments, those of its services included")                          \
    X(uint32, adjustment_stop, "one after its last row in adjustments")

#define SERVICE_COLUMNS(X)                                                                         \
    X(row, claim, "row in claims, -1 for a service before any claim")                              \
    X(uint32, offset, "byte of SVC")                                                               \
    X(uint32, end, "byte where the next segment that is not its own starts")                       \
    X(code2, procedure_qualifier,                                                                  \
      "SVC01-1: HC, N4, NU, AD, ...; empty where SVC01 is a code without qualifier")               \
    X(text, procedure, "SVC01-2, and the modifiers behind it with their component separators")     \
    X(cents, charge_cents, "SVC02")                                                                \
    X(cents, paid_cents, "SVC03")                                                                  \
    X(code8, revenue_code, "SVC04")                                                                \
    X(int64, paid_units_e4, "SVC05, in ten-thousandths; absent means 1 (10000)")                   \
    X(near, submitted_procedure, "SVC06, the whole composite")                                     \
    X(int64, original_units_e4, "SVC07, in ten-thousandths; absent means SVC05")                   \
    X(date, service_date, "DTM*472, else DTM*150")                                                 \
    X(date, service_end_date, "DTM*151, else the service date")                                    \
    X(text, line_control_number, "REF*6R")                                                         \
    X(flag, balanced, "SVC02 - its CAS amounts = SVC03")                                           \
    X(uint32, adjustment_start, "first of its rows in adjustments")                                \
    X(uint32, adjustment_stop, "one after its last row in adjustments")

#define ADJUSTMENT_COLUMNS(X)                                                                      \
    X(row, claim, "row in claims")                                                                 \
    X(row, service, "row in services, -1 for an adjustment of the claim")                          \
    X(code2, group_code, "CAS01: CO, OA, PI, PR (CR in 4010)")                                     \
    X(code8, reason_code, "CAS02, 05, 08, 11, 14, 17: CARC")                                       \
    X(cents, amount_cents, "CAS03, 06, 09, 12, 15, 18; positive reduces the payment")              \
    X(int64, quantity_e4, "CAS04, 07, 10, 13, 16, 19, in ten-thousandths; 0 when absent")

#define PROVIDER_ADJUSTMENT_COLUMNS(X)                                                             \
    X(row, transaction, "row in transactions")                                                     \
    X(uint32, offset, "byte of PLB")                                                               \
    X(text, provider_id, "PLB01")                                                                  \
    X(date, fiscal_period_end, "PLB02")                                                            \
    X(code2, reason_code, "PLB03-1, 05-1, ...: WO, FB, L6, ...")                                   \
    X(text, reference, "PLB03-2, 05-2, ...")                                                       \
    X(cents, amount_cents, "PLB04, 06, 08, 10, 12, 14; positive reduces the payment")

/* What a REF, DTM, AMT, QTY, N1, NM1, PER ... hangs on. */
enum {
    LEVEL_TRANSACTION = 0,
    LEVEL_PAYER = 1,
    LEVEL_PAYEE = 2,
    LEVEL_HEADER = 3,
    LEVEL_CLAIM = 4,
    LEVEL_SERVICE = 5
};

#define OWNER_COLUMNS(X)                                                                           \
    X(uint8, level, "0 transaction, 1 payer, 2 payee, 3 header (LX), 4 claim, 5 service")          \
    X(row, owner, "row in claims (level 4), services (5), headers (3), else transactions")

#define REFERENCE_COLUMNS(X)                                                                       \
    OWNER_COLUMNS(X)                                                                               \
    X(code4, qualifier, "REF01")                                                                   \
    X(text, value, "REF02")

#define DATE_COLUMNS(X)                                                                            \
    OWNER_COLUMNS(X)                                                                               \
    X(code4, qualifier, "DTM01")                                                                   \
    X(date, date, "DTM02")

#define AMOUNT_COLUMNS(X)                                                                          \
    OWNER_COLUMNS(X)                                                                               \
    X(code4, qualifier, "AMT01: informational, never part of a balance")                           \
    X(cents, amount_cents, "AMT02")

#define QUANTITY_COLUMNS(X)                                                                        \
    OWNER_COLUMNS(X)                                                                               \
    X(code4, qualifier, "QTY01")                                                                   \
    X(int64, quantity_e4, "QTY02, in ten-thousandths")

#define REMARK_COLUMNS(X)                                                                          \
    OWNER_COLUMNS(X)                                                                               \
    X(code4, source, "MIA, MOA or LQ")                                                             \
    X(code4, qualifier, "LQ01: HE remark code, RX NCPDP; HE for MIA and MOA")                      \
    X(code8, remark_code, "LQ02, MIA05 and 20-23, MOA03-07: RARC")

#define ENTITY_COLUMNS(X)                                                                          \
    OWNER_COLUMNS(X)                                                                               \
    X(uint32, offset, "byte of the N1 or NM1")                                                     \
    X(code4, entity, "N101, NM101: PR, PE, QC, IL, 74, 82, TT, GB, ...")                           \
    X(code2, kind, "NM102: 1 person, 2 organisation; empty for N1")                                \
    X(near, name, "N102; NM103: last name or organisation")                                        \
    X(near, first_name, "NM104")                                                                   \
    X(near, middle_name, "NM105")                                                                  \
    X(near, suffix, "NM107")                                                                       \
    X(code2, id_qualifier, "N103, NM108")                                                          \
    X(near, id, "N104, NM109")

#define ADDRESS_COLUMNS(X)                                                                         \
    OWNER_COLUMNS(X)                                                                               \
    X(text, line_1, "N301")                                                                        \
    X(text, line_2, "N302")                                                                        \
    X(text, city, "N401")                                                                          \
    X(code2, state, "N402")                                                                        \
    X(text, postal_code, "N403")                                                                   \
    X(code4, country, "N404")

#define CONTACT_COLUMNS(X)                                                                         \
    OWNER_COLUMNS(X)                                                                               \
    X(code2, function, "PER01: CX, BL, IC")                                                        \
    X(text, name, "PER02")                                                                         \
    X(code2, qualifier_1, "PER03: TE, FX, EM, UR, EX")                                             \
    X(text, number_1, "PER04")                                                                     \
    X(code2, qualifier_2, "PER05")                                                                 \
    X(text, number_2, "PER06")                                                                     \
    X(code2, qualifier_3, "PER07")                                                                 \
    X(text, number_3, "PER08")

#define DELIVERY_COLUMNS(X)                                                                        \
    X(row, transaction, "row in transactions")                                                     \
    X(code2, method, "RDM01: BM mail, EM e-mail, FT file transfer, OL online")                     \
    X(text, name, "RDM02")                                                                         \
    X(text, number, "RDM03")

/* LX loops and the provider totals in them: presentation and mostly Medicare, so amounts stay as
 * their segment. */
#define HEADER_COLUMNS(X)                                                                          \
    X(row, transaction, "row in transactions")                                                     \
    X(uint32, offset, "byte of LX")                                                                \
    X(text, number, "LX01")                                                                        \
    X(uint32, claim_start, "first of its rows in claims")

/* TS3, TS2, MIA, MOA: many numbers, seldom read. One row per element that holds something. */
#define SUMMARY_COLUMNS(X)                                                                         \
    OWNER_COLUMNS(X)                                                                               \
    X(code4, segment, "TS3, TS2, MIA or MOA")                                                      \
    X(uint8, element, "element number in the segment, from 1")                                     \
    X(text, value, "the element as it stands")                                                     \
    X(cents, amount_cents, "its amount, where the guide makes the element an amount, else 0")

#define FINDING_COLUMNS(X)                                                                         \
    X(uint16, code, "errors.FindingCode")                                                          \
    X(int64, file_offset, "byte in the file")                                                      \
    X(uint32, length,                                                                              \
      "bytes concerned, 0 where the fault is at a point; of X12_FINDINGS_MORE how many findings")  \
    X(uint32, segment_ordinal,                                                                     \
      "1-based number of the segment in its transaction (ST is 1), 0 outside of one")              \
    X(code4, segment, "segment id where it is one of the guide's, else empty")                     \
    X(uint8, element, "element number from 1, 0 for the segment as a whole")                       \
    X(row, transaction, "row in transactions, -1 outside of one")                                  \
    X(row, claim, "row in claims, -1 outside of one")                                              \
    X(row, interchange, "row in interchanges, -1 before the first")                                \
    X(row, range, "row of the range it was read from")

#endif
