/*
 * t.h: what the fixture drivers share. A check prints one whole line: "ok NAME", or "not ok NAME: reason".
 * A name starts with the rule that it checks (nt_w_01_...). Values are printed when a check fails.
 */
#ifndef NTIO_T_H
#define NTIO_T_H

#define OK(condition, name)                                                                     \
    do {                                                                                        \
        if (condition) DbgPrint("ok " name "\n");                                               \
        else DbgPrint("not ok " name ": line %d: %s\n", __LINE__, #condition);                  \
    } while (0)

/* Two integers are equal; the actual one is printed in hexadecimal if not. */
#define EQ(actual, expected, name)                                                              \
    do {                                                                                        \
        ULONGLONG eq_a = (ULONGLONG)(actual), eq_e = (ULONGLONG)(expected);                     \
        if (eq_a == eq_e) DbgPrint("ok " name "\n");                                            \
        else DbgPrint("not ok " name ": line %d: %s is 0x%I64x, expected 0x%I64x\n", __LINE__,  \
            #actual, eq_a, eq_e);                                                               \
    } while (0)

/* A status is as expected; both are printed if not. */
#define ST(actual, expected, name)                                                              \
    do {                                                                                        \
        NTSTATUS st_a = (actual), st_e = (expected);                                            \
        if (st_a == st_e) DbgPrint("ok " name "\n");                                            \
        else DbgPrint("not ok " name ": line %d: status 0x%08x, expected 0x%08x\n", __LINE__,   \
            (ULONG)st_a, (ULONG)st_e);                                                          \
    } while (0)

#endif
