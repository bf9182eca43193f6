/*
 * ntintsafe.h: arithmetic that reports overflow.
 */
#ifndef _NTINTSAFE_H_INCLUDED_
#define _NTINTSAFE_H_INCLUDED_

#include <ntdef.h>
#include <ntstatus.h>

#define NTIO_CHECKED(name, type, builtin)                                       \
    FORCEINLINE NTSTATUS name(type A, type B, type *Result)                     \
    {                                                                           \
        if (builtin(A, B, Result)) {                                            \
            *Result = (type)-1;                                                 \
            return STATUS_INTEGER_OVERFLOW;                                     \
        }                                                                       \
        return STATUS_SUCCESS;                                                  \
    }
NTIO_CHECKED(RtlULongAdd, ULONG, __builtin_add_overflow)
NTIO_CHECKED(RtlULongSub, ULONG, __builtin_sub_overflow)
NTIO_CHECKED(RtlULongMult, ULONG, __builtin_mul_overflow)
NTIO_CHECKED(RtlUShortAdd, USHORT, __builtin_add_overflow)
NTIO_CHECKED(RtlULongLongAdd, ULONGLONG, __builtin_add_overflow)
NTIO_CHECKED(RtlULongLongMult, ULONGLONG, __builtin_mul_overflow)
NTIO_CHECKED(RtlSizeTAdd, SIZE_T, __builtin_add_overflow)
NTIO_CHECKED(RtlSizeTMult, SIZE_T, __builtin_mul_overflow)

#endif
