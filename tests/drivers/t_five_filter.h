/*
 * t_five_filter.h: the minifilter that t_five and t_fltio are: it makes the calls in its DriverEntry, and sees on C: which writes pass it.
 */
#ifndef NTIO_T_FIVE_FILTER_H
#define NTIO_T_FIVE_FILTER_H

#include "t_five.h"
#include "t_five_help.h"
#include "t_five_nt.h"
#include "t_five_flt.h"

/* What a driver checks besides. */
static VOID TestMore(VOID);

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
    .InstanceSetupCallback = FirstInstance,
};

DRIVER_INITIALIZE DriverEntry;

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    NTSTATUS status;
    UNREFERENCED_PARAMETER(RegistryPath);
    status = StartFilter(DriverObject, &Registration, "flt_r_01_the_filter_registers");
    if (!NT_SUCCESS(status)) return status;
    OK(Instance != NULL, "flt_i_04_the_default_instance_attaches_to_the_mounted_volume");
    TestNt();
    if (Instance != NULL) TestFlt();
    TestMore();
    return STATUS_SUCCESS;
}

#endif
