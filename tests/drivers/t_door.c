/*
 * t_door: lets a test make a compiled driver call the kernel. \Device\TDoor (\??\TDoor) takes requests of t_door.h; previous mode is
 * that of the caller, so the Nt names validate as for a user and the Zw names as for a driver. It is a minifilter too (without
 * operations), for the sake of FltWriteFile and FltReadFile. With TDOOR_NT_ONLY (t_ntdoor) it is neither filter nor stream client.
 */
#ifdef TDOOR_NT_ONLY
#include <fltKernel.h>
#include "t.h"
#else
#include "t_filter.h"
#endif
#include <ks.h>
#include "t_door.h"
#define T_DEVICE L"TDoor"
#include "t_device.h"

C_ASSERT(sizeof(TDOOR_REQUEST) == 112);
C_ASSERT(IOCTL_TDOOR == 0x00222003);

#define P(i) ((PVOID)(ULONG_PTR)a[i])
#define U(i) ((ULONG)a[i])
#define MODE(i) ((KPROCESSOR_MODE)a[i])

#ifndef TDOOR_NT_ONLY
static VOID FLTAPI FltDone(PFLT_CALLBACK_DATA Data, PFLT_CONTEXT Context)
{
    TDOOR_RECORD *record = Context;
    record->Status = Data->IoStatus.Status;
    record->Information = Data->IoStatus.Information;
    InterlockedIncrement(&record->Calls);
}

static NTSTATUS NTAPI KsDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    TDOOR_RECORD *record = Context;
    UNREFERENCED_PARAMETER(DeviceObject);
    record->Status = Irp->IoStatus.Status;
    record->Information = Irp->IoStatus.Information;
    InterlockedIncrement(&record->Calls);
    return STATUS_SUCCESS;
}

#endif

/* Calls that name their files by handle. */
static NTSTATUS CallByHandle(ULONG Op, const ULONGLONG *a)
{
    switch (Op) {
    case TDOOR_NT_CREATE_FILE:
        return NtCreateFile(P(0), U(1), P(2), P(3), P(4), U(5), U(6), U(7), U(8), P(9), U(10));
    case TDOOR_ZW_CREATE_FILE:
        return ZwCreateFile(P(0), U(1), P(2), P(3), P(4), U(5), U(6), U(7), U(8), P(9), U(10));
    case TDOOR_NT_READ_FILE:
        return NtReadFile(P(0), P(1), P(2), P(3), P(4), P(5), U(6), P(7), P(8));
    case TDOOR_ZW_READ_FILE:
        return ZwReadFile(P(0), P(1), P(2), P(3), P(4), P(5), U(6), P(7), P(8));
    case TDOOR_NT_WRITE_FILE:
        return NtWriteFile(P(0), P(1), P(2), P(3), P(4), P(5), U(6), P(7), P(8));
    case TDOOR_ZW_WRITE_FILE:
        return ZwWriteFile(P(0), P(1), P(2), P(3), P(4), P(5), U(6), P(7), P(8));
    case TDOOR_NT_QUERY_INFORMATION_FILE:
        return NtQueryInformationFile(P(0), P(1), P(2), U(3), (FILE_INFORMATION_CLASS)U(4));
    case TDOOR_ZW_QUERY_INFORMATION_FILE:
        return ZwQueryInformationFile(P(0), P(1), P(2), U(3), (FILE_INFORMATION_CLASS)U(4));
    case TDOOR_NT_SET_INFORMATION_FILE:
        return NtSetInformationFile(P(0), P(1), P(2), U(3), (FILE_INFORMATION_CLASS)U(4));
    case TDOOR_ZW_SET_INFORMATION_FILE:
        return ZwSetInformationFile(P(0), P(1), P(2), U(3), (FILE_INFORMATION_CLASS)U(4));
    case TDOOR_NT_CLOSE:
        return NtClose(P(0));
    case TDOOR_ZW_CLOSE:
        return ZwClose(P(0));
    case TDOOR_ZW_WAIT_FOR_SINGLE_OBJECT:
        return ZwWaitForSingleObject(P(0), (BOOLEAN)a[1], P(2));
    case TDOOR_ZW_CREATE_EVENT:
        return ZwCreateEvent(P(0), U(1), P(2), (EVENT_TYPE)U(3), (BOOLEAN)a[4]);
#ifndef TDOOR_NT_ONLY
    case TDOOR_KS_CREATE_PIN:
        return KsCreatePin(P(0), P(1), U(2), P(3));
#endif
    default:
        return STATUS_INVALID_PARAMETER;
    }
}

/* Calls that name their file by object: argument 0 has become `File`, and argument 1 `Event` where the call has one. */
static NTSTATUS CallByObject(ULONG Op, const ULONGLONG *a, PFILE_OBJECT File, PKEVENT Event)
{
    switch (Op) {
#ifndef TDOOR_NT_ONLY
    case TDOOR_KS_WRITE_FILE:
        return KsWriteFile(File, Event, P(2), P(3), P(4), U(5), U(6), MODE(7));
    case TDOOR_KS_READ_FILE:
        return KsReadFile(File, Event, P(2), P(3), P(4), U(5), U(6), MODE(7));
    case TDOOR_KS_STREAM_IO:
        return KsStreamIo(File, Event, P(2), a[3] ? KsDone : NULL, P(3), (KSCOMPLETION_INVOCATION)U(4), P(5), P(6), U(7), U(8), MODE(9));
    case TDOOR_KS_SYNCHRONOUS_IO_CONTROL_DEVICE:
        return KsSynchronousIoControlDevice(File, MODE(1), U(2), P(3), U(4), P(5), U(6), P(7));
    case TDOOR_FLT_WRITE_FILE:
        return FltWriteFile(Instance, File, P(1), U(2), P(3), U(4), P(5), a[6] ? FltDone : NULL, P(6));
    case TDOOR_FLT_READ_FILE:
        return FltReadFile(Instance, File, P(1), U(2), P(3), U(4), P(5), a[6] ? FltDone : NULL, P(6));
#endif
    case TDOOR_READ_STATE_EVENT:
        return KeReadStateEvent(Event) ? STATUS_WAIT_1 : STATUS_SUCCESS;
    case TDOOR_READ_FILE_OBJECT:
        if (a[1]) *(LONGLONG *)P(1) = File->CurrentByteOffset.QuadPart;
        if (a[2]) *(ULONG *)P(2) = File->Flags;
        if (a[3]) *(NTSTATUS *)P(3) = File->FinalStatus;
        return STATUS_SUCCESS;
    default:
        return STATUS_INVALID_PARAMETER;
    }
}

static NTSTATUS Object(ULONGLONG Handle, POBJECT_TYPE Type, PVOID *Result)
{
    *Result = NULL;
    if (Handle == 0) return STATUS_SUCCESS;
    return ObReferenceObjectByHandle((HANDLE)(ULONG_PTR)Handle, 0, Type, KernelMode, Result, NULL);
}

static NTSTATUS Call(ULONG Op, const ULONGLONG *a)
{
    PFILE_OBJECT file = NULL;
    PKEVENT event = NULL;
    NTSTATUS status;
    BOOLEAN hasEvent = Op == TDOOR_KS_WRITE_FILE || Op == TDOOR_KS_READ_FILE || Op == TDOOR_KS_STREAM_IO;
    if (Op < TDOOR_KS_WRITE_FILE || Op == TDOOR_KS_CREATE_PIN) return CallByHandle(Op, a);
    if (Op == TDOOR_READ_STATE_EVENT) {
        if (a[0] == 0) return STATUS_INVALID_HANDLE;
        status = Object(a[0], *ExEventObjectType, (PVOID *)&event);
    } else {
        status = Object(a[0], *IoFileObjectType, (PVOID *)&file);
        if (NT_SUCCESS(status) && hasEvent) status = Object(a[1], *ExEventObjectType, (PVOID *)&event);
    }
    __try {
        if (NT_SUCCESS(status)) status = CallByObject(Op, a, file, event);
    } __finally {
        if (event != NULL) ObDereferenceObject(event);
        if (file != NULL) ObDereferenceObject(file);
    }
    return status;
}

static NTSTATUS NTAPI DeviceControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
    TDOOR_REQUEST *request = location->Parameters.DeviceIoControl.Type3InputBuffer;
    TDOOR_REQUEST copy;
    NTSTATUS result;
    UNREFERENCED_PARAMETER(DeviceObject);
    if (location->Parameters.DeviceIoControl.IoControlCode != IOCTL_TDOOR) return Complete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    if (location->Parameters.DeviceIoControl.InputBufferLength < sizeof(TDOOR_REQUEST)) return Complete(Irp, STATUS_INVALID_BUFFER_SIZE, 0);
    __try {
        if (Irp->RequestorMode != KernelMode) ProbeForWrite(request, sizeof(*request), sizeof(ULONGLONG));
        RtlCopyMemory(&copy, request, sizeof(copy));
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return Complete(Irp, (NTSTATUS)GetExceptionCode(), 0);
    }
    __try {
        result = Call(copy.Op, copy.Args);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        result = (NTSTATUS)GetExceptionCode();
    }
    __try {
        request->Result = result;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return Complete(Irp, (NTSTATUS)GetExceptionCode(), 0);
    }
    return Complete(Irp, STATUS_SUCCESS, 0);
}

#ifdef TDOOR_NT_ONLY
static VOID NTAPI Unload(PDRIVER_OBJECT DriverObject)
{
    UNREFERENCED_PARAMETER(DriverObject);
    RemoveDevice();
}

static NTSTATUS Register(PDRIVER_OBJECT DriverObject)
{
    DriverObject->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
#else
static NTSTATUS FLTAPI Unload(FLT_FILTER_UNLOAD_FLAGS Flags)
{
    UNREFERENCED_PARAMETER(Flags);
    RemoveDevice();
    FltUnregisterFilter(Filter);
    return STATUS_SUCCESS;
}

static const FLT_REGISTRATION Registration = {
    .Size = sizeof(FLT_REGISTRATION),
    .Version = FLT_REGISTRATION_VERSION,
    .FilterUnloadCallback = Unload,
    .InstanceSetupCallback = FirstInstance,
};

static NTSTATUS Register(PDRIVER_OBJECT DriverObject)
{
    return StartFilter(DriverObject, &Registration, "flt_r_07_the_door_registers");
}
#endif

DRIVER_INITIALIZE DriverEntry;

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    NTSTATUS status;
    UNREFERENCED_PARAMETER(RegistryPath);
    status = MakeDevice(DriverObject, DeviceControl);
    if (!NT_SUCCESS(status)) return status;
    status = Register(DriverObject);
    if (!NT_SUCCESS(status)) RemoveDevice();
    return status;
}
