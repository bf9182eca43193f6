/*
 * t.h: what the fixture drivers share. A check prints one whole line: "ok NAME", or "not ok NAME: reason".
 * A name starts with the rule that it checks (nt_w_01_...). Values are printed when a check fails.
 */
#ifndef NTIO_T_H
#define NTIO_T_H

#define T_HELPER static __attribute__((unused)) VOID

T_HELPER TOk(BOOLEAN Good, PCSTR Name, LONG Line, PCSTR Text)
{
    if (Good) DbgPrint("ok %s\n", Name);
    else DbgPrint("not ok %s: line %d: %s\n", Name, Line, Text);
}
T_HELPER TEq(ULONGLONG Actual, ULONGLONG Expected, PCSTR Name, LONG Line, PCSTR Text)
{
    if (Actual == Expected) DbgPrint("ok %s\n", Name);
    else DbgPrint("not ok %s: line %d: %s is 0x%I64x, expected 0x%I64x\n", Name, Line, Text, Actual, Expected);
}
T_HELPER TSt(NTSTATUS Actual, NTSTATUS Expected, PCSTR Name, LONG Line)
{
    if (Actual == Expected) DbgPrint("ok %s\n", Name);
    else DbgPrint("not ok %s: line %d: status 0x%08x, expected 0x%08x\n", Name, Line, (ULONG)Actual, (ULONG)Expected);
}

/* A condition holds; its text is printed if not. */
#define OK(condition, name) TOk((BOOLEAN)((condition) ? TRUE : FALSE), name, __LINE__, #condition)
/* Two integers are equal; the actual one is printed in hexadecimal if not. */
#define EQ(actual, expected, name) TEq((ULONGLONG)(actual), (ULONGLONG)(expected), name, __LINE__, #actual)
/* A status is as expected; both are printed if not. */
#define ST(actual, expected, name) TSt((actual), (expected), name, __LINE__)

#endif
