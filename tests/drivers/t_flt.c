/*
 * t_flt: a write filter. It counts the writes that pass, completes those to names that end in ".deny" with ACCESS_DENIED, and
 * prints its counts when it is unloaded.
 */
#include "t_filter.h"

static volatile LONG Pre, Post, Denied, Fast;
static volatile LONGLONG Bytes;

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreWrite(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *CompletionContext)
{
    InterlockedIncrement(&Pre);
    if (FLT_IS_FASTIO_OPERATION(Data)) InterlockedIncrement(&Fast);
    /* FILE_OBJECT.FileName: our file systems keep it valid while the file is open. */
    if (FltObjects->FileObject != NULL && Ends(&FltObjects->FileObject->FileName, L".deny")) {
        InterlockedIncrement(&Denied);
        Data->IoStatus.Status = STATUS_ACCESS_DENIED;
        Data->IoStatus.Information = 0;
        return FLT_PREOP_COMPLETE;
    }
    *CompletionContext = (PVOID)&Post;
    return FLT_PREOP_SUCCESS_WITH_CALLBACK;
}

static FLT_POSTOP_CALLBACK_STATUS FLTAPI PostWrite(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID CompletionContext,
    FLT_POST_OPERATION_FLAGS Flags)
{
    UNREFERENCED_PARAMETER(FltObjects);
    if (CompletionContext != (PVOID)&Post) DbgPrint("not ok flt_o_08_the_completion_context_reaches_the_own_post_callback: %p\n", CompletionContext);
    InterlockedIncrement(&Post);
    if (!FlagOn(Flags, FLTFL_POST_OPERATION_DRAINING) && NT_SUCCESS(Data->IoStatus.Status)) {
        InterlockedExchangeAdd64(&Bytes, (LONGLONG)Data->IoStatus.Information);
    }
    return FLT_POSTOP_FINISHED_PROCESSING;
}

static NTSTATUS FLTAPI Unload(FLT_FILTER_UNLOAD_FLAGS Flags)
{
    UNREFERENCED_PARAMETER(Flags);
    FltUnregisterFilter(Filter);
    DbgPrint("t_flt: %d pre, %d post, %d denied, %d fast, %I64d bytes\n", Pre, Post, Denied, Fast, Bytes);
    EQ(Pre, Post + Denied, "flt_o_22_each_write_is_seen_twice_or_denied");
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
};

DRIVER_INITIALIZE DriverEntry;

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    return StartFilter(DriverObject, &Registration, "flt_r_01_a_filter_registers");
}
