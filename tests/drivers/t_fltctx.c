/*
 * t_fltctx: a filter that keeps contexts on everything, asks for names, talks to a program through a port, puts writes off to
 * work items and to a queue, and makes requests of its own. What a file's name ends in says what happens to its writes:
 * ".defer" a deferred work item, ".queue" the queue (released by message 2, cancelled otherwise), ".msg" a question to the program.
 */
#include "t_filter.h"

#define TAG 'xtcT'
#define MARK_VOLUME 0x11110001u
#define MARK_INSTANCE 0x22220002u
#define MARK_FILE 0x33330003u
#define MARK_STREAM 0x44440004u
#define MARK_HANDLE 0x55550005u

typedef struct { ULONG Mark; ULONG Count; } MARKED;

static PFLT_PORT ServerPort, ClientPort;
static volatile LONG Cleaned[0x80], Connected, Disconnected, Deferred, Queued, StatusTold, ShortsRefused;
static FLT_CALLBACK_DATA_QUEUE Queue;
static KSPIN_LOCK QueueLock;
static LIST_ENTRY QueueList;

static VOID FLTAPI Cleanup(PFLT_CONTEXT Context, FLT_CONTEXT_TYPE Type)
{
    if (((MARKED *)Context)->Mark == 0) DbgPrint("not ok flt_c_12_the_cleanup_sees_the_context: %p\n", Context);
    InterlockedIncrement(&Cleaned[Type]);
}

/* A pair of allocate and free routines: Size and PoolTag of the entry are ignored. */
static volatile LONG Allocated, Freed;
static PVOID FLTAPI OwnAllocate(POOL_TYPE Pool, SIZE_T Size, FLT_CONTEXT_TYPE Type)
{
    UNREFERENCED_PARAMETER(Type);
    InterlockedIncrement(&Allocated);
    return ExAllocatePoolWithTag(Pool, Size, TAG);
}
static VOID FLTAPI OwnFree(PVOID Block, FLT_CONTEXT_TYPE Type)
{
    UNREFERENCED_PARAMETER(Type);
    InterlockedIncrement(&Freed);
    ExFreePoolWithTag(Block, TAG);
}

static MARKED *Make(FLT_CONTEXT_TYPE Type, ULONG Mark)
{
    PFLT_CONTEXT context = NULL;
    NTSTATUS status = FltAllocateContext(Filter, Type, sizeof(MARKED), NonPagedPool, &context);
    if (!NT_SUCCESS(status)) {
        DbgPrint("not ok flt_c_01_a_context_is_allocated: type %x status %x\n", Type, status);
        return NULL;
    }
    ((MARKED *)context)->Mark = Mark;
    ((MARKED *)context)->Count = 0;
    return context;
}

static NTSTATUS FLTAPI Setup(PCFLT_RELATED_OBJECTS FltObjects, FLT_INSTANCE_SETUP_FLAGS Flags, DEVICE_TYPE Device, FLT_FILESYSTEM_TYPE Type)
{
    MARKED *context;
    PFLT_CONTEXT old = NULL;
    ULONG properties[0x100], needed = 0, count = 0;
    PFLT_INSTANCE list[4];
    PDEVICE_OBJECT disk = NULL;
    EQ(Flags, FLTFL_INSTANCE_SETUP_AUTOMATIC_ATTACHMENT, "flt_i_05_a_volume_that_is_there_is_attached_automatically");
    EQ(Device, 8, "flt_i_05_setup_is_told_the_device_type");
    EQ(Type, 2, "flt_i_05_setup_is_told_the_file_system");
    context = Make(FLT_VOLUME_CONTEXT, MARK_VOLUME);
    ST(FltSetVolumeContext(FltObjects->Volume, FLT_SET_CONTEXT_KEEP_IF_EXISTS, context, &old), STATUS_SUCCESS, "flt_c_06_a_volume_context_is_set");
    FltReleaseContext(context);
    context = Make(FLT_VOLUME_CONTEXT, MARK_VOLUME);
    ST(FltSetVolumeContext(FltObjects->Volume, FLT_SET_CONTEXT_KEEP_IF_EXISTS, context, &old), STATUS_FLT_CONTEXT_ALREADY_DEFINED,
        "flt_c_06_a_second_one_is_kept_out");
    OK(old != NULL && ((MARKED *)old)->Mark == MARK_VOLUME, "flt_c_06_the_first_one_is_shown");
    if (old != NULL) FltReleaseContext(old);
    FltReleaseContext(context);
    context = Make(FLT_INSTANCE_CONTEXT, MARK_INSTANCE);
    ST(FltSetInstanceContext(FltObjects->Instance, FLT_SET_CONTEXT_REPLACE_IF_EXISTS, context, NULL), STATUS_SUCCESS,
        "flt_i_05_instance_contexts_may_be_set_in_setup");
    FltReleaseContext(context);
    ST(FltGetVolumeProperties(FltObjects->Volume, NULL, 0, &needed), STATUS_BUFFER_TOO_SMALL, "flt_i_13_volume_properties_need_room");
    ST(FltGetVolumeProperties(FltObjects->Volume, (PFLT_VOLUME_PROPERTIES)properties, sizeof(properties), &needed), STATUS_SUCCESS,
        "flt_i_13_volume_properties_are_filled");
    {
        UNICODE_STRING ntfs = RTL_CONSTANT_STRING(L"\\FileSystem\\Ntfs");
        FLT_FILESYSTEM_TYPE type = FLT_FSTYPE_UNKNOWN;
        OK(RtlEqualUnicodeString(&((PFLT_VOLUME_PROPERTIES)properties)->FileSystemDriverName, &ntfs, FALSE), "nt_vol_21_the_driver_is_ntfs");
        ST(FltGetFileSystemType(FltObjects->Volume, &type), STATUS_SUCCESS, "nt_vol_21_a_volume_has_a_type");
        EQ(type, FLT_FSTYPE_NTFS, "nt_vol_21_which_is_ntfs");
        ST(FltGetFileSystemType(FltObjects->Instance, &type), STATUS_SUCCESS, "nt_vol_21_an_instance_too");
        EQ(type, FLT_FSTYPE_NTFS, "nt_vol_21_which_is_its_volumes");
    }
    EQ(((PFLT_VOLUME_PROPERTIES)properties)->SectorSize, 512, "flt_i_13_the_sector_size_is_the_volumes");
    ST(FltGetVolumeProperties(FltObjects->Volume, (PFLT_VOLUME_PROPERTIES)properties, sizeof(FLT_VOLUME_PROPERTIES), &needed),
        STATUS_BUFFER_OVERFLOW, "flt_i_13_strings_that_do_not_fit_are_an_overflow");
    ST(FltGetDiskDeviceObject(FltObjects->Volume, &disk), STATUS_SUCCESS, "flt_i_14_the_disk_under_the_volume");
    if (disk != NULL) ObDereferenceObject(disk);
    ST(FltEnumerateInstances(FltObjects->Volume, NULL, list, 4, &count), STATUS_SUCCESS, "flt_g_12_instances_are_listed");
    while (count != 0) FltObjectDereference(list[--count]);
    Instance = FltObjects->Instance;
    return STATUS_SUCCESS;
}

static VOID FLTAPI Start(PCFLT_RELATED_OBJECTS FltObjects, FLT_INSTANCE_TEARDOWN_FLAGS Reason)
{
    PFLT_CALLBACK_DATA data;
    UNREFERENCED_PARAMETER(FltObjects);
    OK(Reason == FLTFL_INSTANCE_TEARDOWN_FILTER_UNLOAD || Reason == FLTFL_INSTANCE_TEARDOWN_MANDATORY_FILTER_UNLOAD,
        "flt_i_10_a_teardown_has_one_reason");
    FltCbdqDisable(&Queue);
    while ((data = FltCbdqRemoveNextIo(&Queue, NULL)) != NULL) {
        OK(FLT_IS_IRP_OPERATION(data), "flt_q_05_what_is_queued_when_it_is_disabled_is_drained_at_the_teardown");
        FltCompletePendedPreOperation(data, FLT_PREOP_SUCCESS_NO_CALLBACK, NULL);
    }
}

/* The queue: a list under a spin lock. */
static NTSTATUS FLTAPI Insert(PFLT_CALLBACK_DATA_QUEUE Cbdq, PFLT_CALLBACK_DATA Data, PVOID Context)
{
    UNREFERENCED_PARAMETER(Cbdq);
    if (Context == (PVOID)1) return STATUS_UNSUCCESSFUL;
    InsertTailList(&QueueList, &Data->QueueLinks);
    return STATUS_SUCCESS;
}
static VOID FLTAPI Remove(PFLT_CALLBACK_DATA_QUEUE Cbdq, PFLT_CALLBACK_DATA Data)
{
    UNREFERENCED_PARAMETER(Cbdq);
    RemoveEntryList(&Data->QueueLinks);
}
static PFLT_CALLBACK_DATA FLTAPI Peek(PFLT_CALLBACK_DATA_QUEUE Cbdq, PFLT_CALLBACK_DATA Data, PVOID Context)
{
    PLIST_ENTRY next = Data == NULL ? QueueList.Flink : Data->QueueLinks.Flink;
    UNREFERENCED_PARAMETER(Cbdq);
    UNREFERENCED_PARAMETER(Context);
    return next == &QueueList ? NULL : CONTAINING_RECORD(next, FLT_CALLBACK_DATA, QueueLinks);
}
static VOID FLTAPI Acquire(PFLT_CALLBACK_DATA_QUEUE Cbdq, PKIRQL Irql)
{
    UNREFERENCED_PARAMETER(Cbdq);
    KeAcquireSpinLock(&QueueLock, Irql);
}
static VOID FLTAPI Release(PFLT_CALLBACK_DATA_QUEUE Cbdq, KIRQL Irql)
{
    UNREFERENCED_PARAMETER(Cbdq);
    KeReleaseSpinLock(&QueueLock, Irql);
}
static VOID FLTAPI Canceled(PFLT_CALLBACK_DATA_QUEUE Cbdq, PFLT_CALLBACK_DATA Data)
{
    UNREFERENCED_PARAMETER(Cbdq);
    OK(FltIsIoCanceled(Data) && IsListEmpty(&QueueList), "flt_q_04_a_cancelled_entry_is_removed_before_it_is_completed");
    Data->IoStatus.Status = STATUS_CANCELLED;
    Data->IoStatus.Information = 0;
    FltCompletePendedPreOperation(Data, FLT_PREOP_COMPLETE, NULL);
}

static VOID FLTAPI Worker(PFLT_DEFERRED_IO_WORKITEM Item, PFLT_CALLBACK_DATA Data, PVOID Context)
{
    OK(Context == (PVOID)0xD0D0 && KeGetCurrentIrql() == PASSIVE_LEVEL, "flt_q_08_a_deferred_work_item_runs_at_passive_level");
    OK(Data->Iopb->Parameters.Write.MdlAddress != NULL, "flt_q_10_the_mdl_locked_before_is_there_in_the_worker");
    InterlockedIncrement(&Deferred);
    FltFreeDeferredIoWorkItem(Item);
    FltCompletePendedPreOperation(Data, FLT_PREOP_SUCCESS_NO_CALLBACK, NULL);
}

static VOID FLTAPI Told(PCFLT_RELATED_OBJECTS FltObjects, PFLT_IO_PARAMETER_BLOCK Iopb, NTSTATUS Status, PVOID Context)
{
    OK(FltObjects->Instance == Instance && Iopb->MajorFunction == IRP_MJ_CLEANUP && Context == (PVOID)0x57A7 && Status == STATUS_SUCCESS,
        "flt_g_07_the_requester_is_told_what_the_drivers_below_returned");
    InterlockedIncrement(&StatusTold);
}

static FLT_POSTOP_CALLBACK_STATUS FLTAPI PostCreate(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID Context, FLT_POST_OPERATION_FLAGS Flags)
{
    static const struct { FLT_CONTEXT_TYPE Type; ULONG Mark; } all[] = { { FLT_FILE_CONTEXT, MARK_FILE }, { FLT_STREAM_CONTEXT, MARK_STREAM },
        { FLT_STREAMHANDLE_CONTEXT, MARK_HANDLE } };
    NTSTATUS status;
    ULONG i;
    UNREFERENCED_PARAMETER(Context);
    if (FlagOn(Flags, FLTFL_POST_OPERATION_DRAINING) || !NT_SUCCESS(Data->IoStatus.Status)) return FLT_POSTOP_FINISHED_PROCESSING;
    for (i = 0; i < 3; i++) {
        MARKED *context = Make(all[i].Type, all[i].Mark);
        if (all[i].Type == FLT_FILE_CONTEXT) status = FltSetFileContext(FltObjects->Instance, FltObjects->FileObject, FLT_SET_CONTEXT_KEEP_IF_EXISTS, context, NULL);
        else if (all[i].Type == FLT_STREAM_CONTEXT) status = FltSetStreamContext(FltObjects->Instance, FltObjects->FileObject, FLT_SET_CONTEXT_KEEP_IF_EXISTS, context, NULL);
        else status = FltSetStreamHandleContext(FltObjects->Instance, FltObjects->FileObject, FLT_SET_CONTEXT_KEEP_IF_EXISTS, context, NULL);
        OK(status == STATUS_SUCCESS || (i < 2 && status == STATUS_FLT_CONTEXT_ALREADY_DEFINED), "flt_c_06_contexts_are_set_after_a_create");
        if (context != NULL) FltReleaseContext(context);
    }
    return FLT_POSTOP_FINISHED_PROCESSING;
}

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreCreate(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *Context)
{
    PFLT_FILE_NAME_INFORMATION name = NULL;
    UNREFERENCED_PARAMETER(FltObjects);
    UNREFERENCED_PARAMETER(Context);
    if (FltGetFileNameInformation(Data, FLT_FILE_NAME_SHORT | FLT_FILE_NAME_QUERY_DEFAULT, &name) == STATUS_FLT_INVALID_NAME_REQUEST)
        InterlockedIncrement(&ShortsRefused);
    return FLT_PREOP_SUCCESS_WITH_CALLBACK;
}

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreCleanup(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *Context)
{
    UNREFERENCED_PARAMETER(FltObjects);
    UNREFERENCED_PARAMETER(Context);
    if (StatusTold == 0) ST(FltRequestOperationStatusCallback(Data, Told, (PVOID)0x57A7), STATUS_SUCCESS, "flt_g_07_a_status_callback_is_asked_for");
    return FLT_PREOP_SUCCESS_NO_CALLBACK;
}

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreClose(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *Context)
{
    UNREFERENCED_PARAMETER(FltObjects);
    UNREFERENCED_PARAMETER(Context);
    if (StatusTold == 1) {
        ST(FltRequestOperationStatusCallback(Data, Told, NULL), STATUS_INVALID_PARAMETER, "flt_g_07_not_for_a_close");
        StatusTold = 2;
    }
    return FLT_PREOP_SUCCESS_NO_CALLBACK;
}

static FLT_PREOP_CALLBACK_STATUS Ask(PFLT_CALLBACK_DATA Data)
{
    static const CHAR question[] = "may I?";
    CHAR reply[8];
    ULONG length = sizeof(reply);
    LARGE_INTEGER timeout;
    NTSTATUS status;
    timeout.QuadPart = -50000000;
    status = FltSendMessage(Filter, &ClientPort, (PVOID)question, sizeof(question), reply, &length, &timeout);
    ST(status, STATUS_SUCCESS, "flt_p_04_a_message_is_delivered_and_answered");
    if (status == STATUS_SUCCESS && length == 1 && reply[0] == 'n') {
        Data->IoStatus.Status = STATUS_ACCESS_DENIED;
        Data->IoStatus.Information = 0;
        return FLT_PREOP_COMPLETE;
    }
    return FLT_PREOP_SUCCESS_NO_CALLBACK;
}

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreWrite(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *Context)
{
    FLT_RELATED_CONTEXTS contexts;
    PFLT_FILE_NAME_INFORMATION name = NULL;
    PFLT_DEFERRED_IO_WORKITEM item;
    FLT_PREOP_CALLBACK_STATUS answer = FLT_PREOP_SUCCESS_NO_CALLBACK;
    NTSTATUS status;
    UNREFERENCED_PARAMETER(Context);
    FltGetContexts(FltObjects, FLT_ALL_CONTEXTS, &contexts);
    OK(contexts.VolumeContext != NULL && ((MARKED *)contexts.VolumeContext)->Mark == MARK_VOLUME, "flt_c_16_the_volume_context_comes_with_the_others");
    OK(contexts.InstanceContext != NULL && ((MARKED *)contexts.InstanceContext)->Mark == MARK_INSTANCE, "flt_c_16_the_instance_context_too");
    OK(contexts.FileContext != NULL && ((MARKED *)contexts.FileContext)->Mark == MARK_FILE, "flt_c_16_the_file_context_too");
    OK(contexts.StreamContext != NULL && ((MARKED *)contexts.StreamContext)->Mark == MARK_STREAM, "flt_c_16_the_stream_context_too");
    OK(contexts.StreamHandleContext != NULL && ((MARKED *)contexts.StreamHandleContext)->Mark == MARK_HANDLE, "flt_c_16_the_handle_context_too");
    OK(contexts.TransactionContext == NULL, "flt_c_16_what_is_not_there_is_null");
    FltReleaseContexts(&contexts);
    OK(contexts.StreamContext == NULL, "flt_c_16_released_contexts_are_null");
    status = FltGetFileNameInformation(Data, FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT, &name);
    ST(status, STATUS_SUCCESS, "flt_n_01_a_write_has_a_name");
    if (!NT_SUCCESS(status)) return answer;
    ST(FltParseFileNameInformation(name), STATUS_SUCCESS, "flt_n_05_the_name_is_parsed");
    OK(name->ParentDir.Length == sizeof(WCHAR) && name->Extension.Length != 0, "flt_n_05_parent_and_extension_are_there");
    EQ(FltIsOperationSynchronous(Data), !FLT_IS_IRP_OPERATION(Data) || FlagOn(FltObjects->FileObject->Flags, FO_SYNCHRONOUS_IO),
        "flt_d_13_a_write_is_as_synchronous_as_its_file");
    EQ(FltGetRequestorProcess(Data), IoGetCurrentProcess(), "flt_d_14_the_requestor_is_the_current_process");
    if (Ends(&name->Name, L".msg")) answer = Ask(Data);
    if (Ends(&name->Name, L".safe")) {
        *Context = (PVOID)0x5AFE;
        answer = FLT_PREOP_SUCCESS_WITH_CALLBACK;
    }
    if (Ends(&name->Name, L".defer")) {
        item = FltAllocateDeferredIoWorkItem();
        if (!FLT_IS_IRP_OPERATION(Data)) {
            ST(FltQueueDeferredIoWorkItem(item, Data, Worker, DelayedWorkQueue, NULL), STATUS_FLT_NOT_SAFE_TO_POST_OPERATION,
                "flt_q_08_fast_io_cannot_be_posted");
            FltFreeDeferredIoWorkItem(item);
            answer = FLT_PREOP_DISALLOW_FASTIO;
        } else {
            ST(FltLockUserBuffer(Data), STATUS_SUCCESS, "flt_d_11_the_buffer_is_locked_before_the_write_is_put_off");
            status = FltQueueDeferredIoWorkItem(item, Data, Worker, DelayedWorkQueue, (PVOID)0xD0D0);
            ST(status, STATUS_SUCCESS, "flt_q_08_a_packet_is_posted");
            answer = NT_SUCCESS(status) ? FLT_PREOP_PENDING : FLT_PREOP_SUCCESS_NO_CALLBACK;
        }
    }
    if (Ends(&name->Name, L".queue")) {
        if (!FLT_IS_IRP_OPERATION(Data)) answer = FLT_PREOP_DISALLOW_FASTIO;
        else {
            ST(FltCbdqInsertIo(&Queue, Data, NULL, (PVOID)1), STATUS_UNSUCCESSFUL, "flt_q_02_a_failed_insert_is_the_callers_status");
            FltCbdqDisable(&Queue);
            ST(FltCbdqInsertIo(&Queue, Data, NULL, NULL), STATUS_FLT_CBDQ_DISABLED, "flt_q_02_a_disabled_queue_takes_nothing");
            FltCbdqEnable(&Queue);
            status = FltCbdqInsertIo(&Queue, Data, NULL, NULL);
            ST(status, STATUS_SUCCESS, "flt_q_02_a_packet_is_queued");
            InterlockedIncrement(&Queued);
            answer = FLT_PREOP_PENDING;
        }
    }
    FltReleaseFileNameInformation(name);
    return answer;
}

static FLT_POSTOP_CALLBACK_STATUS FLTAPI SafePost(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID Context, FLT_POST_OPERATION_FLAGS Flags)
{
    UNREFERENCED_PARAMETER(Flags);
    OK(KeGetCurrentIrql() < DISPATCH_LEVEL && FltObjects->Instance == Instance && Context == (PVOID)0x5AFE && NT_SUCCESS(Data->IoStatus.Status),
        "flt_o_21_the_safe_callback_runs_below_dispatch_level");
    return FLT_POSTOP_FINISHED_PROCESSING;
}

static FLT_POSTOP_CALLBACK_STATUS FLTAPI PostWrite(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID Context, FLT_POST_OPERATION_FLAGS Flags)
{
    FLT_POSTOP_CALLBACK_STATUS answer = (FLT_POSTOP_CALLBACK_STATUS)77;
    BOOLEAN high = KeGetCurrentIrql() >= DISPATCH_LEVEL, done;
    if (FlagOn(Flags, FLTFL_POST_OPERATION_DRAINING)) return FLT_POSTOP_FINISHED_PROCESSING;
    done = FltDoCompletionProcessingWhenSafe(Data, FltObjects, Context, Flags, SafePost, &answer);
    if (high) OK(done && answer == FLT_POSTOP_MORE_PROCESSING_REQUIRED, "flt_o_21_at_dispatch_level_it_is_queued");
    else OK(done && answer == FLT_POSTOP_FINISHED_PROCESSING, "flt_o_21_below_dispatch_level_it_runs_now");
    return answer;
}

static KEVENT GenericDone;
static VOID FLTAPI Generic(PFLT_GENERIC_WORKITEM Item, PVOID Object, PVOID Context)
{
    OK(Object == Instance && Context == (PVOID)0x6E6 && KeGetCurrentIrql() == PASSIVE_LEVEL, "flt_q_09_a_generic_work_item_brings_object_and_context");
    FltFreeGenericWorkItem(Item);
    KeSetEvent(&GenericDone, 0, FALSE);
}

static VOID GenericWork(VOID)
{
    PFLT_GENERIC_WORKITEM item = FltAllocateGenericWorkItem();
    KeInitializeEvent(&GenericDone, NotificationEvent, FALSE);
    ST(FltQueueGenericWorkItem(item, Instance, Generic, DelayedWorkQueue, (PVOID)0x6E6), STATUS_SUCCESS, "flt_q_09_a_generic_work_item_is_queued");
    KeWaitForSingleObject(&GenericDone, Executive, KernelMode, FALSE, NULL);
}

/* Requests of its own, below its instance. */
static VOID OwnRequests(VOID)
{
    static const UNICODE_STRING path = RTL_CONSTANT_STRING(L"\\Device\\HarddiskVolume1\\own.bin");
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK iosb;
    HANDLE handle = NULL;
    PFILE_OBJECT file = NULL;
    PFLT_CALLBACK_DATA data = NULL;
    FILE_STANDARD_INFORMATION standard;
    FILE_END_OF_FILE_INFORMATION eof;
    static CHAR text[] = "own request";
    LONG before = Queued;
    ULONG length = 0;
    NTSTATUS status;
    InitializeObjectAttributes(&attributes, (PUNICODE_STRING)&path, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL, NULL);
    status = FltCreateFileEx(Filter, Instance, &handle, &file, FILE_GENERIC_WRITE | FILE_GENERIC_READ, &attributes, &iosb, NULL, FILE_ATTRIBUTE_NORMAL,
        0, FILE_OVERWRITE_IF, FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0, 0);
    ST(status, STATUS_SUCCESS, "flt_g_08_a_file_is_created_below_the_instance");
    if (!NT_SUCCESS(status)) return;
    ST(FltAllocateCallbackData(Instance, file, &data), STATUS_SUCCESS, "flt_g_01_callback_data_is_allocated");
    OK(data->Iopb->TargetFileObject == file && data->Iopb->TargetInstance == Instance, "flt_g_01_it_names_file_and_instance");
    data->Iopb->MajorFunction = IRP_MJ_WRITE;
    data->Iopb->Parameters.Write.Length = sizeof(text) - 1;
    data->Iopb->Parameters.Write.WriteBuffer = text;
    FltPerformSynchronousIo(data);
    ST(data->IoStatus.Status, STATUS_SUCCESS, "flt_g_02_the_request_is_performed");
    EQ(data->IoStatus.Information, sizeof(text) - 1, "flt_g_02_all_bytes_are_written");
    FltReuseCallbackData(data);
    EQ(data->Iopb->MajorFunction, 0, "flt_g_04_reused_data_is_clear");
    FltFreeCallbackData(data);
    ST(FltQueryInformationFile(Instance, file, &standard, sizeof(standard), FileStandardInformation, &length), STATUS_SUCCESS,
        "flt_g_10_a_file_object_is_queried");
    EQ(standard.EndOfFile.QuadPart, sizeof(text) - 1, "flt_g_10_the_size_is_the_files");
    EQ(length, sizeof(standard), "flt_g_10_length_returned_is_information");
    eof.EndOfFile.QuadPart = 3;
    ST(FltSetInformationFile(Instance, file, &eof, sizeof(eof), FileEndOfFileInformation), STATUS_SUCCESS, "flt_g_14_the_end_of_file_is_set");
    ST(FltFlushBuffers(Instance, file), STATUS_SUCCESS, "flt_g_13_a_file_object_is_flushed");
    EQ(Queued, before, "flt_g_11_own_requests_do_not_come_back");
    ST(FltClose(handle), STATUS_SUCCESS, "flt_g_08_the_handle_is_closed_with_fltclose");
    ObDereferenceObject(file);
}

static NTSTATUS FLTAPI Connect(PFLT_PORT Port, PVOID Cookie, PVOID Context, ULONG Size, PVOID *PortCookie)
{
    OK(Cookie == (PVOID)0x5E4 && Size == 5 && ((PCHAR)Context)[0] == 'h', "flt_p_02_the_connection_brings_cookie_and_context");
    if (((PCHAR)Context)[4] == '!') return STATUS_ACCESS_DENIED;
    ClientPort = Port;
    *PortCookie = (PVOID)0xC0C;
    InterlockedIncrement(&Connected);
    return STATUS_SUCCESS;
}
static VOID FLTAPI Disconnect(PVOID Cookie)
{
    OK(Cookie == (PVOID)0xC0C, "flt_p_02_the_disconnection_brings_the_ports_cookie");
    InterlockedIncrement(&Disconnected);
    FltCloseClientPort(Filter, &ClientPort);
    OK(ClientPort == NULL, "flt_p_02_a_closed_client_port_is_null");
}
static NTSTATUS FLTAPI Message(PVOID Cookie, PVOID Input, ULONG InputLength, PVOID Output, ULONG OutputLength, PULONG Returned)
{
    PFLT_CALLBACK_DATA data;
    CHAR command = 0;
    OK(Cookie == (PVOID)0xC0C && InputLength == 1, "flt_p_03_a_message_of_the_program_arrives");
    __try {
        command = *(PCHAR)Input;
        if (OutputLength != 0) *(PCHAR)Output = (CHAR)(command + 1);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return GetExceptionCode();
    }
    *Returned = OutputLength != 0;
    if (command == 1) OwnRequests();
    if (command == 1) GenericWork();
    if (command == 3) FltCloseCommunicationPort(ServerPort);
    if (command == 2) {
        data = FltCbdqRemoveNextIo(&Queue, NULL);
        OK(data != NULL, "flt_q_03_the_next_entry_is_removed");
        OK(FltCbdqRemoveNextIo(&Queue, NULL) == NULL, "flt_q_03_an_empty_queue_has_none");
        if (data != NULL) FltCompletePendedPreOperation(data, FLT_PREOP_SUCCESS_NO_CALLBACK, NULL);
    }
    return STATUS_SUCCESS;
}

static const FLT_CONTEXT_REGISTRATION Contexts[] = {
    { FLT_VOLUME_CONTEXT, 0, Cleanup, sizeof(MARKED), TAG, NULL, NULL, NULL },
    { FLT_INSTANCE_CONTEXT, 0, Cleanup, sizeof(MARKED), TAG, NULL, NULL, NULL },
    { FLT_FILE_CONTEXT, 0, Cleanup, FLT_VARIABLE_SIZED_CONTEXTS, TAG, NULL, NULL, NULL },
    { FLT_STREAM_CONTEXT, FLTFL_CONTEXT_REGISTRATION_NO_EXACT_SIZE_MATCH, Cleanup, 64, TAG, NULL, NULL, NULL },
    { FLT_STREAMHANDLE_CONTEXT, 0, Cleanup, 0, 0, OwnAllocate, OwnFree, NULL },
    { FLT_CONTEXT_END, 0, NULL, 0, 0, NULL, NULL, NULL },
};
/* Four fixed sizes of one type, and an allocate routine that is not alone. */
static const FLT_CONTEXT_REGISTRATION TooMany[] = {
    { FLT_STREAM_CONTEXT, 0, NULL, 8, TAG, NULL, NULL, NULL }, { FLT_STREAM_CONTEXT, 0, NULL, 16, TAG, NULL, NULL, NULL },
    { FLT_STREAM_CONTEXT, 0, NULL, 24, TAG, NULL, NULL, NULL }, { FLT_STREAM_CONTEXT, 0, NULL, 32, TAG, NULL, NULL, NULL },
    { FLT_CONTEXT_END, 0, NULL, 0, 0, NULL, NULL, NULL },
};
static const FLT_CONTEXT_REGISTRATION NotAlone[] = {
    { FLT_STREAM_CONTEXT, 0, NULL, 8, TAG, NULL, NULL, NULL }, { FLT_STREAM_CONTEXT, 0, NULL, 0, 0, OwnAllocate, OwnFree, NULL },
    { FLT_CONTEXT_END, 0, NULL, 0, 0, NULL, NULL, NULL },
};
static const FLT_CONTEXT_REGISTRATION NoTag[] = {
    { FLT_STREAM_CONTEXT, 0, NULL, 8, 0, NULL, NULL, NULL }, { FLT_CONTEXT_END, 0, NULL, 0, 0, NULL, NULL, NULL },
};

static NTSTATUS FLTAPI Unload(FLT_FILTER_UNLOAD_FLAGS Flags)
{
    UNREFERENCED_PARAMETER(Flags);
    FltCloseCommunicationPort(ServerPort);
    FltUnregisterFilter(Filter);
    EQ(Connected, Disconnected, "flt_p_02_every_connection_was_disconnected_once");
    EQ(Allocated, Freed, "flt_c_12_own_allocations_go_through_the_own_free_routine");
    EQ(Cleaned[FLT_STREAMHANDLE_CONTEXT], Allocated, "flt_c_12_each_handle_context_was_cleaned_up_once");
    EQ(Cleaned[FLT_VOLUME_CONTEXT], 2, "flt_c_13_the_volume_contexts_went_at_unregister");
    EQ(Cleaned[FLT_INSTANCE_CONTEXT], 1, "flt_c_13_the_instance_context_went_at_the_teardown");
    OK(Cleaned[FLT_STREAM_CONTEXT] != 0 && Cleaned[FLT_FILE_CONTEXT] != 0, "flt_c_13_stream_and_file_contexts_went");
    OK(Deferred != 0, "flt_q_08_a_deferred_write_ran");
    EQ(StatusTold, 2, "flt_g_07_the_status_callback_ran_once");
    OK(ShortsRefused != 0, "flt_n_02_no_short_name_before_a_create");
    return STATUS_SUCCESS;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, 0, PreCreate, PostCreate, NULL },
    { IRP_MJ_WRITE, FLTFL_OPERATION_REGISTRATION_SKIP_PAGING_IO, PreWrite, PostWrite, NULL },
    { IRP_MJ_CLEANUP, 0, PreCleanup, NULL, NULL },
    { IRP_MJ_CLOSE, 0, PreClose, NULL, NULL },
    { IRP_MJ_OPERATION_END, 0, NULL, NULL, NULL },
};

static FLT_REGISTRATION Registration = {
    .Size = sizeof(FLT_REGISTRATION),
    .Version = FLT_REGISTRATION_VERSION,
    .ContextRegistration = Contexts,
    .OperationRegistration = Operations,
    .FilterUnloadCallback = Unload,
    .InstanceSetupCallback = Setup,
    .InstanceTeardownStartCallback = Start,
};

static VOID Ports(VOID)
{
    static const UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\FltTestPort");
    OBJECT_ATTRIBUTES attributes;
    PSECURITY_DESCRIPTOR descriptor = NULL;
    PFLT_PORT second = NULL;
    ST(FltBuildDefaultSecurityDescriptor(&descriptor, FLT_PORT_ALL_ACCESS), STATUS_SUCCESS, "flt_p_01_a_default_descriptor_is_built");
    InitializeObjectAttributes(&attributes, (PUNICODE_STRING)&name, OBJ_CASE_INSENSITIVE, NULL, descriptor);
    ST(FltCreateCommunicationPort(Filter, &second, &attributes, NULL, Connect, Disconnect, Message, 1), STATUS_INVALID_PARAMETER,
        "flt_p_01_a_port_needs_a_kernel_handle");
    attributes.Attributes = OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE;
    ST(FltCreateCommunicationPort(Filter, &second, &attributes, NULL, Connect, Disconnect, Message, 0), STATUS_INVALID_PARAMETER,
        "flt_p_01_a_port_takes_a_connection");
    ST(FltCreateCommunicationPort(Filter, &ServerPort, &attributes, (PVOID)0x5E4, Connect, Disconnect, Message, 1), STATUS_SUCCESS,
        "flt_p_01_a_port_is_created");
    ST(FltCreateCommunicationPort(Filter, &second, &attributes, NULL, Connect, Disconnect, Message, 1), STATUS_OBJECT_NAME_COLLISION,
        "flt_p_01_a_name_is_taken_once");
    FltFreeSecurityDescriptor(descriptor);
}

static VOID PushLocks(VOID)
{
    static EX_PUSH_LOCK lock;
    FltInitializePushLock(&lock);
    FltAcquirePushLockExclusive(&lock);
    OK(lock != 0 && KeAreApcsDisabled() && !KeAreAllApcsDisabled(), "nt_kr_16_an_exclusive_push_lock_of_fltmgr_enters_a_critical_region");
    FltReleasePushLock(&lock);
    OK(lock == 0 && !KeAreApcsDisabled(), "nt_kr_16_its_release_leaves_the_region");
    FltAcquirePushLockShared(&lock);
    FltAcquirePushLockShared(&lock);
    OK(KeAreApcsDisabled(), "nt_kr_16_a_shared_one_enters_a_critical_region_too");
    FltReleasePushLock(&lock);
    OK(lock != 0 && KeAreApcsDisabled(), "nt_kr_16_each_release_leaves_one");
    FltReleasePushLock(&lock);
    OK(lock == 0 && !KeAreApcsDisabled(), "nt_kr_16_the_last_release_leaves_the_last");
    FltDeletePushLock(&lock);
}

DRIVER_INITIALIZE DriverEntry;

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    NTSTATUS status;
    UNREFERENCED_PARAMETER(RegistryPath);
    Registration.ContextRegistration = TooMany;
    ST(FltRegisterFilter(DriverObject, &Registration, &Filter), STATUS_FLT_INVALID_CONTEXT_REGISTRATION, "flt_c_05_four_fixed_sizes_are_too_many");
    Registration.ContextRegistration = NotAlone;
    ST(FltRegisterFilter(DriverObject, &Registration, &Filter), STATUS_FLT_INVALID_CONTEXT_REGISTRATION, "flt_c_05_an_allocate_routine_stands_alone");
    Registration.ContextRegistration = NoTag;
    ST(FltRegisterFilter(DriverObject, &Registration, &Filter), STATUS_FLT_INVALID_CONTEXT_REGISTRATION, "flt_c_05_a_pool_tag_is_needed");
    Registration.ContextRegistration = Contexts;
    status = FltRegisterFilter(DriverObject, &Registration, &Filter);
    ST(status, STATUS_SUCCESS, "flt_r_08_a_filter_with_contexts_registers");
    if (!NT_SUCCESS(status)) return status;
    OK(FltGetRoutineAddress("FltGetStreamContext") != NULL, "flt_s_09_a_routine_that_is_there_is_found");
    OK(FltGetRoutineAddress("FltSetTransactionContext") == NULL, "flt_s_09_transactions_are_not_found");
    PushLocks();
    Ports();
    KeInitializeSpinLock(&QueueLock);
    InitializeListHead(&QueueList);
    status = FltStartFiltering(Filter);
    ST(status, STATUS_SUCCESS, "flt_r_09_it_starts");
    ST(FltCbdqInitialize(Instance, &Queue, Insert, Remove, Peek, Acquire, Release, Canceled), STATUS_SUCCESS, "flt_q_01_a_queue_is_initialised");
    return status;
}
