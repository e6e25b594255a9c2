/* Records 1, 5, 8 and 9: files and batches, their rows, and what their control records say against
 * what was counted. */
#ifndef REASSOC_ACH_BATCHES_H
#define REASSOC_ACH_BATCHES_H

#include "_ach_records.h"

/* Days since 1970-01-01 of a date of the Gregorian calendar, DATE_NONE where there is no such day.
 */
static inline int32_t ach_days(int year, int month, int day) {
    static const uint8_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (month < 1 || month > 12 || day < 1) return DATE_NONE;
    if (day > lengths[month - 1] + (leap && month == 2)) return DATE_NONE;
    int shifted = month > 2 ? year : year - 1;
    int era = shifted / 400, of_era = shifted % 400;
    int of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static inline int ach_year(int32_t days) {
    int year = 1970 + days / 366;
    while (ach_days(year + 1, 1, 1) <= days) year++;
    return year;
}

/* YYMMDD; years 70-99 are of the last century. Blank and all zeros are no date; `bad` is set for
 * what is wrong. */
static inline int32_t date_at(const uint8_t *at, int *bad) {
    int64_t value = number_at(at, 6);
    *bad = 0;
    if (value == 0 || blank_at(at, 6)) return DATE_NONE;
    int32_t days = DATE_NONE;
    if (value > 0) {
        int year = (int)(value / 10000);
        days = ach_days(year < 70 ? 2000 + year : 1900 + year, (int)(value / 100 % 100),
                        (int)(value % 100));
    }
    *bad = days == DATE_NONE;
    return days;
}

/* A day of the year (settlement date) becomes the date nearest to `near`, so that a new year needs
 * no rule. */
static inline int32_t settlement_date(int day_of_year, int32_t near) {
    int32_t best = DATE_NONE;
    int64_t best_distance = INT64_MAX;
    if (day_of_year < 1 || day_of_year > 366 || near == DATE_NONE) return DATE_NONE;
    int year = ach_year(near);
    for (int candidate = year - 1; candidate <= year + 1; candidate++) {
        int32_t first = ach_days(candidate, 1, 1);
        int32_t days = first + day_of_year - 1;
        if (days >= ach_days(candidate + 1, 1, 1)) continue;
        int64_t distance = days > near ? (int64_t)days - near : (int64_t)near - days;
        if (distance < best_distance) {
            best_distance = distance;
            best = days;
        }
    }
    return best;
}

static inline uint32_t code_at(const uint8_t *at, int width) {
    uint8_t bytes[4] = {0, 0, 0, 0};
    int stop = width;
    uint32_t code;
    while (stop > 0 && at[stop - 1] == ' ') stop--;
    for (int i = 0; i < stop; i++) bytes[i] = upper(at[i]);
    memcpy(&code, bytes, 4);
    return code;
}

static inline uint16_t code2_at(const uint8_t *at, int width) {
    uint32_t wide = code_at(at, width);
    uint16_t code;
    memcpy(&code, &wide, 2);
    return code;
}

static inline int code_is(const uint8_t *at, const char *text, int width) {
    for (int i = 0; i < width; i++)
        if (upper(at[i]) != (uint8_t)text[i]) return 0;
    return 1;
}

/* A field of a record that starts at `base` in its buffer, blanks around it left out. */
static inline text_ref text_at(const uint8_t *record, uint32_t base, int first, int width) {
    int start = first, stop = first + width;
    while (start < stop && record[start] == ' ') start++;
    while (stop > start && record[stop - 1] == ' ') stop--;
    text_ref ref = {base + (uint32_t)start, (uint32_t)(stop - start)};
    return ref;
}

/* Keep a header record beside the window. Returns where it lies. */
static inline uint32_t keep_header(ach_reader *reader, const uint8_t *header) {
    ROOM(reader, headers, ACH_BYTES_SPECS, RECORD_BYTES);
    if (reader->now.failed) return 0;
    ach_bytes_table *table = &reader->tables.headers;
    uint32_t base = (uint32_t)table->rows;
    memcpy(table->data + base, header, RECORD_BYTES);
    table->rows += RECORD_BYTES;
    return base;
}

/* Counts and verdict as they are now, into the file's row. */
static inline void settle_file_row(ach_reader *reader) {
    ach_file_state *file = &reader->now.file;
    ach_file_table *table = &reader->tables.files;
    if (file->status == FILE_NONE || file->row < 0) return;
    size_t row = (size_t)file->row;
    table->has_control[row] = (uint8_t)file->has_control;
    table->closed[row] = (uint8_t)file->has_control;
    table->valid[row] = (uint8_t)file->valid;
    table->batch_stop[row] = (uint32_t)reader->tables.batches.rows;
    table->batch_count[row] = (int64_t)file->batches;
    table->record_count[row] = (int64_t)(reader->now.records - file->records_before);
    table->entry_addenda_count[row] = (int64_t)file->totals.entry_addenda;
    table->entry_hash[row] = (int64_t)(file->totals.hash % HASH_MODULUS);
    table->debit_cents[row] = (int64_t)file->totals.debit_cents;
    table->credit_cents[row] = (int64_t)file->totals.credit_cents;
    table->declared_batch_count[row] = file->declared[0];
    table->declared_block_count[row] = file->declared[1];
    table->declared_entry_addenda_count[row] = file->declared[2];
    table->declared_entry_hash[row] = file->declared[3];
    table->declared_debit_cents[row] = file->declared[4];
    table->declared_credit_cents[row] = file->declared[5];
}

/* Give the current file a row in this window. */
static inline void add_file_row(ach_reader *reader) {
    ach_file_state *file = &reader->now.file;
    ach_file_table *table = &reader->tables.files;
    const uint8_t *header = file->header;
    ROOM(reader, files, ACH_FILE_SPECS, 1);
    uint32_t base = keep_header(reader, header);
    if (reader->now.failed) return;
    size_t row = table->rows++;
    file->row = (int32_t)row;
    table->file_offset[row] = file->offset;
    table->ordinal[row] = file->ordinal;
    table->has_header[row] = (uint8_t)file->has_header;
    table->priority[row] = code2_at(header + 1, 2);
    table->destination[row] = text_at(header, base, 3, 10);
    table->origin[row] = text_at(header, base, 13, 10);
    table->creation_date[row] = file->creation_date;
    table->creation_time[row] = text_at(header, base, 29, 4);
    table->id_modifier[row] = code2_at(header + 33, 1);
    table->destination_name[row] = text_at(header, base, 40, 23);
    table->origin_name[row] = text_at(header, base, 63, 23);
    table->reference[row] = text_at(header, base, 86, 8);
    table->batch_start[row] = (uint32_t)reader->tables.batches.rows;
    settle_file_row(reader);
}

static inline void settle_batch_row(ach_reader *reader) {
    ach_batch_state *batch = &reader->now.batch;
    ach_batch_table *table = &reader->tables.batches;
    if (batch->row < 0) return;
    size_t row = (size_t)batch->row;
    table->has_control[row] = (uint8_t)batch->has_control;
    table->closed[row] = (uint8_t)!batch->open;
    table->valid[row] = (uint8_t)batch->valid;
    table->entry_stop[row] = (uint32_t)reader->tables.entries.rows;
    table->entry_count[row] = (int64_t)batch->totals.entries;
    table->entry_addenda_count[row] = (int64_t)batch->totals.entry_addenda;
    table->entry_hash[row] = (int64_t)(batch->totals.hash % HASH_MODULUS);
    table->debit_cents[row] = (int64_t)batch->totals.debit_cents;
    table->credit_cents[row] = (int64_t)batch->totals.credit_cents;
    table->declared_entry_addenda_count[row] = batch->declared[0];
    table->declared_entry_hash[row] = batch->declared[1];
    table->declared_debit_cents[row] = batch->declared[2];
    table->declared_credit_cents[row] = batch->declared[3];
}

/* Give the current batch a row in this window. */
static inline void add_batch_row(ach_reader *reader) {
    ach_batch_state *batch = &reader->now.batch;
    ach_batch_table *table = &reader->tables.batches;
    const uint8_t *header = batch->header;
    int bad;
    ROOM(reader, batches, ACH_BATCH_SPECS, 1);
    uint32_t base = keep_header(reader, header);
    if (reader->now.failed) return;
    size_t row = table->rows++;
    batch->row = (int32_t)row;
    table->file_offset[row] = batch->offset;
    table->ordinal[row] = batch->ordinal;
    table->file[row] = reader->now.file.row;
    table->has_header[row] = (uint8_t)batch->has_header;
    table->skipped[row] = (uint8_t)(batch->iat || batch->adv);
    table->service_class[row] = (int16_t)batch->service_class;
    table->company_name[row] = text_at(header, base, 4, 16);
    table->company_discretionary[row] = text_at(header, base, 20, 20);
    table->company_id[row] = text_at(header, base, 40, 10);
    table->sec[row] = code_at(header + 50, 3);
    table->entry_description[row] = text_at(header, base, 53, 10);
    table->descriptive_date[row] = text_at(header, base, 63, 6);
    table->effective_date[row] = date_at(header + 69, &bad);
    table->settlement_day[row] = (int16_t)number_at(header + 75, 3);
    int32_t near = reader->now.file.creation_date;
    if (near == DATE_NONE) near = table->effective_date[row];
    table->settlement_date[row] = settlement_date(table->settlement_day[row], near);
    table->originator_status[row] = code2_at(header + 78, 1);
    table->odfi[row] = batch->odfi;
    table->batch_number[row] = batch->batch_number;
    table->entry_start[row] = (uint32_t)reader->tables.entries.rows;
    settle_batch_row(reader);
}

static inline int known_sec(const uint8_t *at) {
    static const char known[] =
        "ACKADVARCATXBOCCCDCIECORCTXDNEENRIATMTEPOPPOSPPDRCKSHRTELTRCTRXWEBXCK";
    for (size_t i = 0; i + 3 < sizeof known; i += 3)
        if (code_is(at, known + i, 3)) return 1;
    return 0;
}

/* The batch has ended, with or without a control record. */
static inline void end_batch(ach_reader *reader) {
    ach_state *now = &reader->now;
    ach_totals *total = &now->file.totals, *part = &now->batch.totals;
    if (!now->batch.open) return;
    if (!now->batch.has_control)
        ach_find(reader, ACH_BATCH_CONTROL_MISSING, now->batch.offset - now->window_offset, 0,
                 now->batch.header_record, now->batch.has_header ? '5' : 0, 0, -1);
    total->entry_addenda += part->entry_addenda;
    total->entries += part->entries;
    total->hash += part->hash;
    total->debit_cents += part->debit_cents;
    total->credit_cents += part->credit_cents;
    now->batch.open = 0;
    settle_batch_row(reader);
}

/* The file has ended: what can only be said now. `after` records were taken since. */
static inline void end_file(ach_reader *reader, unsigned after) {
    ach_state *now = &reader->now;
    ach_file_state *file = &now->file;
    end_batch(reader);
    if (file->status == FILE_NONE) return;
    now->records -= after;
    file->records = now->records - file->records_before;
    if (!file->has_control) {
        ach_find(reader, ACH_FILE_CONTROL_MISSING, file->offset - now->window_offset, 0, 0, 0, 0,
                 -1);
    } else {
        int64_t at = file->control_offset - now->window_offset;
        if (file->declared[1] >= 0 && (uint64_t)file->declared[1] != (file->records + 9) / 10)
            ach_find(reader, ACH_FILE_BLOCK_COUNT, at + 7, 6, file->control_record, '9', 8, -1);
        if (file->records % 10 != 0)
            ach_find(reader, ACH_FILE_FILLER_MISSING, at, 0, file->control_record, '9', 0, -1);
    }
    settle_file_row(reader);
    now->records += after;
    file->status = FILE_NONE;
}

static inline void begin_file(ach_reader *reader, const ach_record *record, int has_header) {
    ach_state *now = &reader->now;
    ach_file_state *file = &now->file;
    int bad = 0;
    memset(file, 0, sizeof *file);
    memset(file->header, ' ', RECORD_BYTES);
    if (has_header) memcpy(file->header, record->at, RECORD_BYTES);
    file->status = FILE_OPEN;
    file->has_header = has_header;
    file->valid = 1;
    file->row = -1;
    file->records_before = now->records - 1;
    file->ordinal = (uint32_t)now->files++;
    file->offset = now->window_offset + (int64_t)record->offset;
    for (int i = 0; i < 6; i++) file->declared[i] = -1;
    file->creation_date = date_at(file->header + 23, &bad);
    add_file_row(reader);
    if (!has_header) {
        ach_find(reader, ACH_FILE_HEADER_MISSING, (int64_t)record->offset, 0, record->number,
                 record->at[0], 0, -1);
        return;
    }
    if (bad) ach_find_field(reader, ACH_DATE_BAD, record, 24, 6, -1);
    if (!code_is(record->at + 34, "094101", 6))
        ach_find_field(reader, ACH_FILE_HEADER_FORMAT, record, 35, 6, -1);
}

/* There is a file to put this record in. */
static inline void need_file(ach_reader *reader, const ach_record *record) {
    if (reader->now.file.status == FILE_OPEN) return;
    end_file(reader, 1);
    begin_file(reader, record, 0);
}

/* What the SEC code says about the layout of the entries. */
static inline void choose_layout(ach_batch_state *batch) {
    const uint8_t *sec = batch->header + 50;
    batch->cor = code_is(sec, "COR", 3);
    batch->iat = code_is(sec, "IAT", 3) || (batch->cor && code_is(batch->header + 4, "IATCOR", 6));
    batch->adv = code_is(sec, "ADV", 3);
    batch->joined = code_is(sec, "CTX", 3);
    batch->single = code_is(sec, "CCD", 3) || code_is(sec, "PPD", 3);
    int counted =
        batch->joined || code_is(sec, "TRX", 3) || code_is(sec, "ATX", 3) || code_is(sec, "ENR", 3);
    batch->layout = counted ? LAYOUT_COUNTED : LAYOUT_ENTRY;
}

static inline void check_batch_header(ach_reader *reader, const ach_record *record) {
    ach_batch_state *batch = &reader->now.batch;
    const uint8_t *at = record->at;
    int bad, service_class = batch->service_class;
    if (service_class != 200 && service_class != 220 && service_class != 225 &&
        service_class != 280)
        ach_find_field(reader, ACH_SERVICE_CLASS_UNKNOWN, record, 2, 3, -1);
    if (!known_sec(at + 50)) ach_find_field(reader, ACH_SEC_UNKNOWN, record, 51, 3, -1);
    if (batch->iat || batch->adv) ach_find_field(reader, ACH_UNSUPPORTED_LAYOUT, record, 51, 3, -1);
    date_at(at + 69, &bad);
    if (bad) ach_find_field(reader, ACH_DATE_BAD, record, 70, 6, -1);
    int64_t day = number_at(at + 75, 3);
    if ((day < 0 && !blank_at(at + 75, 3)) || day > 366)
        ach_find_field(reader, ACH_DATE_BAD, record, 76, 3, -1);
    if (batch->odfi < 0) ach_find_field(reader, ACH_NUMBER_BAD, record, 80, 8, -1);
    if (batch->batch_number < 0) ach_find_field(reader, ACH_NUMBER_BAD, record, 88, 7, -1);
}

static inline void begin_batch(ach_reader *reader, const ach_record *record, int has_header) {
    ach_state *now = &reader->now;
    ach_batch_state *batch = &now->batch;
    end_batch(reader);
    need_file(reader, record);
    memset(batch, 0, sizeof *batch);
    memset(batch->header, ' ', RECORD_BYTES);
    if (has_header) memcpy(batch->header, record->at, RECORD_BYTES);
    batch->open = 1;
    batch->has_header = has_header;
    batch->valid = 1;
    batch->row = -1;
    batch->ordinal = (uint32_t)now->batches++;
    batch->header_record = record->number;
    batch->offset = now->window_offset + (int64_t)record->offset;
    batch->trace_last = -1;
    batch->service_class = (int32_t)number_at(batch->header + 1, 3);
    batch->odfi = (int32_t)number_at(batch->header + 79, 8);
    batch->batch_number = (int32_t)number_at(batch->header + 87, 7);
    for (int i = 0; i < 4; i++) batch->declared[i] = -1;
    choose_layout(batch);
    if (batch->adv) now->file.has_adv = 1;
    now->file.batches++;
    add_batch_row(reader);
    if (has_header) check_batch_header(reader, record);
    else
        ach_find(reader, ACH_BATCH_HEADER_MISSING, (int64_t)record->offset, 0, record->number,
                 record->at[0], 0, -1);
}

/* Compare one declared number with what was counted. Returns whether they agree. */
static inline int check_total(ach_reader *reader, const ach_record *record, int first, int width,
                              uint64_t counted, uint16_t code, int64_t *declared) {
    *declared = number_at(record->at + first, width);
    if (*declared < 0)
        ach_find_field(reader, ACH_CONTROL_NUMBER_BAD, record, (uint8_t)(first + 1), (uint8_t)width,
                       -1);
    else if ((uint64_t)*declared != counted)
        ach_find_field(reader, code, record, (uint8_t)(first + 1), (uint8_t)width, -1);
    return *declared >= 0 && (uint64_t)*declared == counted;
}

/* Record 8. */
static inline void read_batch_control(ach_reader *reader, const ach_record *record) {
    ach_batch_state *batch = &reader->now.batch;
    const ach_totals *total = &batch->totals;
    const uint8_t *at = record->at;
    if (!batch->open) {
        ach_find_field(reader, ACH_RECORD_MISPLACED, record, 0, RECORD_BYTES, -1);
        return;
    }
    batch->has_control = 1;
    int good = check_total(reader, record, 4, 6, total->entry_addenda, ACH_BATCH_ENTRY_COUNT,
                           &batch->declared[0]);
    good &= check_total(reader, record, 10, 10, total->hash % HASH_MODULUS, ACH_BATCH_HASH,
                        &batch->declared[1]);
    if (!batch->adv) {
        good &= check_total(reader, record, 20, 12, total->debit_cents, ACH_BATCH_DEBIT_TOTAL,
                            &batch->declared[2]);
        good &= check_total(reader, record, 32, 12, total->credit_cents, ACH_BATCH_CREDIT_TOTAL,
                            &batch->declared[3]);
    }
    if (!good) batch->valid = 0;
    if (batch->has_header) {
        if (memcmp(at + 1, batch->header + 1, 3) != 0)
            ach_find_field(reader, ACH_SERVICE_CLASS_DIFFERS, record, 2, 3, -1);
        if (!batch->adv && !batch->iat && memcmp(at + 44, batch->header + 40, 10) != 0)
            ach_find_field(reader, ACH_COMPANY_ID_DIFFERS, record, 45, 10, -1);
        if (memcmp(at + 79, batch->header + 79, 8) != 0)
            ach_find_field(reader, ACH_ODFI_DIFFERS, record, 80, 8, -1);
        if (memcmp(at + 87, batch->header + 87, 7) != 0)
            ach_find_field(reader, ACH_BATCH_NUMBER_DIFFERS, record, 88, 7, -1);
    }
    end_batch(reader);
}

/* Record 9 that is no filler. */
static inline void read_file_control(ach_reader *reader, const ach_record *record) {
    ach_state *now = &reader->now;
    ach_file_state *file = &now->file;
    if (file->status == FILE_CONTROLLED) {
        ach_find_field(reader, ACH_RECORD_MISPLACED, record, 0, RECORD_BYTES, -1);
        return;
    }
    end_batch(reader);
    need_file(reader, record);
    const ach_totals *total = &file->totals;
    int64_t *declared = file->declared;
    file->has_control = 1;
    file->status = FILE_CONTROLLED;
    file->control_offset = now->window_offset + (int64_t)record->offset;
    file->control_record = record->number;
    int good = check_total(reader, record, 1, 6, file->batches, ACH_FILE_BATCH_COUNT, &declared[0]);
    declared[1] = number_at(record->at + 7, 6);
    if (declared[1] < 0) ach_find_field(reader, ACH_CONTROL_NUMBER_BAD, record, 8, 6, -1);
    good &= check_total(reader, record, 13, 8, total->entry_addenda, ACH_FILE_ENTRY_COUNT,
                        &declared[2]);
    good &= check_total(reader, record, 21, 10, total->hash % HASH_MODULUS, ACH_FILE_HASH,
                        &declared[3]);
    if (!file->has_adv) {
        good &= check_total(reader, record, 31, 12, total->debit_cents, ACH_FILE_DEBIT_TOTAL,
                            &declared[4]);
        good &= check_total(reader, record, 43, 12, total->credit_cents, ACH_FILE_CREDIT_TOTAL,
                            &declared[5]);
    }
    if (!good) file->valid = 0;
    settle_file_row(reader);
}

#endif
