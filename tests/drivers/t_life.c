/*
 * t_life: requests by handle on a device that keeps them: the fast path, cancelling, completion ports, the methods of control
 * codes, parts of one request. The device is this driver's own.
 */
#include <ntifs.h>
#include "t.h"

DRIVER_INITIALIZE DriverEntry;

/* Of ntoskrnl.exe, but in no header that drivers get. */
NTSTATUS NTAPI ZwCancelIoFile(HANDLE File, PIO_STATUS_BLOCK Iosb);
NTSTATUS NTAPI ZwCancelIoFileEx(HANDLE File, PIO_STATUS_BLOCK Request, PIO_STATUS_BLOCK Iosb);
NTSTATUS NTAPI ZwCreateIoCompletion(PHANDLE Port, ACCESS_MASK Access, POBJECT_ATTRIBUTES Attributes, ULONG Threads);
NTSTATUS NTAPI ZwSetIoCompletion(HANDLE Port, PVOID Key, PVOID Context, NTSTATUS Status, ULONG_PTR Information);
NTSTATUS NTAPI ZwRemoveIoCompletion(HANDLE Port, PVOID *Key, PVOID *Context, PIO_STATUS_BLOCK Iosb, PLARGE_INTEGER Timeout);
NTSTATUS NTAPI ZwRemoveIoCompletionEx(HANDLE Port, PVOID Packets, ULONG Count, PULONG Removed, PLARGE_INTEGER Timeout, BOOLEAN Alertable);
PIRP NTAPI IoMakeAssociatedIrp(PIRP Irp, CCHAR StackSize);
PEPROCESS NTAPI IoGetRequestorProcess(PIRP Irp);
ULONG NTAPI IoGetRequestorProcessId(PIRP Irp);
typedef struct { PVOID Opaque[6]; } ATTACH_STATE;
VOID NTAPI KeStackAttachProcess(PEPROCESS Process, ATTACH_STATE *State);
VOID NTAPI KeUnstackDetachProcess(ATTACH_STATE *State);

typedef struct { PVOID Key, Context; IO_STATUS_BLOCK Iosb; } PACKET;

#define RESET(iosb) ((iosb).Status = 0x55555555, (iosb).Information = 0x55)
#define UNTOUCHED(iosb) ((iosb).Status == 0x55555555 && (iosb).Information == 0x55)

static PDEVICE_OBJECT Device;
static FAST_IO_DISPATCH Fast;
static BOOLEAN Keep, UseCache, FastAnswer;
static PIRP Kept[4];
static LONG KeptCount, Arrived, FastCalls, Cancels, Done;
static PEPROCESS Requestor;
static ULONG RequestorId;

/* The last fast call. */
static PFILE_OBJECT FastFile;
static PLARGE_INTEGER FastOffset;
static LONGLONG FastStart;
static ULONG FastLength, FastKey;
static BOOLEAN FastWait;
static PVOID FastBuffer;
static PIO_STATUS_BLOCK FastIosb;
static PDEVICE_OBJECT FastDevice;

/* The last control request. */
static PVOID SystemBuffer, Type3, UserBuffer;
static PMDL Mdl;
static CHAR Input[8];

static BOOLEAN NTAPI FastWrite(PFILE_OBJECT FileObject, PLARGE_INTEGER FileOffset, ULONG Length, BOOLEAN Wait, ULONG LockKey,
    PVOID Buffer, PIO_STATUS_BLOCK IoStatus, PDEVICE_OBJECT DeviceObject)
{
    FastCalls++;
    FastFile = FileObject;
    FastOffset = FileOffset;
    FastStart = FileOffset->QuadPart;
    FastLength = Length;
    FastWait = Wait;
    FastKey = LockKey;
    FastBuffer = Buffer;
    FastIosb = IoStatus;
    FastDevice = DeviceObject;
    IoStatus->Status = STATUS_SUCCESS;
    IoStatus->Information = Length;
    return FastAnswer;
}

static VOID NTAPI Cancel(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    LONG i;
    UNREFERENCED_PARAMETER(DeviceObject);
    IoReleaseCancelSpinLock(Irp->CancelIrql);
    for (i = 0; i < 4; i++)
        if (Kept[i] == Irp) { Kept[i] = NULL; KeptCount--; }
    Cancels++;
    Irp->IoStatus.Status = STATUS_CANCELLED;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
}

static NTSTATUS Finish(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

static NTSTATUS NTAPI Dispatch(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
    LONG i;
    UNREFERENCED_PARAMETER(DeviceObject);
    switch (stack->MajorFunction) {
    case IRP_MJ_CREATE:
        if (UseCache) stack->FileObject->PrivateCacheMap = &UseCache;
        return Finish(Irp, STATUS_SUCCESS, 0);
    case IRP_MJ_DEVICE_CONTROL:
        SystemBuffer = Irp->AssociatedIrp.SystemBuffer;
        Type3 = stack->Parameters.DeviceIoControl.Type3InputBuffer;
        UserBuffer = Irp->UserBuffer;
        Mdl = Irp->MdlAddress;
        RtlZeroMemory(Input, sizeof(Input));
        switch (stack->Parameters.DeviceIoControl.IoControlCode & 3) {
        case METHOD_BUFFERED:
            RtlCopyMemory(Input, SystemBuffer, 4);
            RtlCopyMemory(SystemBuffer, "back", 4);
            break;
        case METHOD_IN_DIRECT:
            RtlCopyMemory(Input, SystemBuffer, 4);
            RtlCopyMemory(Input + 4, MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority), 4);
            break;
        case METHOD_OUT_DIRECT:
            RtlCopyMemory(Input, SystemBuffer, 4);
            RtlCopyMemory(MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority), "back", 4);
            break;
        default:
            RtlCopyMemory(Input, Type3, 4);
            RtlCopyMemory(UserBuffer, "back", 4);
        }
        return Finish(Irp, STATUS_SUCCESS, 4);
    case IRP_MJ_WRITE:
        Arrived++;
        Requestor = IoGetRequestorProcess(Irp);
        RequestorId = IoGetRequestorProcessId(Irp);
        if (!Keep) return Finish(Irp, STATUS_SUCCESS, stack->Parameters.Write.Length);
        IoMarkIrpPending(Irp);
        IoSetCancelRoutine(Irp, Cancel);
        for (i = 0; Kept[i] != NULL; i++) {}
        Kept[i] = Irp;
        KeptCount++;
        return STATUS_PENDING;
    default:
        return Finish(Irp, STATUS_SUCCESS, 0);
    }
}

static HANDLE Open(ULONG Options)
{
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK iosb;
    HANDLE handle = NULL;
    RtlInitUnicodeString(&name, L"\\Device\\TLife");
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL, NULL);
    if (!NT_SUCCESS(ZwCreateFile(&handle, GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, &attributes, &iosb, NULL, 0, 7, FILE_OPEN, Options, NULL, 0))) return NULL;
    return handle;
}

static VOID TestFast(VOID)
{
    HANDLE handle;
    PFILE_OBJECT file;
    IO_STATUS_BLOCK iosb;
    LARGE_INTEGER offset;
    ULONG key = 0x77;
    CHAR data[4] = { 'd', 'a', 't', 'a' };
    UseCache = TRUE;
    handle = Open(FILE_SYNCHRONOUS_IO_NONALERT);
    UseCache = FALSE;
    ObReferenceObjectByHandle(handle, 0, *IoFileObjectType, KernelMode, (PVOID *)&file, NULL);
    offset.QuadPart = 0x123456789;
    FastAnswer = TRUE;
    RESET(iosb);
    ST(ZwWriteFile(handle, NULL, NULL, NULL, &iosb, data, 4, &offset, &key), STATUS_SUCCESS, "nt_k_02_a_write_by_the_fast_path");
    OK(FastCalls == 1 && Arrived == 0, "nt_k_02_is_one_call_and_no_packet");
    OK(FastFile == file && FastDevice == Device, "nt_k_02_of_the_file_object_and_the_device");
    OK(FastBuffer == data, "nt_k_02_with_the_callers_own_buffer");
    OK(FastStart == 0x123456789 && FastOffset != &offset, "nt_k_02_with_a_copy_of_the_offset");
    OK(FastIosb != &iosb, "nt_k_02_with_a_status_block_of_the_io_managers");
    OK(FastLength == 4 && FastKey == 0x77 && FastWait == TRUE, "nt_k_02_with_length_key_and_wait");
    OK(iosb.Status == STATUS_SUCCESS && iosb.Information == 4, "nt_k_02_whose_result_goes_to_the_caller");
    FastAnswer = FALSE;
    ST(ZwWriteFile(handle, NULL, NULL, NULL, &iosb, data, 4, &offset, &key), STATUS_SUCCESS, "nt_k_03_a_refused_fast_call");
    OK(FastCalls == 2 && Arrived == 1, "nt_k_03_is_followed_by_a_packet");
    file->PrivateCacheMap = NULL;
    ObDereferenceObject(file);
    ZwClose(handle);
}

static VOID TestCancel(VOID)
{
    HANDLE handle = Open(0);
    IO_STATUS_BLOCK first, second, iosb;
    LARGE_INTEGER offset;
    KEVENT *event;
    HANDLE eventHandle = NULL;
    offset.QuadPart = 0;
    event = IoCreateNotificationEvent(NULL, &eventHandle);
    Keep = TRUE;
    RESET(first);
    RESET(second);
    ST(ZwWriteFile(handle, eventHandle, NULL, NULL, &first, "1", 1, &offset, NULL), STATUS_PENDING, "nt_x_01_a_kept_request_is_pending");
    ST(ZwWriteFile(handle, NULL, NULL, NULL, &second, "2", 1, &offset, NULL), STATUS_PENDING, "nt_x_01_a_second_one_too");
    OK(KeReadStateEvent(event) == 0 && UNTOUCHED(first) && KeptCount == 2, "nt_x_01_and_says_nothing_yet");
    RESET(iosb);
    ST(ZwCancelIoFileEx(handle, &first, &iosb), STATUS_SUCCESS, "nt_x_02_one_request_is_cancelled_by_its_block");
    OK(iosb.Status == STATUS_SUCCESS && first.Status == STATUS_CANCELLED && first.Information == 0, "nt_x_02_it_ends_cancelled");
    OK(KeReadStateEvent(event) != 0 && UNTOUCHED(second), "nt_x_02_its_event_is_signalled_and_the_other_goes_on");
    ST(ZwCancelIoFileEx(handle, &first, &iosb), STATUS_NOT_FOUND, "nt_x_02_a_second_time_there_is_none");
    ST(ZwCancelIoFile(handle, &iosb), STATUS_SUCCESS, "nt_x_01_what_the_thread_has_is_cancelled");
    OK(second.Status == STATUS_CANCELLED && Cancels == 2 && KeptCount == 0, "nt_x_01_by_the_drivers_routine");
    ST(ZwCancelIoFile(handle, &iosb), STATUS_SUCCESS, "nt_x_01_without_requests_it_is_a_success_too");
    /* A close cancels what the handle has under way; nobody is told. */
    RESET(first);
    ST(ZwWriteFile(handle, NULL, NULL, NULL, &first, "1", 1, &offset, NULL), STATUS_PENDING, "nt_q_14_a_request_is_under_way");
    ZwClose(handle);
    OK(Cancels == 3 && KeptCount == 0 && UNTOUCHED(first), "nt_q_14_the_last_close_cancels_it");
    ZwClose(eventHandle);
    Keep = FALSE;
}

static VOID TestPort(VOID)
{
    HANDLE handle = Open(0), port = NULL;
    FILE_COMPLETION_INFORMATION tie;
    IO_STATUS_BLOCK iosb;
    LARGE_INTEGER offset, now;
    PVOID key = NULL, context = NULL;
    PACKET packets[4];
    ULONG removed = 99;
    offset.QuadPart = now.QuadPart = 0;
    ST(ZwCreateIoCompletion(&port, 0x1F0003, NULL, 0), STATUS_SUCCESS, "nt_q_12_a_port_is_to_be_had");
    ST(ZwRemoveIoCompletion(port, &key, &context, &iosb, &now), STATUS_TIMEOUT, "nt_q_12_a_new_one_is_empty");
    tie.Port = port;
    tie.Key = (PVOID)0x1234;
    ST(ZwSetInformationFile(handle, &iosb, &tie, sizeof(tie), FileCompletionInformation), STATUS_SUCCESS, "nt_q_05_a_file_is_tied_to_it");
    RESET(iosb);
    ST(ZwWriteFile(handle, NULL, NULL, (PVOID)0x77, &iosb, "abc", 3, &offset, NULL), STATUS_SUCCESS, "nt_q_05_a_write_with_a_context");
    ST(ZwSetIoCompletion(port, (PVOID)1, (PVOID)2, STATUS_DISK_FULL, 0x123456789A), STATUS_SUCCESS, "nt_q_12_a_packet_of_ones_own");
    ST(ZwRemoveIoCompletion(port, &key, &context, &iosb, &now), STATUS_SUCCESS, "nt_q_05_leaves_a_packet");
    OK(key == (PVOID)0x1234 && context == (PVOID)0x77 && iosb.Status == STATUS_SUCCESS && iosb.Information == 3, "nt_q_05_with_key_context_and_result");
    ST(ZwRemoveIoCompletionEx(port, packets, 0, &removed, &now, FALSE), STATUS_INVALID_PARAMETER, "nt_q_12_none_is_no_number_to_ask_for");
    EQ(removed, 99, "nt_q_12_and_the_count_is_not_touched");
    ST(ZwRemoveIoCompletionEx(port, packets, 4, &removed, &now, FALSE), STATUS_SUCCESS, "nt_q_12_several_are_taken_at_once");
    OK(removed == 1 && packets[0].Key == (PVOID)1 && packets[0].Context == (PVOID)2 && packets[0].Iosb.Status == STATUS_DISK_FULL && packets[0].Iosb.Information == 0x123456789A, "nt_q_12_a_set_packet_returns_as_it_was");
    ZwClose(handle);
    ZwClose(port);
}

static VOID TestMethods(VOID)
{
    HANDLE handle = Open(FILE_SYNCHRONOUS_IO_NONALERT);
    IO_STATUS_BLOCK iosb;
    CHAR in[4], out[4];
    ULONG method;
    NTSTATUS status;
    for (method = 0; method < 4; method++) {
        RtlCopyMemory(in, "give", 4);
        RtlCopyMemory(out, "here", 4);
        status = ZwDeviceIoControlFile(handle, NULL, NULL, NULL, &iosb, CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, method, FILE_ANY_ACCESS), in, 4, out, 4);
        OK(status == STATUS_SUCCESS && iosb.Information == 4 && RtlEqualMemory(Input, "give", 4), "methods_each_gives_the_driver_its_input");
        switch (method) {
        case METHOD_BUFFERED:
            OK(SystemBuffer != in && SystemBuffer != out && Mdl == NULL, "methods_buffered_copies_both_ways_in_one_block");
            OK(RtlEqualMemory(out, "back", 4), "methods_buffered_copies_back");
            break;
        case METHOD_IN_DIRECT:
            OK(Mdl != NULL && MmGetMdlVirtualAddress(Mdl) == out && RtlEqualMemory(Input + 4, "here", 4), "methods_in_direct_the_second_buffer_is_read_in_place");
            break;
        case METHOD_OUT_DIRECT:
            OK(Mdl != NULL && RtlEqualMemory(out, "back", 4), "methods_out_direct_the_second_buffer_is_written_in_place");
            break;
        default:
            OK(Type3 == in && UserBuffer == out && SystemBuffer == NULL && Mdl == NULL, "methods_neither_gives_the_callers_addresses");
            OK(RtlEqualMemory(out, "back", 4), "methods_neither_writes_to_the_caller");
        }
    }
    ZwClose(handle);
}

static NTSTATUS NTAPI MasterDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Irp);
    UNREFERENCED_PARAMETER(Context);
    Done++;
    return STATUS_MORE_PROCESSING_REQUIRED;
}

static VOID TestParts(VOID)
{
    PIRP master = IoAllocateIrp(2, FALSE), parts[3];
    LONG i;
    IoGetNextIrpStackLocation(master)->MajorFunction = IRP_MJ_WRITE;
    IoSetCompletionRoutine(master, MasterDone, NULL, TRUE, TRUE, TRUE);
    IoSetNextIrpStackLocation(master);
    master->IoStatus.Status = STATUS_SUCCESS;
    master->AssociatedIrp.IrpCount = 3;
    for (i = 0; i < 3; i++) {
        parts[i] = IoMakeAssociatedIrp(master, 1);
        IoGetNextIrpStackLocation(parts[i])->MajorFunction = IRP_MJ_WRITE;
    }
    OK(parts[0]->AssociatedIrp.MasterIrp == master && (parts[0]->Flags & IRP_ASSOCIATED_IRP) != 0, "parts_know_their_master");
    Keep = FALSE;
    IoCallDriver(Device, parts[0]);
    IoCallDriver(Device, parts[1]);
    OK(Done == 0 && master->AssociatedIrp.IrpCount == 1, "parts_the_master_waits_for_all");
    Keep = TRUE;
    ST(IoCallDriver(Device, parts[2]), STATUS_PENDING, "parts_one_may_take_longer");
    OK(Done == 0, "parts_the_master_waits_for_the_last");
    Kept[0] = NULL;
    KeptCount--;
    IoSetCancelRoutine(parts[2], NULL);
    Finish(parts[2], STATUS_SUCCESS, 0);
    EQ(Done, 1, "parts_the_last_completes_the_master");
    Keep = FALSE;
    IoFreeIrp(master);
}

static VOID TestProcess(VOID)
{
    ATTACH_STATE state;
    HANDLE handle = Open(0);
    IO_STATUS_BLOCK iosb;
    LARGE_INTEGER offset;
    PEPROCESS here = PsGetCurrentProcess();
    offset.QuadPart = 0;
    ZwWriteFile(handle, NULL, NULL, NULL, &iosb, "a", 1, &offset, NULL);
    OK(Requestor == here && RequestorId == (ULONG)(ULONG_PTR)PsGetCurrentProcessId(), "nt_e_03_a_request_is_of_the_process_of_its_thread");
    KeStackAttachProcess(here, &state);
    OK(PsGetCurrentProcess() == here, "nt_e_03_attaching_to_ones_own_process_changes_nothing");
    ST(ZwWriteFile(handle, NULL, NULL, NULL, &iosb, "a", 1, &offset, NULL), STATUS_SUCCESS, "nt_e_03_a_kernel_handle_is_good_while_attached");
    KeUnstackDetachProcess(&state);
    ZwClose(handle);
}

static VOID NTAPI Unload(PDRIVER_OBJECT DriverObject)
{
    UNREFERENCED_PARAMETER(DriverObject);
    IoDeleteDevice(Device);
    DbgPrint("t_life: unloaded\n");
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING name;
    ULONG major;
    UNREFERENCED_PARAMETER(RegistryPath);
    for (major = 0; major <= IRP_MJ_MAXIMUM_FUNCTION; major++) DriverObject->MajorFunction[major] = Dispatch;
    Fast.SizeOfFastIoDispatch = sizeof(Fast);
    Fast.FastIoWrite = FastWrite;
    DriverObject->FastIoDispatch = &Fast;
    DriverObject->DriverUnload = Unload;
    RtlInitUnicodeString(&name, L"\\Device\\TLife");
    if (!NT_SUCCESS(IoCreateDevice(DriverObject, 0, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device))) return STATUS_UNSUCCESSFUL;
    Device->Flags &= ~DO_DEVICE_INITIALIZING;
    TestFast();
    TestCancel();
    TestPort();
    TestMethods();
    TestParts();
    TestProcess();
    return STATUS_SUCCESS;
}
