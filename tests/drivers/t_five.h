/*
 * t_five.h: what the parts of t_five share.
 */
#ifndef NTIO_T_FIVE_H
#define NTIO_T_FIVE_H

#include <initguid.h>
#include <ksmedia.h>
#include "t_filter.h"

#define TAG 'vifT'
#define PATTERN_STATUS ((NTSTATUS)0x5A5A5A5A)
#define PATTERN_INFORMATION ((ULONG_PTR)0x5A5A5A5A5A5A5A5A)
#define RESET(iosb) ((iosb).Status = PATTERN_STATUS, (iosb).Information = PATTERN_INFORMATION)
#define UNTOUCHED(iosb) ((iosb).Status == PATTERN_STATUS && (iosb).Information == PATTERN_INFORMATION)

/* S(n) of the ledger: the call returned SUCCESS and the status block holds {SUCCESS, n}. */
#define S_N(actual, iosb, n, name) TBlock((actual), STATUS_SUCCESS, NULL, &(iosb), (n), name, __LINE__)
/* A request that may pend: wait for its event, then the status block is {SUCCESS, n}. */
#define DONE(actual, event, iosb, n, name) TBlock((actual), STATUS_PENDING, (event), &(iosb), (n), name, __LINE__)

/* What the filter of this driver has seen. */
extern volatile LONG PreWrites, PostWrites;
extern volatile ULONG LastKey;
extern volatile ULONG_PTR LastInformation;
extern volatile LONGLONG LastPosition;
/* Set: the next pre-write callback writes through its own instance and the same file object, and stores the status here. */
extern volatile LONG NestOnce;
extern volatile NTSTATUS NestStatus;

NTSTATUS Open(PCWSTR Name, ACCESS_MASK Access, ULONG Disposition, ULONG Options, PHANDLE Handle, PULONG_PTR Information);
NTSTATUS Wait(PVOID Event);
LARGE_INTEGER At(LONGLONG Offset);
LONGLONG EndOfFile(HANDLE Handle);
LONGLONG Position(HANDLE Handle);
VOID TBlock(NTSTATUS Status, NTSTATUS Allowed, PVOID Event, PIO_STATUS_BLOCK Iosb, ULONG_PTR Bytes, PCSTR Name, LONG Line);
BOOLEAN Holds(HANDLE Handle, LONGLONG Offset, PCSTR Text, ULONG Length);

VOID TestNt(VOID);
VOID TestFlt(VOID);
VOID TestKsFile(VOID);
VOID TestKsPin(VOID);

#endif
