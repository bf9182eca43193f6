/*
 * t_zw: the checks of t_five on ZwWriteFile and ZwReadFile alone, by a driver that is no filter and needs nothing but ntoskrnl.exe.
 */
#include "t_five.h"
#include "t_five_help.h"
#include "t_five_nt.h"

static VOID NTAPI Unload(PDRIVER_OBJECT DriverObject)
{
    UNREFERENCED_PARAMETER(DriverObject);
    DbgPrint("t_zw: unloaded\n");
}

DRIVER_INITIALIZE DriverEntry;

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    DriverObject->DriverUnload = Unload;
    TestNt();
    return STATUS_SUCCESS;
}
