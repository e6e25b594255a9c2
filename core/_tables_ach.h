/* The tables that an ACH (NACHA) file becomes. Positions are 1-based columns of the 94-character
 * record.
 *
 * `offset` is a byte position in the window that was scanned: window_offset of the result is added
 * to get the position in the file. Texts of files and batches lie in a side buffer (`headers`),
 * because a window rarely holds the 1 and 5 records that its entries belong to. Texts are without
 * the blanks around them. A number that could not be read is -1. Child ranges are [start, stop) in
 * the child table.
 */
#ifndef REASSOC_TABLES_ACH_H
#define REASSOC_TABLES_ACH_H

#include "_columns.h"

/* Record 1 and 9. One row per window touched. */
#define ACH_FILE_COLUMNS(X)                                                                        \
    X(int64, file_offset, "byte of its first record in the input")                                 \
    X(uint32, ordinal, "0-based number of the file in the input")                                  \
    X(flag, has_header, "a record 1 was there")                                                    \
    X(flag, has_control, "a record 9 was there")                                                   \
    X(flag, closed, "record 9 was seen: counts and verdict are final")                             \
    X(flag, valid, "no finding of severity error about the file itself so far")                    \
    X(code2, priority, "1, 2-3")                                                                   \
    X(text, destination, "1, 4-13")                                                                \
    X(text, origin, "1, 14-23")                                                                    \
    X(date, creation_date, "1, 24-29")                                                             \
    X(text, creation_time, "1, 30-33: HHMM")                                                       \
    X(code2, id_modifier, "1, 34")                                                                 \
    X(text, destination_name, "1, 41-63")                                                          \
    X(text, origin_name, "1, 64-86")                                                               \
    X(text, reference, "1, 87-94")                                                                 \
    X(uint32, batch_start, "first of its rows in batches")                                         \
    X(uint32, batch_stop, "one after its last row in batches")                                     \
    X(int64, batch_count, "batches seen")                                                          \
    X(int64, record_count, "records seen, fillers included")                                       \
    X(int64, entry_addenda_count, "records 6 and 7 seen")                                          \
    X(int64, entry_hash, "sum of the 8-digit RDFI numbers, low ten digits")                        \
    X(cents, debit_cents, "sum of the debits")                                                     \
    X(cents, credit_cents, "sum of the credits")                                                   \
    X(int64, declared_batch_count, "9, 2-7")                                                       \
    X(int64, declared_block_count, "9, 8-13")                                                      \
    X(int64, declared_entry_addenda_count, "9, 14-21")                                             \
    X(int64, declared_entry_hash, "9, 22-31")                                                      \
    X(cents, declared_debit_cents, "9, 32-43")                                                     \
    X(cents, declared_credit_cents, "9, 44-55")

/* Record 5 and 8. One row per window touched. */
#define ACH_BATCH_COLUMNS(X)                                                                       \
    X(int64, file_offset, "byte of its first record in the input")                                 \
    X(uint32, ordinal, "0-based number of the batch in the input")                                 \
    X(row, file, "row in files")                                                                   \
    X(flag, has_header, "a record 5 was there")                                                    \
    X(flag, has_control, "a record 8 was there")                                                   \
    X(flag, skipped, "IAT or ADV: counted and checked, its entries are in no table")               \
    X(flag, closed, "the batch has ended: counts and verdict are final")                           \
    X(flag, valid, "no finding of severity error about the batch itself so far")                   \
    X(int16, service_class, "5, 2-4: 200, 220, 225, 280")                                          \
    X(text, company_name, "5, 5-20")                                                               \
    X(text, company_discretionary, "5, 21-40")                                                     \
    X(text, company_id, "5, 41-50")                                                                \
    X(code4, sec, "5, 51-53 in upper case: CCD, CTX, PPD, COR, ...; empty without a header")       \
    X(text, entry_description, "5, 54-63")                                                         \
    X(text, descriptive_date, "5, 64-69")                                                          \
    X(date, effective_date, "5, 70-75")                                                            \
    X(int16, settlement_day, "5, 76-78: day of the year, -1 where blank")                          \
    X(date, settlement_date, "that day in the year nearest to the file's creation date")           \
    X(code2, originator_status, "5, 79")                                                           \
    X(int32, odfi, "5, 80-87: 8 digits")                                                           \
    X(int32, batch_number, "5, 88-94")                                                             \
    X(uint32, entry_start, "first of its rows in entries")                                         \
    X(uint32, entry_stop, "one after its last row in entries")                                     \
    X(int64, entry_count, "records 6 seen")                                                        \
    X(int64, entry_addenda_count, "records 6 and 7 seen")                                          \
    X(int64, entry_hash, "sum of the 8-digit RDFI numbers, low ten digits")                        \
    X(cents, debit_cents, "sum of the debits")                                                     \
    X(cents, credit_cents, "sum of the credits")                                                   \
    X(int64, declared_entry_addenda_count, "8, 5-10")                                              \
    X(int64, declared_entry_hash, "8, 11-20")                                                      \
    X(cents, declared_debit_cents, "8, 21-32")                                                     \
    X(cents, declared_credit_cents, "8, 33-44")

/* return_code, original_trace_number and original_rdfi are added from `returns` when the table is
 * built: few entries have them, and a column that is never touched costs no memory. */
#define ACH_ENTRY_COLUMNS(X)                                                                       \
    X(uint32, offset, "byte of the record")                                                        \
    X(uint32, ordinal, "0-based number of the entry in the input, skipped ones not counted")       \
    X(uint32, record_number, "1-based number of the record in the input")                          \
    X(row, batch, "row in batches")                                                                \
    X(uint8, transaction_code, "6, 2-3; 0 where it is no number")                                  \
    X(int32, rdfi_routing, "6, 4-12: 9 digits")                                                    \
    X(text, account, "6, 13-29")                                                                   \
    X(cents, amount_cents, "6, 30-39; 0 and not valid where it is no number")                      \
    X(text, identification, "6, 40-54")                                                            \
    X(text, receiver_name, "6, 55-76; 59-74 for CTX and its kind")                                 \
    X(code2, discretionary, "6, 77-78")                                                            \
    X(uint8, addenda_indicator, "6, 79; 255 where it is no number")                                \
    X(int64, trace_number, "6, 80-94")                                                             \
    X(uint32, addenda_start, "first of its rows in addenda")                                       \
    X(uint32, addenda_stop, "one after its last row in addenda")                                   \
    X(uint8, kind, "ach.EntryKind")                                                                \
    X(uint8, trn_form, "ach.TrnForm: how the TRN was written in the addenda")                      \
    X(text, trace, "TRN02 of the addenda, or of the X12 that a CTX carries")                       \
    X(text, payer_id, "TRN03 of the same")                                                         \
    X(text, trace_supplement, "TRN04 of the same")                                                 \
    X(flag, valid, "no finding of severity error about the entry itself")

#define ACH_ADDENDA_COLUMNS(X)                                                                     \
    X(uint32, offset, "byte of the record")                                                        \
    X(row, entry, "row in entries")                                                                \
    X(uint32, record_number, "1-based number of the record in the input")                          \
    X(uint8, type_code, "7, 2-3: 5, 98, 99, 2; 255 where it is no number")                         \
    X(int16, sequence, "7, 84-87 of an 05; -1 for others")                                         \
    X(int32, entry_sequence, "7, 88-94")                                                           \
    X(text, information,                                                                           \
      "05: 4-83; 99: 36-79 (dishonored 59-79, contested none); 98: 36-64; others 4-79")

/* Addenda 98 and 99 field by field. */
#define ACH_RETURN_COLUMNS(X)                                                                      \
    X(row, entry, "row in entries")                                                                \
    X(row, addenda, "row in addenda")                                                              \
    X(uint8, form, "ach.ReturnForm")                                                               \
    X(code4, code, "4-6 in upper case: R.. or C..")                                                \
    X(int64, original_trace_number, "7-21")                                                        \
    X(int32, original_rdfi, "28-35: 8 digits")                                                     \
    X(date, date, "22-27: date of death (99), date the original was returned (contested)")         \
    X(int16, original_settlement_day, "36-38, contested")                                          \
    X(int64, return_trace_number, "39-53, dishonored and contested")                               \
    X(int16, return_settlement_day, "54-56, dishonored and contested")                             \
    X(code2, return_reason, "57-58, dishonored and contested")                                     \
    X(int64, dishonored_trace_number, "59-73, contested")                                          \
    X(int16, dishonored_settlement_day, "74-76, contested")                                        \
    X(code2, dishonored_reason, "77-78, contested")                                                \
    X(code4, change_code, "65-67, refused notification of change")                                 \
    X(int32, trace_sequence, "68-74, refused notification of change")

/* The joined 80-character slices of an entry (CTX). Texts lie in `payload_bytes`. */
#define ACH_PAYLOAD_COLUMNS(X)                                                                     \
    X(row, entry, "row in entries")                                                                \
    X(uint32, start, "its first byte in payload_bytes")                                            \
    X(uint32, stop, "one after its last byte")                                                     \
    X(flag, x12, "it looks like X12: an ISA, GS or ST is there")                                   \
    X(uint8, trn_form, "ach.TrnForm, where it is no X12")                                          \
    X(text, trace, "TRN02, where it is no X12")                                                    \
    X(text, payer_id, "TRN03, where it is no X12")                                                 \
    X(text, trace_supplement, "TRN04, where it is no X12")

#define ACH_FINDING_COLUMNS(X)                                                                     \
    X(uint16, code, "errors.FindingCode")                                                          \
    X(int64, file_offset, "byte in the input")                                                     \
    X(uint32, length,                                                                              \
      "bytes concerned, 0 where the fault is at a point; of ACH_FINDINGS_MORE how many findings")  \
    X(uint32, record_number, "1-based number of the record in the input")                          \
    X(code2, record_type, "1, 5, 6, 7, 8 or 9; empty for what is no record")                       \
    X(uint8, position, "1-based column of the field in its record, 0 for the record as a whole")   \
    X(row, file, "row in files, -1 outside of one")                                                \
    X(row, batch, "row in batches, -1 outside of one")                                             \
    X(row, entry, "row in entries, -1 outside of one")

#define ACH_BYTES_COLUMNS(X) X(uint8, data, "bytes")

DECLARE_TABLE(ach_file_table, ACH_FILE_COLUMNS)
DECLARE_TABLE(ach_batch_table, ACH_BATCH_COLUMNS)
DECLARE_TABLE(ach_entry_table, ACH_ENTRY_COLUMNS)
DECLARE_TABLE(ach_addenda_table, ACH_ADDENDA_COLUMNS)
DECLARE_TABLE(ach_return_table, ACH_RETURN_COLUMNS)
DECLARE_TABLE(ach_payload_table, ACH_PAYLOAD_COLUMNS)
DECLARE_TABLE(ach_finding_table, ACH_FINDING_COLUMNS)
DECLARE_TABLE(ach_bytes_table, ACH_BYTES_COLUMNS)

#define TABLE_TYPE ach_file_table
static const column_spec ACH_FILE_SPECS[] = {ACH_FILE_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE ach_batch_table
static const column_spec ACH_BATCH_SPECS[] = {ACH_BATCH_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE ach_entry_table
static const column_spec ACH_ENTRY_SPECS[] = {ACH_ENTRY_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE ach_addenda_table
static const column_spec ACH_ADDENDA_SPECS[] = {ACH_ADDENDA_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE ach_return_table
static const column_spec ACH_RETURN_SPECS[] = {ACH_RETURN_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE ach_payload_table
static const column_spec ACH_PAYLOAD_SPECS[] = {ACH_PAYLOAD_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE ach_finding_table
static const column_spec ACH_FINDING_SPECS[] = {ACH_FINDING_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE
#define TABLE_TYPE ach_bytes_table
static const column_spec ACH_BYTES_SPECS[] = {ACH_BYTES_COLUMNS(COLUMN_DESCRIPTION)};
#undef TABLE_TYPE

#define SPEC_COUNT(specs) (sizeof(specs) / sizeof((specs)[0]))

#endif
