/*
 * t_missing: imports a routine that no kernel exports. A loader refuses it by name (exit code 3); with --allow-missing it loads,
 * and the call is the bug check that names the import.
 */
#include <wdm.h>

NTSTATUS NTAPI NtioRoutineThatNoKernelExports(ULONG Value);

DRIVER_INITIALIZE DriverEntry;

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(DriverObject);
    UNREFERENCED_PARAMETER(RegistryPath);
    return NtioRoutineThatNoKernelExports(7);
}
