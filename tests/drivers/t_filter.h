/*
 * t_filter.h: how a fixture that is a minifilter begins, and what its callbacks share. A driver has its own FLT_REGISTRATION.
 */
#ifndef NTIO_T_FILTER_H
#define NTIO_T_FILTER_H

#include <fltKernel.h>
#include "t.h"

static PFLT_FILTER Filter;
static __attribute__((unused)) PFLT_INSTANCE Instance;

/* An InstanceSetupCallback that keeps the first instance: the first volume is C:. */
static __attribute__((unused)) NTSTATUS FLTAPI FirstInstance(PCFLT_RELATED_OBJECTS FltObjects, FLT_INSTANCE_SETUP_FLAGS Flags,
    DEVICE_TYPE DeviceType, FLT_FILESYSTEM_TYPE FilesystemType)
{
    UNREFERENCED_PARAMETER(Flags);
    UNREFERENCED_PARAMETER(DeviceType);
    UNREFERENCED_PARAMETER(FilesystemType);
    if (Instance == NULL) Instance = FltObjects->Instance;
    return STATUS_SUCCESS;
}

/* Registers the filter, a check of the name `Registers`, and starts it. */
static __attribute__((unused)) NTSTATUS StartFilter(PDRIVER_OBJECT DriverObject, const FLT_REGISTRATION *Registration, PCSTR Registers)
{
    NTSTATUS status = FltRegisterFilter(DriverObject, Registration, &Filter);
    ST(status, STATUS_SUCCESS, Registers);
    if (!NT_SUCCESS(status)) return status;
    status = FltStartFiltering(Filter);
    ST(status, STATUS_SUCCESS, "flt_r_09_and_starts");
    if (!NT_SUCCESS(status)) FltUnregisterFilter(Filter);
    return status;
}

/* Whether a name ends in a suffix, and is more than it. */
static __attribute__((unused)) BOOLEAN Ends(PCUNICODE_STRING Name, PCWSTR Suffix)
{
    USHORT length = Name->Length / sizeof(WCHAR), count = 0, i;
    while (Suffix[count] != 0) count++;
    if (length <= count) return FALSE;
    for (i = 0; i < count; i++) if (Name->Buffer[length - count + i] != Suffix[i]) return FALSE;
    return TRUE;
}

#endif
