/* Numbers and severities of the X12 finding codes, as in errors.py; tests/unit/test_errors.py holds
 * the two together. */
#ifndef REASSOC_FINDINGS_H
#define REASSOC_FINDINGS_H

enum { SEVERITY_INFO = 0, SEVERITY_WARNING = 1, SEVERITY_ERROR = 2 };

#define X12_FINDING_CODES(X)                                                                       \
    X(X12_NO_SEGMENTS, 1000, ERROR)                                                                \
    X(X12_ISA_UNPADDED, 1001, INFO)                                                                \
    X(X12_ISA_TERMINATOR_MISSING, 1002, WARNING)                                                   \
    X(X12_ISA_BROKEN, 1003, ERROR)                                                                 \
    X(X12_NO_ISA, 1004, WARNING)                                                                   \
    X(X12_NO_GS, 1005, WARNING)                                                                    \
    X(X12_JUNK, 1006, WARNING)                                                                     \
    X(X12_UNTERMINATED, 1007, WARNING)                                                             \
    X(X12_UNKNOWN_SEGMENT, 1008, WARNING)                                                          \
    X(X12_MISPLACED_SEGMENT, 1009, WARNING)                                                        \
    X(X12_DELIMITERS_CLASH, 1010, ERROR)                                                           \
    X(X12_SE_MISSING, 1020, ERROR)                                                                 \
    X(X12_SE_COUNT, 1021, ERROR)                                                                   \
    X(X12_SE_CONTROL_NUMBER, 1022, ERROR)                                                          \
    X(X12_GE_MISSING, 1023, ERROR)                                                                 \
    X(X12_GE_COUNT, 1024, ERROR)                                                                   \
    X(X12_GE_CONTROL_NUMBER, 1025, ERROR)                                                          \
    X(X12_IEA_MISSING, 1026, ERROR)                                                                \
    X(X12_IEA_COUNT, 1027, ERROR)                                                                  \
    X(X12_IEA_CONTROL_NUMBER, 1028, ERROR)                                                         \
    X(X12_ST_DUPLICATE, 1029, WARNING)                                                             \
    X(X12_TRAILER_UNEXPECTED, 1030, WARNING)                                                       \
    X(X12_AMOUNT_BAD, 1040, WARNING)                                                               \
    X(X12_AMOUNT_EMPTY, 1041, WARNING)                                                             \
    X(X12_AMOUNT_DECIMALS, 1042, WARNING)                                                          \
    X(X12_AMOUNT_OVERFLOW, 1043, WARNING)                                                          \
    X(X12_DATE_BAD, 1044, WARNING)                                                                 \
    X(X12_QUANTITY_BAD, 1045, WARNING)                                                             \
    X(X12_CODE_TOO_LONG, 1046, WARNING)                                                            \
    X(X12_CAS_GROUP, 1047, WARNING)                                                                \
    X(X12_ELEMENT_MISSING, 1048, WARNING)                                                          \
    X(X12_COUNT_BAD, 1049, ERROR)                                                                  \
    X(X12_BPR_MISSING, 1060, ERROR)                                                                \
    X(X12_TRN_MISSING, 1061, ERROR)                                                                \
    X(X12_BPR_NEGATIVE, 1062, ERROR)                                                               \
    X(X12_BPR_DEBIT, 1063, ERROR)                                                                  \
    X(X12_BPR_PAYER_DIFFERS, 1064, WARNING)                                                        \
    X(X12_TRN_DUPLICATE, 1065, ERROR)                                                              \
    X(X12_BPR_DUPLICATE, 1066, ERROR)                                                              \
    X(X12_NON_PAYMENT_MISMATCH, 1067, WARNING)                                                     \
    X(X12_CURRENCY, 1068, WARNING)                                                                 \
    X(X12_LINE_UNBALANCED, 1080, WARNING)                                                          \
    X(X12_CLAIM_UNBALANCED, 1081, WARNING)                                                         \
    X(X12_CLAIM_CHARGE_DIFFERS, 1082, WARNING)                                                     \
    X(X12_TRANSACTION_UNBALANCED, 1083, ERROR)                                                     \
    X(X12_SUM_OVERFLOW, 1084, ERROR)                                                               \
    X(X12_TRANSACTION_TOO_LARGE, 1090, ERROR)                                                      \
    X(X12_FINDINGS_MORE, 1091, WARNING)

#define FINDING_ENUM(name, number, severity) name = number,
typedef enum { FINDING_NONE = 0, X12_FINDING_CODES(FINDING_ENUM) } finding_code;

#define FINDING_SEVERITY(name, number, severity)                                                   \
    case name: return SEVERITY_##severity;

static inline int finding_severity(finding_code code) {
    switch (code) {
        X12_FINDING_CODES(FINDING_SEVERITY)
        default: return SEVERITY_ERROR;
    }
}

#endif
