/*
 * t_twice: completes a packet of its own twice, from two routines (NT-M-09). With the verifier on the bug check names both.
 */
#include <wdm.h>

/* Calls stay calls: each routine is to stand on the stack by its name. */
#define ALONE __attribute__((noinline, disable_tail_calls))

ALONE __declspec(dllexport) VOID TwiceFirst(PIRP Irp)
{
    Irp->IoStatus.Status = STATUS_SUCCESS;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
}

ALONE __declspec(dllexport) VOID TwiceAgain(PIRP Irp)
{
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
}

DRIVER_INITIALIZE DriverEntry;

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    PIRP Irp = IoAllocateIrp(1, FALSE);

    UNREFERENCED_PARAMETER(DriverObject);
    UNREFERENCED_PARAMETER(RegistryPath);
    if (Irp == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    IoSetNextIrpStackLocation(Irp);
    TwiceFirst(Irp);
    TwiceAgain(Irp);
    return STATUS_SUCCESS;
}
