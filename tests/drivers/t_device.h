/*
 * t_device.h: the device \Device\NAME, \??\NAME of a fixture that takes requests. The driver defines T_DEVICE, the name.
 */
#ifndef NTIO_T_DEVICE_H
#define NTIO_T_DEVICE_H

static PDEVICE_OBJECT Device;
static UNICODE_STRING LinkName = RTL_CONSTANT_STRING(L"\\??\\" T_DEVICE);
static UNICODE_STRING DeviceName = RTL_CONSTANT_STRING(L"\\Device\\" T_DEVICE);

static NTSTATUS Complete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

static NTSTATUS NTAPI OpenClose(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    return Complete(Irp, STATUS_SUCCESS, 0);
}

static VOID RemoveDevice(VOID)
{
    IoDeleteSymbolicLink(&LinkName);
    IoDeleteDevice(Device);
}

/* The device opens for everybody; its controls go to `Control`. */
static NTSTATUS MakeDevice(PDRIVER_OBJECT DriverObject, PDRIVER_DISPATCH Control)
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

#endif
