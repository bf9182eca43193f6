/*
 * t_five: one driver that makes the five calls (ZwWriteFile, FltWriteFile, KsWriteFile, KsStreamIo, IOCTL_KS_WRITE_STREAM) in its
 * DriverEntry and checks each by its rules. It is a minifilter on C: at the same time, so that it sees which writes pass it.
 */
#include "t_five.h"
#include "t_five_nt.h"
#include "t_five_flt.h"
#include "t_five_ks.h"

PFLT_INSTANCE Instance;
volatile LONG PreWrites, PostWrites, NestOnce;
volatile ULONG LastKey;
volatile ULONG_PTR LastInformation;
volatile LONGLONG LastPosition;
volatile NTSTATUS NestStatus;
static PFLT_FILTER Filter;

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

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreWrite(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *CompletionContext)
{
    InterlockedIncrement(&PreWrites);
    LastKey = Data->Iopb->Parameters.Write.Key;
    if (InterlockedExchange(&NestOnce, 0) != 0) {
        LARGE_INTEGER offset = At(0x200);
        ULONG written = 0;
        NestStatus = FltWriteFile(FltObjects->Instance, FltObjects->FileObject, &offset, 4, "nest",
            FLTFL_IO_OPERATION_DO_NOT_UPDATE_BYTE_OFFSET, &written, NULL, NULL);
        if (NT_SUCCESS(NestStatus) && written != 4) NestStatus = STATUS_DATA_ERROR;
    }
    *CompletionContext = NULL;
    return FLT_PREOP_SUCCESS_WITH_CALLBACK;
}

static FLT_POSTOP_CALLBACK_STATUS FLTAPI PostWrite(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID CompletionContext,
    FLT_POST_OPERATION_FLAGS Flags)
{
    UNREFERENCED_PARAMETER(CompletionContext);
    UNREFERENCED_PARAMETER(Flags);
    LastInformation = Data->IoStatus.Information;
    LastPosition = FltObjects->FileObject != NULL ? FltObjects->FileObject->CurrentByteOffset.QuadPart : -1;
    InterlockedIncrement(&PostWrites);
    return FLT_POSTOP_FINISHED_PROCESSING;
}

/* The first volume is C:. */
static NTSTATUS FLTAPI InstanceSetup(PCFLT_RELATED_OBJECTS FltObjects, FLT_INSTANCE_SETUP_FLAGS Flags, DEVICE_TYPE DeviceType,
    FLT_FILESYSTEM_TYPE FilesystemType)
{
    UNREFERENCED_PARAMETER(Flags);
    UNREFERENCED_PARAMETER(DeviceType);
    UNREFERENCED_PARAMETER(FilesystemType);
    if (Instance == NULL) Instance = FltObjects->Instance;
    return STATUS_SUCCESS;
}

static NTSTATUS FLTAPI Unload(FLT_FILTER_UNLOAD_FLAGS Flags)
{
    UNREFERENCED_PARAMETER(Flags);
    FltUnregisterFilter(Filter);
    EQ(PreWrites, PostWrites, "flt_r_12_after_unregistration_no_write_is_open");
    return STATUS_SUCCESS;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_WRITE, 0, PreWrite, PostWrite, NULL },
    { IRP_MJ_OPERATION_END, 0, NULL, NULL, NULL },
};

static const FLT_REGISTRATION Registration = {
    .Size = sizeof(FLT_REGISTRATION),
    .Version = FLT_REGISTRATION_VERSION,
    .OperationRegistration = Operations,
    .FilterUnloadCallback = Unload,
    .InstanceSetupCallback = InstanceSetup,
};

DRIVER_INITIALIZE DriverEntry;

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    NTSTATUS status;
    UNREFERENCED_PARAMETER(RegistryPath);
    status = FltRegisterFilter(DriverObject, &Registration, &Filter);
    ST(status, STATUS_SUCCESS, "flt_r_01_the_filter_registers");
    if (!NT_SUCCESS(status)) return status;
    status = FltStartFiltering(Filter);
    ST(status, STATUS_SUCCESS, "flt_r_09_and_starts");
    if (!NT_SUCCESS(status)) {
        FltUnregisterFilter(Filter);
        return status;
    }
    OK(Instance != NULL, "flt_i_04_the_default_instance_attaches_to_the_mounted_volume");
    TestNt();
    if (Instance != NULL) TestFlt();
    TestKsFile();
    TestKsPin();
    return STATUS_SUCCESS;
}
