/*
 * t_device.h: the device \Device\NAME, \??\NAME of a fixture that takes requests, or \Device\NAME of a
 * file system. The driver defines T_DEVICE, the name.
 */
#ifndef NTIO_T_DEVICE_H
#define NTIO_T_DEVICE_H

static PDEVICE_OBJECT Device;
static __attribute__((unused)) UNICODE_STRING LinkName = RTL_CONSTANT_STRING(L"\\??\\" T_DEVICE);
static UNICODE_STRING DeviceName = RTL_CONSTANT_STRING(L"\\Device\\" T_DEVICE);

static NTSTATUS Complete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

static __attribute__((unused)) NTSTATUS NTAPI OpenClose(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    return Complete(Irp, STATUS_SUCCESS, 0);
}

static __attribute__((unused)) VOID RemoveDevice(VOID)
{
    IoDeleteSymbolicLink(&LinkName);
    IoDeleteDevice(Device);
}

/* The device opens for everybody; its controls go to `Control`. */
static __attribute__((unused)) NTSTATUS MakeDevice(PDRIVER_OBJECT DriverObject, PDRIVER_DISPATCH Control)
{
    NTSTATUS status;
    DriverObject->MajorFunction[IRP_MJ_CREATE] = OpenClose;
    DriverObject->MajorFunction[IRP_MJ_CLEANUP] = OpenClose;
    DriverObject->MajorFunction[IRP_MJ_CLOSE] = OpenClose;
    DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = Control;
    status = IoCreateDevice(DriverObject, 0, &DeviceName, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);
    if (!NT_SUCCESS(status)) return status;
    status = IoCreateSymbolicLink(&LinkName, &DeviceName);
    if (!NT_SUCCESS(status)) IoDeleteDevice(Device);
    return status;
}

/* The device of a file system, ready at once: what is opened by a path through it, and all else, goes to `Dispatch`. */
static __attribute__((unused)) NTSTATUS MakeFileSystem(PDRIVER_OBJECT DriverObject, PDRIVER_DISPATCH Dispatch)
{
    ULONG major;
    NTSTATUS status = IoCreateDevice(DriverObject, 0, &DeviceName, FILE_DEVICE_DISK_FILE_SYSTEM, 0, FALSE, &Device);
    if (!NT_SUCCESS(status)) return status;
    for (major = 0; major <= IRP_MJ_MAXIMUM_FUNCTION; major++) DriverObject->MajorFunction[major] = Dispatch;
    Device->Flags &= ~DO_DEVICE_INITIALIZING;
    return status;
}

#endif
