/*
 * t_null: a minifilter that registers no operations: it attaches, sees nothing, and unloads.
 */
#include <fltKernel.h>
#include "t.h"

static PFLT_FILTER Filter;

static NTSTATUS FLTAPI Unload(FLT_FILTER_UNLOAD_FLAGS Flags)
{
    UNREFERENCED_PARAMETER(Flags);
    FltUnregisterFilter(Filter);
    return STATUS_SUCCESS;
}

static const FLT_REGISTRATION Registration = {
    .Size = sizeof(FLT_REGISTRATION),
    .Version = FLT_REGISTRATION_VERSION,
    .FilterUnloadCallback = Unload,
};

DRIVER_INITIALIZE DriverEntry;

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    NTSTATUS status;
    UNREFERENCED_PARAMETER(RegistryPath);
    status = FltRegisterFilter(DriverObject, &Registration, &Filter);
    ST(status, STATUS_SUCCESS, "flt_r_07_a_filter_without_operations_registers");
    if (!NT_SUCCESS(status)) return status;
    status = FltStartFiltering(Filter);
    ST(status, STATUS_SUCCESS, "flt_r_09_and_starts");
    if (!NT_SUCCESS(status)) FltUnregisterFilter(Filter);
    return status;
}
