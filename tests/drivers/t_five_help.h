/*
 * t_five_help.h: the definitions behind t_five.h; t_five and t_zw contain them once each.
 */
#ifndef NTIO_T_FIVE_HELP_H
#define NTIO_T_FIVE_HELP_H

volatile LONG PreWrites, PostWrites, NestOnce;
volatile ULONG LastKey;
volatile ULONG_PTR LastInformation;
volatile LONGLONG LastPosition;
volatile NTSTATUS NestStatus;

NTSTATUS Open(PCWSTR Name, ACCESS_MASK Access, ULONG Disposition, ULONG Options, PHANDLE Handle, PULONG_PTR Information)
{
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK iosb;
    NTSTATUS status;
    RtlInitUnicodeString(&name, Name);
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL, NULL);
    RESET(iosb);
    *Handle = NULL;
    status = ZwCreateFile(Handle, Access, &attributes, &iosb, NULL, FILE_ATTRIBUTE_NORMAL,
        FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, Disposition, Options, NULL, 0);
    if (!NT_SUCCESS(status)) DbgPrint("t_five: open of %ws: 0x%08x\n", Name, (ULONG)status);
    if (Information != NULL) *Information = iosb.Information;
    return status;
}

/* Five seconds are for ever here: a request that is late is a lost one. */
NTSTATUS Wait(PVOID Event)
{
    LARGE_INTEGER timeout;
    timeout.QuadPart = -50000000;
    return KeWaitForSingleObject(Event, Executive, KernelMode, FALSE, &timeout);
}

LARGE_INTEGER At(LONGLONG Offset)
{
    LARGE_INTEGER offset;
    offset.QuadPart = Offset;
    return offset;
}

LONGLONG EndOfFile(HANDLE Handle)
{
    IO_STATUS_BLOCK iosb;
    FILE_STANDARD_INFORMATION information;
    NTSTATUS status = ZwQueryInformationFile(Handle, &iosb, &information, sizeof(information), FileStandardInformation);
    return NT_SUCCESS(status) ? information.EndOfFile.QuadPart : status;
}

LONGLONG Position(HANDLE Handle)
{
    IO_STATUS_BLOCK iosb;
    FILE_POSITION_INFORMATION information;
    NTSTATUS status = ZwQueryInformationFile(Handle, &iosb, &information, sizeof(information), FilePositionInformation);
    return NT_SUCCESS(status) ? information.CurrentByteOffset.QuadPart : status;
}

BOOLEAN Holds(HANDLE Handle, LONGLONG Offset, PCSTR Text, ULONG Length)
{
    CHAR buffer[64];
    IO_STATUS_BLOCK iosb;
    LARGE_INTEGER offset = At(Offset);
    NTSTATUS status;
    if (Length > sizeof(buffer)) return FALSE;
    RtlZeroMemory(buffer, sizeof(buffer));
    status = ZwReadFile(Handle, NULL, NULL, NULL, &iosb, buffer, Length, &offset, NULL);
    if (status == STATUS_SUCCESS && iosb.Information == Length && RtlEqualMemory(buffer, Text, Length)) return TRUE;
    DbgPrint("t_five: read at %I64d: status 0x%08x, %I64d bytes, %02x %02x %02x %02x\n", Offset, (ULONG)status,
        (ULONGLONG)iosb.Information, (UCHAR)buffer[0], (UCHAR)buffer[1], (UCHAR)buffer[2], (UCHAR)buffer[3]);
    return FALSE;
}

VOID TBlock(NTSTATUS Status, NTSTATUS Allowed, PVOID Event, PIO_STATUS_BLOCK Iosb, ULONG_PTR Bytes, PCSTR Name, LONG Line)
{
    NTSTATUS wait = Status == STATUS_PENDING && Allowed == STATUS_PENDING ? Wait(Event) : STATUS_SUCCESS;
    if ((Status == STATUS_SUCCESS || Status == Allowed) && wait == STATUS_SUCCESS && Iosb->Status == STATUS_SUCCESS && Iosb->Information == Bytes) {
        DbgPrint("ok %s\n", Name);
    } else {
        DbgPrint("not ok %s: line %d: status 0x%08x, wait 0x%08x, block {0x%08x, 0x%I64x}, expected {0, 0x%I64x}\n", Name, Line,
            (ULONG)Status, (ULONG)wait, (ULONG)Iosb->Status, (ULONGLONG)Iosb->Information, (ULONGLONG)Bytes);
    }
}

#endif
