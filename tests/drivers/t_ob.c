/*
 * t_ob: threads, APCs, work items of devices, waits and alerts by handle, duplicates, links and ids: the rules NT-KR-33 to NT-KR-47.
 */
#include "ntifs.h"
#include "ntddk.h"
#include "t.h"

static PDEVICE_OBJECT Device;

static NTSTATUS WaitFor(PVOID Object, LONGLONG Milliseconds)
{
    LARGE_INTEGER time;
    time.QuadPart = Milliseconds * -10000;
    return KeWaitForSingleObject(Object, Executive, KernelMode, FALSE, &time);
}

static HANDLE MakeEvent(EVENT_TYPE Type, BOOLEAN State)
{
    OBJECT_ATTRIBUTES attributes;
    HANDLE handle = NULL;
    InitializeObjectAttributes(&attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    ZwCreateEvent(&handle, EVENT_ALL_ACCESS, &attributes, Type, State);
    return handle;
}

static BOOLEAN IsSet(HANDLE Handle)
{
    LARGE_INTEGER zero;
    zero.QuadPart = 0;
    return ZwWaitForSingleObject(Handle, FALSE, &zero) == STATUS_SUCCESS;
}

/* A system thread that does what it is told, and tells. */
typedef struct _JOB {
    KEVENT Started, Go, Done;
    volatile LONG Stage;
    KPROCESSOR_MODE WaitMode;
    BOOLEAN Alertable;
    NTSTATUS Waited;
    PKTHREAD Self;
    HANDLE Handle;
    CLIENT_ID Id;
    PKTHREAD Object;
} JOB, *PJOB;

static VOID NTAPI Waits(PVOID Context)
{
    PJOB job = Context;
    job->Self = KeGetCurrentThread();
    KeSetEvent(&job->Started, 0, FALSE);
    job->Waited = KeWaitForSingleObject(&job->Go, Executive, job->WaitMode, job->Alertable, NULL);
    KeSetEvent(&job->Done, 0, FALSE);
    __try {
        PsTerminateSystemThread(STATUS_SUCCESS);
        job->Stage = 100;
    } __finally {
        job->Stage = 200;
    }
}

static VOID Start(PJOB Job, KPROCESSOR_MODE WaitMode, BOOLEAN Alertable)
{
    OBJECT_ATTRIBUTES attributes;
    RtlZeroMemory(Job, sizeof(*Job));
    KeInitializeEvent(&Job->Started, NotificationEvent, FALSE);
    KeInitializeEvent(&Job->Go, NotificationEvent, FALSE);
    KeInitializeEvent(&Job->Done, NotificationEvent, FALSE);
    Job->WaitMode = WaitMode;
    Job->Alertable = Alertable;
    InitializeObjectAttributes(&attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    ST(PsCreateSystemThread(&Job->Handle, THREAD_ALL_ACCESS, &attributes, NULL, &Job->Id, Waits, Job), STATUS_SUCCESS, "nt_kr_42_a_system_thread_starts");
    ObReferenceObjectByHandle(Job->Handle, SYNCHRONIZE, *PsThreadType, KernelMode, (PVOID *)&Job->Object, NULL);
    WaitFor(&Job->Started, 5000);
}

static VOID Finish(PJOB Job)
{
    KeSetEvent(&Job->Go, 0, FALSE);
    WaitFor(Job->Object, 5000);
    ObDereferenceObject(Job->Object);
    ZwClose(Job->Handle);
}

static VOID Threads(VOID)
{
    static JOB job;
    PETHREAD thread = NULL;
    PEPROCESS process = NULL;

    Start(&job, KernelMode, FALSE);
    OK(job.Self == job.Object && job.Self != KeGetCurrentThread(), "nt_kr_42_it_runs_as_the_thread_that_the_handle_names");
    OK(IoIsSystemThread((PETHREAD)job.Object) && job.Id.UniqueProcess == (HANDLE)4, "nt_kr_42_in_the_system_process");
    ST(WaitFor(job.Object, 0), STATUS_TIMEOUT, "nt_kr_42_a_thread_that_runs_is_not_signalled");
    ST(PsLookupThreadByThreadId(job.Id.UniqueThread, &thread), STATUS_SUCCESS, "nt_kr_47_a_thread_is_found_by_its_id");
    OK(thread == (PETHREAD)job.Object && PsGetThreadId(thread) == job.Id.UniqueThread, "nt_kr_47_its_pointer_and_its_id");
    ObDereferenceObject(thread);
    ST(PsLookupProcessByProcessId((HANDLE)4, &process), STATUS_SUCCESS, "nt_kr_47_a_process_is_found_by_its_id");
    OK(process == PsGetCurrentProcess() && PsGetProcessId(process) == (HANDLE)4, "nt_kr_47_its_pointer_and_its_id_too");
    ObDereferenceObject(process);
    ST(PsLookupProcessByProcessId((HANDLE)0x7FFFFFF0, &process), STATUS_INVALID_PARAMETER, "nt_kr_47_an_id_that_nobody_has");
    KeSetEvent(&job.Go, 0, FALSE);
    ST(WaitFor(job.Object, 5000), STATUS_SUCCESS, "nt_kr_43_a_thread_that_has_ended_is_signalled");
    OK(IsSet(job.Handle), "nt_kr_43_by_its_handle_too");
    EQ(job.Stage, 0, "nt_kr_43_nothing_of_the_driver_runs_after_the_end");
    ST(PsTerminateSystemThread(STATUS_SUCCESS), STATUS_INVALID_PARAMETER, "nt_kr_43_only_a_thread_that_a_driver_made_can_be_ended_so");
    ObDereferenceObject(job.Object);
    ZwClose(job.Handle);
}

/* APCs. */
typedef struct _APC {
    KAPC Apc;
    volatile LONG Kernel, Normal, Rundown;
    PKTHREAD Thread;
    KIRQL KernelIrql, NormalIrql;
    PVOID Arguments[3];
    BOOLEAN Swallow;
} APC, *PAPC;

static VOID NTAPI KernelPart(PKAPC Apc, PKNORMAL_ROUTINE *NormalRoutine, PVOID *NormalContext, PVOID *First, PVOID *Second)
{
    PAPC apc = CONTAINING_RECORD(Apc, APC, Apc);
    UNREFERENCED_PARAMETER(NormalContext);
    UNREFERENCED_PARAMETER(First);
    apc->Thread = KeGetCurrentThread();
    apc->KernelIrql = KeGetCurrentIrql();
    *Second = (PVOID)77;
    if (apc->Swallow) *NormalRoutine = NULL;
    InterlockedIncrement(&apc->Kernel);
}
static VOID NTAPI NormalPart(PVOID Context, PVOID First, PVOID Second)
{
    PAPC apc = Context;
    apc->NormalIrql = KeGetCurrentIrql();
    apc->Arguments[0] = Context;
    apc->Arguments[1] = First;
    apc->Arguments[2] = Second;
    InterlockedIncrement(&apc->Normal);
}
static VOID NTAPI RundownPart(PKAPC Apc)
{
    PAPC apc = CONTAINING_RECORD(Apc, APC, Apc);
    InterlockedIncrement(&apc->Rundown);
}

static VOID Make(PAPC Apc, PKTHREAD Thread, BOOLEAN Normal, KPROCESSOR_MODE Mode)
{
    RtlZeroMemory(Apc, sizeof(*Apc));
    KeInitializeApc(&Apc->Apc, Thread, OriginalApcEnvironment, KernelPart, RundownPart, Normal ? NormalPart : NULL, Mode, Apc);
}

static VOID Until(volatile LONG *Count)
{
    LARGE_INTEGER time;
    ULONG round;
    time.QuadPart = -10000;
    for (round = 0; *Count == 0 && round < 5000; round++) KeDelayExecutionThread(KernelMode, FALSE, &time);
}

static VOID Apcs(VOID)
{
    static APC apc, second;
    static JOB job;
    PKTHREAD own = KeGetCurrentThread();

    Make(&apc, own, FALSE, KernelMode);
    OK(apc.Apc.Type == 0x12 && apc.Apc.ApcMode == KernelMode && !apc.Apc.Inserted, "nt_kr_34_an_apc_is_of_type_12h");
    KeEnterCriticalRegion();
    OK(KeInsertQueueApc(&apc.Apc, NULL, NULL, 0), "nt_kr_34_a_special_apc_is_queued");
    OK(apc.Kernel == 1 && apc.Normal == 0 && apc.KernelIrql == APC_LEVEL && apc.Thread == own, "nt_kr_34_it_runs_at_apc_level_in_a_critical_region_too");
    KeLeaveCriticalRegion();
    Make(&apc, own, FALSE, KernelMode);
    KeEnterGuardedRegion();
    OK(KeInsertQueueApc(&apc.Apc, NULL, NULL, 0) && apc.Kernel == 0 && apc.Apc.Inserted, "nt_kr_34_a_guarded_region_holds_it_back");
    OK(!KeInsertQueueApc(&apc.Apc, NULL, NULL, 0), "nt_kr_37_an_apc_is_queued_once");
    KeLeaveGuardedRegion();
    OK(apc.Kernel == 1 && !apc.Apc.Inserted, "nt_kr_34_until_the_region_is_left");

    Make(&apc, own, TRUE, KernelMode);
    KeEnterCriticalRegion();
    KeInsertQueueApc(&apc.Apc, (PVOID)5, (PVOID)6, 0);
    EQ(apc.Kernel, 0, "nt_kr_35_a_critical_region_holds_a_normal_apc_back");
    KeLeaveCriticalRegion();
    OK(apc.Kernel == 1 && apc.KernelIrql == APC_LEVEL && apc.Normal == 1 && apc.NormalIrql == PASSIVE_LEVEL, "nt_kr_35_then_its_two_routines_run");
    OK(apc.Arguments[0] == &apc && apc.Arguments[1] == (PVOID)5 && apc.Arguments[2] == (PVOID)77, "nt_kr_35_with_what_the_kernel_routine_left");
    Make(&apc, own, TRUE, KernelMode);
    apc.Swallow = TRUE;
    KeInsertQueueApc(&apc.Apc, NULL, NULL, 0);
    OK(apc.Kernel == 1 && apc.Normal == 0, "nt_kr_35_the_kernel_routine_may_take_the_normal_one_away");
    Make(&apc, own, TRUE, KernelMode);
    KeEnterCriticalRegion();
    KeInsertQueueApc(&apc.Apc, NULL, NULL, 0);
    OK(KeRemoveQueueApc(&apc.Apc) && !KeRemoveQueueApc(&apc.Apc), "nt_kr_37_a_queued_apc_can_be_removed");
    KeLeaveCriticalRegion();
    EQ(apc.Kernel, 0, "nt_kr_37_and_does_not_run");

    Start(&job, KernelMode, FALSE);
    Make(&apc, job.Object, FALSE, KernelMode);
    Make(&second, job.Object, TRUE, KernelMode);
    KeInsertQueueApc(&apc.Apc, NULL, NULL, 0);
    KeInsertQueueApc(&second.Apc, NULL, NULL, 0);
    Until(&second.Normal);
    OK(apc.Kernel == 1 && apc.Thread == job.Object, "nt_kr_34_a_thread_that_waits_runs_a_special_apc");
    OK(second.Normal == 1 && second.Thread == job.Object, "nt_kr_35_and_a_normal_one");
    ST(WaitFor(&job.Done, 0), STATUS_TIMEOUT, "nt_kr_35_neither_ends_its_wait");
    Make(&apc, job.Object, TRUE, UserMode);
    KeInsertQueueApc(&apc.Apc, NULL, NULL, 0);
    Finish(&job);
    OK(apc.Kernel == 0 && apc.Rundown == 1, "nt_kr_37_a_user_apc_of_a_thread_that_ends_is_run_down");
    OK(!KeInsertQueueApc(&second.Apc, NULL, NULL, 0), "nt_kr_37_a_thread_that_has_ended_takes_none");

    Start(&job, UserMode, TRUE);
    Make(&apc, job.Object, TRUE, UserMode);
    KeInsertQueueApc(&apc.Apc, NULL, NULL, 0);
    WaitFor(&job.Done, 5000);
    ST(job.Waited, STATUS_USER_APC, "nt_kr_36_a_user_apc_ends_an_alertable_user_mode_wait");
    OK(apc.Kernel == 1 && apc.Normal == 1 && apc.Thread == job.Object, "nt_kr_36_and_runs_there");
    Finish(&job);
}

static volatile LONG Worked;
static PVOID WorkedFor, WorkedItem;
static KEVENT WorkDone;
static VOID NTAPI Works(PDEVICE_OBJECT DeviceObject, PVOID Context)
{
    WorkedFor = DeviceObject;
    IoFreeWorkItem(Context);
    InterlockedIncrement(&Worked);
    KeSetEvent(&WorkDone, 0, FALSE);
}
static VOID NTAPI WorksEx(PVOID IoObject, PVOID Context, PIO_WORKITEM Item)
{
    WorkedFor = IoObject;
    WorkedItem = Item;
    KeSetEvent(Context, 0, FALSE);
}

static VOID WorkItems(VOID)
{
    PIO_WORKITEM item = IoAllocateWorkItem(Device);
    KeInitializeEvent(&WorkDone, SynchronizationEvent, FALSE);
    OK(item != NULL, "nt_kr_33_a_work_item_of_a_device");
    IoQueueWorkItem(item, Works, DelayedWorkQueue, item);
    ST(WaitFor(&WorkDone, 5000), STATUS_SUCCESS, "nt_kr_33_it_runs");
    OK(Worked == 1 && WorkedFor == Device, "nt_kr_33_once_with_its_device_and_may_free_itself");
    item = ExAllocatePoolWithTag(NonPagedPool, IoSizeofWorkItem(), 'bort');
    IoInitializeWorkItem(Device, item);
    IoQueueWorkItemEx(item, WorksEx, DelayedWorkQueue, &WorkDone);
    ST(WaitFor(&WorkDone, 5000), STATUS_SUCCESS, "nt_kr_33_one_in_the_drivers_memory_runs");
    OK(WorkedFor == Device && WorkedItem == item, "nt_kr_33_the_ex_form_gets_the_item");
    IoUninitializeWorkItem(item);
    ExFreePoolWithTag(item, 'bort');
}

static VOID WaitsByHandle(VOID)
{
    HANDLE handles[65], two[2];
    PVOID objects[2];
    KEVENT a, b;
    LARGE_INTEGER zero, some;
    static JOB job;
    LONG previous = 5;

    zero.QuadPart = 0;
    some.QuadPart = -200000;
    KeInitializeEvent(&a, SynchronizationEvent, TRUE);
    KeInitializeEvent(&b, NotificationEvent, FALSE);
    objects[0] = &a;
    objects[1] = &b;
    ST(KeWaitForMultipleObjects(2, objects, WaitAll, Executive, KernelMode, FALSE, &some, NULL), STATUS_TIMEOUT, "nt_kr_38_a_wait_for_all_wants_all");
    OK(KeReadStateEvent(&a), "nt_kr_38_and_takes_none_else");
    KeSetEvent(&b, 0, FALSE);
    ST(KeWaitForMultipleObjects(2, objects, WaitAll, Executive, KernelMode, FALSE, &some, NULL), STATUS_SUCCESS, "nt_kr_38_all_are_signalled");
    OK(!KeReadStateEvent(&a) && KeReadStateEvent(&b), "nt_kr_38_each_is_taken_as_its_kind_says");
    ST(KeWaitForMultipleObjects(2, objects, WaitAny, Executive, KernelMode, FALSE, &some, NULL), STATUS_WAIT_1, "nt_kr_38_a_wait_for_any_tells_which");

    two[0] = MakeEvent(NotificationEvent, FALSE);
    two[1] = MakeEvent(NotificationEvent, TRUE);
    ST(ZwWaitForMultipleObjects(2, two, WaitAny, FALSE, &zero), STATUS_WAIT_1, "nt_kr_39_the_index_of_the_signalled_one");
    ST(ZwWaitForMultipleObjects(2, two, WaitAll, FALSE, &zero), STATUS_TIMEOUT, "nt_kr_39_not_all_are_signalled");
    ST(ZwWaitForMultipleObjects(0, two, WaitAny, FALSE, &zero), (NTSTATUS)0xC00000EF, "nt_kr_39_none_is_too_few");
    ST(ZwWaitForMultipleObjects(65, handles, WaitAny, FALSE, &zero), (NTSTATUS)0xC00000EF, "nt_kr_39_65_are_too_many");
    ST(ZwWaitForMultipleObjects(2, two, 2, FALSE, &zero), (NTSTATUS)0xC00000F1, "nt_kr_39_a_kind_of_wait_that_there_is_not");
    handles[0] = handles[1] = two[1];
    ST(ZwWaitForMultipleObjects(2, handles, WaitAll, FALSE, &zero), (NTSTATUS)0xC0000030, "nt_kr_39_all_of_one_twice");
    handles[1] = (HANDLE)0xFFFFFFFF80FFFFF0;
    ST(ZwWaitForMultipleObjects(2, handles, WaitAny, FALSE, &zero), STATUS_INVALID_HANDLE, "nt_kr_39_a_handle_that_is_none");
    ST(ZwResetEvent(two[1], &previous), STATUS_SUCCESS, "nt_kr_41_an_event_is_reset");
    OK(previous == 1 && !IsSet(two[1]), "nt_kr_41_and_its_former_state_told");
    ZwSetEvent(two[1], &previous);
    OK(previous == 0 && IsSet(two[1]), "nt_kr_41_set_again");
    ST(ZwClearEvent(two[1]), STATUS_SUCCESS, "nt_kr_41_and_cleared");
    OK(!IsSet(two[1]), "nt_kr_41_a_cleared_event_is_not_signalled");
    ZwClose(two[0]);
    ZwClose(two[1]);

    Start(&job, KernelMode, TRUE);
    ST(ZwAlertThread(job.Handle), STATUS_SUCCESS, "nt_kr_40_a_thread_is_alerted");
    WaitFor(&job.Done, 5000);
    ST(job.Waited, STATUS_ALERTED, "nt_kr_40_an_alert_ends_an_alertable_wait");
    Finish(&job);
    ST(ZwAlertThread(NtCurrentThread()), STATUS_SUCCESS, "nt_kr_40_the_own_thread");
    ST(ZwTestAlert(), STATUS_ALERTED, "nt_kr_40_the_alert_is_taken");
    ST(ZwTestAlert(), STATUS_SUCCESS, "nt_kr_40_once");
    ZwAlertThread(NtCurrentThread());
    ST(ZwDelayExecution(TRUE, &some), STATUS_ALERTED, "nt_kr_40_an_alertable_delay_ends_by_it");
    ST(ZwDelayExecution(FALSE, &some), STATUS_SUCCESS, "nt_kr_40_a_plain_one_by_its_time");
}

static VOID Handles(VOID)
{
    HANDLE event, copy = NULL, link = NULL;
    PKEVENT object, same;
    OBJECT_ATTRIBUTES attributes;
    UNICODE_STRING name, target, text;
    WCHAR buffer[64];
    ULONG length = 0;
    OBJECT_HANDLE_INFORMATION information;

    event = MakeEvent(NotificationEvent, FALSE);
    ST(ZwDuplicateObject(NtCurrentProcess(), event, NtCurrentProcess(), &copy, 0, OBJ_KERNEL_HANDLE, DUPLICATE_SAME_ACCESS), STATUS_SUCCESS, "nt_kr_45_a_handle_is_duplicated");
    OK(copy != event && ObIsKernelHandle(copy), "nt_kr_45_it_is_another_handle");
    ZwSetEvent(copy, NULL);
    OK(IsSet(event), "nt_kr_45_to_the_same_object");
    ZwClose(copy);
    ST(ZwDuplicateObject(NtCurrentProcess(), event, NtCurrentProcess(), &copy, SYNCHRONIZE, OBJ_KERNEL_HANDLE, 0), STATUS_SUCCESS, "nt_kr_45_with_less_access");
    ST(ObReferenceObjectByHandle(copy, 0, *ExEventObjectType, KernelMode, (PVOID *)&same, &information), STATUS_SUCCESS, "nt_kr_45_it_can_be_referenced");
    EQ(information.GrantedAccess, SYNCHRONIZE, "nt_kr_45_its_own_access");
    ObDereferenceObject(same);
    ST(ZwDuplicateObject(NtCurrentProcess(), copy, NULL, NULL, 0, 0, DUPLICATE_CLOSE_SOURCE), STATUS_SUCCESS, "nt_kr_45_the_source_may_be_closed_only");
    ST(ZwClose(copy), STATUS_INVALID_HANDLE, "nt_kr_45_and_is_gone_then");
    ST(ZwDuplicateObject(NtCurrentProcess(), (HANDLE)0xFFFFFFFF80FFFFF0, NtCurrentProcess(), &copy, 0, 0, 2), STATUS_INVALID_HANDLE, "nt_kr_45_of_a_handle_that_is_none");

    ObReferenceObjectByHandle(event, 0, *ExEventObjectType, KernelMode, (PVOID *)&object, NULL);
    ST(ObOpenObjectByPointer(object, OBJ_KERNEL_HANDLE, NULL, EVENT_ALL_ACCESS, *ExEventObjectType, KernelMode, &copy), STATUS_SUCCESS, "nt_kr_46_a_pointer_gives_a_handle");
    ZwClearEvent(copy);
    OK(!IsSet(event), "nt_kr_46_to_the_object_itself");
    ZwClose(copy);
    ST(ObOpenObjectByPointer(object, OBJ_KERNEL_HANDLE, NULL, 0, *IoFileObjectType, KernelMode, &copy), STATUS_OBJECT_TYPE_MISMATCH, "nt_kr_46_of_its_own_type_only");
    ObDereferenceObject(object);
    ZwClose(event);

    RtlInitUnicodeString(&name, L"\\DosDevices\\RoomLink");
    RtlInitUnicodeString(&target, L"\\Device\\Rooms");
    ST(IoCreateSymbolicLink(&name, &target), STATUS_SUCCESS, "nt_kr_44_a_link_is_made");
    ST(IoCreateSymbolicLink(&name, &target), STATUS_OBJECT_NAME_COLLISION, "nt_kr_44_once");
    RtlInitUnicodeString(&text, L"\\??\\roomlink");
    InitializeObjectAttributes(&attributes, &text, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL, NULL);
    ST(ZwOpenSymbolicLinkObject(&link, GENERIC_READ, &attributes), STATUS_SUCCESS, "nt_kr_44_a_link_is_opened");
    text.Buffer = buffer;
    text.Length = 0;
    text.MaximumLength = 4;
    ST(ZwQuerySymbolicLinkObject(link, &text, &length), STATUS_BUFFER_TOO_SMALL, "nt_kr_44_its_target_does_not_fit");
    EQ(length, target.Length, "nt_kr_44_the_length_is_told");
    text.MaximumLength = sizeof(buffer);
    ST(ZwQuerySymbolicLinkObject(link, &text, &length), STATUS_SUCCESS, "nt_kr_44_its_target_is_told");
    OK(RtlEqualUnicodeString(&text, &target, FALSE), "nt_kr_44_as_it_was_made");
    ZwClose(link);
    ST(IoDeleteSymbolicLink(&name), STATUS_SUCCESS, "nt_kr_44_a_link_is_deleted");
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE, NULL, NULL);
    ST(ZwOpenSymbolicLinkObject(&link, GENERIC_READ, &attributes), STATUS_OBJECT_NAME_NOT_FOUND, "nt_kr_44_and_not_found_then");
    InitializeObjectAttributes(&attributes, &target, OBJ_KERNEL_HANDLE, NULL, NULL);
    ST(ZwOpenSymbolicLinkObject(&link, GENERIC_READ, &attributes), STATUS_OBJECT_TYPE_MISMATCH, "nt_kr_44_a_device_is_no_link");
}

static VOID NTAPI Unload(PDRIVER_OBJECT DriverObject)
{
    IoDeleteDevice(DriverObject->DeviceObject);
}

DRIVER_INITIALIZE DriverEntry;

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING name;
    UNREFERENCED_PARAMETER(RegistryPath);
    DriverObject->DriverUnload = Unload;
    RtlInitUnicodeString(&name, L"\\Device\\Rooms");
    IoCreateDevice(DriverObject, 0, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);
    Device->Flags &= ~DO_DEVICE_INITIALIZING;
    Threads();
    Apcs();
    WorkItems();
    WaitsByHandle();
    Handles();
    return STATUS_SUCCESS;
}
