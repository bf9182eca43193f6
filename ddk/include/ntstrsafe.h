/*
 * ntstrsafe.h: bounded string formatting and copying, the few routines that fixtures and samples use.
 */
#ifndef _NTSTRSAFE_H_INCLUDED_
#define _NTSTRSAFE_H_INCLUDED_

#include <ntdef.h>
#include <ntstatus.h>

#define NTSTRSAFE_MAX_CCH 2147483647

FORCEINLINE NTSTATUS RtlStringCbVPrintfA(PSTR Dest, size_t Bytes, PCSTR Format, va_list Arguments)
{
    int used;
    if (Bytes == 0 || Bytes > NTSTRSAFE_MAX_CCH) return STATUS_INVALID_PARAMETER;
    used = _vsnprintf(Dest, Bytes - 1, Format, Arguments);
    Dest[Bytes - 1] = 0;
    return used < 0 || (size_t)used > Bytes - 1 ? STATUS_BUFFER_OVERFLOW : STATUS_SUCCESS;
}
FORCEINLINE NTSTATUS RtlStringCbVPrintfW(PWSTR Dest, size_t Bytes, PCWSTR Format, va_list Arguments)
{
    int used;
    size_t count = Bytes / sizeof(WCHAR);
    if (count == 0 || count > NTSTRSAFE_MAX_CCH) return STATUS_INVALID_PARAMETER;
    used = _vsnwprintf(Dest, count - 1, Format, Arguments);
    Dest[count - 1] = 0;
    return used < 0 || (size_t)used > count - 1 ? STATUS_BUFFER_OVERFLOW : STATUS_SUCCESS;
}
static __inline __attribute__((unused)) NTSTATUS RtlStringCbPrintfA(PSTR Dest, size_t Bytes, PCSTR Format, ...)
{
    NTSTATUS status;
    va_list list;
    va_start(list, Format);
    status = RtlStringCbVPrintfA(Dest, Bytes, Format, list);
    va_end(list);
    return status;
}
static __inline __attribute__((unused)) NTSTATUS RtlStringCbPrintfW(PWSTR Dest, size_t Bytes, PCWSTR Format, ...)
{
    NTSTATUS status;
    va_list list;
    va_start(list, Format);
    status = RtlStringCbVPrintfW(Dest, Bytes, Format, list);
    va_end(list);
    return status;
}
#define RtlStringCchPrintfA RtlStringCbPrintfA
#define RtlStringCchPrintfW(d, n, ...) RtlStringCbPrintfW((d), (n) * sizeof(WCHAR), __VA_ARGS__)
FORCEINLINE NTSTATUS RtlStringCbCopyW(PWSTR Dest, size_t Bytes, PCWSTR Source)
{
    size_t i, count = Bytes / sizeof(WCHAR);
    if (count == 0) return STATUS_INVALID_PARAMETER;
    for (i = 0; i + 1 < count && Source[i]; i++) Dest[i] = Source[i];
    Dest[i] = 0;
    return Source[i] ? STATUS_BUFFER_OVERFLOW : STATUS_SUCCESS;
}

#endif
