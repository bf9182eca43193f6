/*
 * t_irp: the life of a packet as a driver sees it: allocation, stack locations, completion routines, cancelling, attached
 * devices, builders, events by handle, and what arrives when a file is opened and closed. Its own two devices do the work.
 */
#include <ntddk.h>
#include "t.h"

#define KEPT ((NTSTATUS)0x0EADBEEF)

DRIVER_INITIALIZE DriverEntry;

/* What the lower device does with a packet. */
typedef enum { Complete, Keep, KeepCancelable, MarkAndComplete } PLAN;

typedef struct { BOOLEAN Upper; BOOLEAN Skip; } EXTENSION;

static PDEVICE_OBJECT Lower, Upper;
static PLAN Plan;
static NTSTATUS Final, Returned;
static ULONG_PTR Information;
static PIRP Met, Kept;
static PIO_STACK_LOCATION MetStack;
static PDEVICE_OBJECT MetDevice, LocationDevice;
static CHAR MetLocation;
static KIRQL CancelLevel;
static LONG Cancels;
static PFILE_OBJECT Created, Cleaned, Closed;
static PVOID CreatedContext;
static LONG Creates, Cleanups, Closes;

/* What completion routines saw, in the order of their calls. */
typedef struct { PDEVICE_OBJECT Device; PVOID Context; NTSTATUS Status; BOOLEAN Pending; CHAR Location; UCHAR Control; } SEEN;
static SEEN Seen[4];
static LONG SeenCount;
static NTSTATUS Answer;
static BOOLEAN Propagate;

static NTSTATUS NTAPI Routine(PDEVICE_OBJECT Device, PIRP Irp, PVOID Context)
{
    SEEN *seen = &Seen[SeenCount++ & 3];
    seen->Device = Device;
    seen->Context = Context;
    seen->Status = Irp->IoStatus.Status;
    seen->Pending = Irp->PendingReturned;
    seen->Location = Irp->CurrentLocation;
    /* The location below the current one is the one that completed. */
    seen->Control = (IoGetCurrentIrpStackLocation(Irp) - 1)->Control;
    if (Propagate && Irp->PendingReturned) IoMarkIrpPending(Irp);
    return Answer;
}

static VOID NTAPI Cancel(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    CancelLevel = KeGetCurrentIrql();
    Cancels++;
    IoReleaseCancelSpinLock(Irp->CancelIrql);
    Irp->IoStatus.Status = STATUS_CANCELLED;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
}

static NTSTATUS NTAPI OpenClose(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
    UNREFERENCED_PARAMETER(Device);
    if (stack->MajorFunction == IRP_MJ_CREATE) {
        Creates++;
        Created = stack->FileObject;
        CreatedContext = stack->FileObject->FsContext;
        stack->FileObject->FsContext = &Creates;
    } else if (stack->MajorFunction == IRP_MJ_CLEANUP) {
        Cleanups++;
        Cleaned = stack->FileObject;
    } else {
        Closes++;
        Closed = stack->FileObject;
    }
    Irp->IoStatus.Status = STATUS_SUCCESS;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI Dispatch(PDEVICE_OBJECT Device, PIRP Irp)
{
    EXTENSION *extension = Device->DeviceExtension;
    NTSTATUS returned = Returned;
    if (extension->Upper) {
        if (extension->Skip) {
            IoSkipCurrentIrpStackLocation(Irp);
        } else {
            IoCopyCurrentIrpStackLocationToNext(Irp);
            IoSetCompletionRoutine(Irp, Routine, (PVOID)0x55, TRUE, TRUE, TRUE);
        }
        return IoCallDriver(Lower, Irp);
    }
    Met = Irp;
    MetDevice = Device;
    MetLocation = Irp->CurrentLocation;
    MetStack = IoGetCurrentIrpStackLocation(Irp);
    LocationDevice = MetStack->DeviceObject;
    Irp->IoStatus.Status = Final;
    Irp->IoStatus.Information = Information;
    switch (Plan) {
    case Complete:
        IoCompleteRequest(Irp, IO_NO_INCREMENT);
        return returned;
    case MarkAndComplete:
        IoMarkIrpPending(Irp);
        IoCompleteRequest(Irp, IO_NO_INCREMENT);
        return STATUS_PENDING;
    case KeepCancelable:
        IoSetCancelRoutine(Irp, Cancel);
        break;
    case Keep:
        break;
    }
    Irp->IoStatus.Status = 0;
    Irp->IoStatus.Information = 0;
    IoMarkIrpPending(Irp);
    Kept = Irp;
    return STATUS_PENDING;
}

static VOID Reset(PLAN Do, NTSTATUS Status)
{
    RtlZeroMemory(Seen, sizeof(Seen));
    SeenCount = 0;
    Answer = STATUS_CONTINUE_COMPLETION;
    Propagate = TRUE;
    Plan = Do;
    Final = Returned = Status;
    Information = 0;
    Met = Kept = NULL;
}

static PIRP Packet(CCHAR Locations, UCHAR Major)
{
    PIRP irp = IoAllocateIrp(Locations, FALSE);
    IoGetNextIrpStackLocation(irp)->MajorFunction = Major;
    return irp;
}

static VOID TestAllocation(VOID)
{
    PIRP irp = IoAllocateIrp(3, FALSE);
    UCHAR flags = irp->AllocationFlags;
    EQ(irp->Type, 6, "nt_m_01_the_type_of_a_packet");
    EQ(irp->StackCount, 3, "nt_m_01_as_many_locations_as_asked");
    EQ(irp->CurrentLocation, 4, "nt_m_01_a_new_packet_stands_one_above_its_locations");
    OK((flags & 4) != 0, "nt_m_01_of_a_fixed_size");
    EQ(irp->Size, 0xD0 + 3 * 0x48, "nt_m_01_the_size_of_packet_and_locations");
    EQ((PUCHAR)IoGetNextIrpStackLocation(irp) - (PUCHAR)irp, 0xD0 + 2 * 0x48, "nt_m_01_location_k_is_at_d0_and_k_minus_one_times_48");
    IoSetNextIrpStackLocation(irp);
    irp->IoStatus.Information = 7;
    irp->Cancel = TRUE;
    IoReuseIrp(irp, STATUS_NOT_SUPPORTED);
    EQ(irp->CurrentLocation, 4, "nt_m_02_a_reused_packet_stands_at_the_top");
    EQ(irp->AllocationFlags, flags, "nt_m_02_with_its_allocation_flags");
    ST(irp->IoStatus.Status, STATUS_NOT_SUPPORTED, "nt_m_02_and_the_status_given");
    OK(!irp->Cancel && irp->IoStatus.Information == 0, "nt_m_02_and_nothing_else_of_before");
    IoFreeIrp(irp);
}

static VOID TestBuilders(VOID)
{
    IO_STATUS_BLOCK iosb;
    KEVENT event;
    PIRP irp;
    PIO_STACK_LOCATION next;
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    iosb.Status = 0x55555555;
    iosb.Information = 0x55;
    irp = IoBuildAsynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, Upper, NULL, 0, NULL, &iosb);
    next = IoGetNextIrpStackLocation(irp);
    OK(irp->UserIosb == &iosb && irp->UserEvent == NULL, "nt_m_03_an_asynchronous_packet_has_the_block_and_no_event");
    OK(!irp->Cancel && irp->CancelRoutine == NULL, "nt_m_03_it_is_not_cancelled");
    OK(irp->Tail.Overlay.Thread == PsGetCurrentThread(), "nt_m_03_it_is_of_this_thread");
    EQ(irp->CurrentLocation, Upper->StackSize + 1, "nt_m_03_it_has_the_locations_of_the_device");
    EQ(next->MajorFunction, IRP_MJ_FLUSH_BUFFERS, "nt_m_03_the_next_location_has_the_function");
    OK(next->DeviceObject == NULL && next->FileObject == NULL && next->CompletionRoutine == NULL, "nt_m_03_and_nothing_else");
    OK(irp->IoStatus.Status == 0 && irp->IoStatus.Information == 0, "nt_m_03_its_own_status_is_zero");
    EQ(iosb.Status, 0x55555555, "nt_m_03_the_block_is_not_touched_yet");
    IoFreeIrp(irp);

    irp = IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, Upper, NULL, 0, NULL, &event, &iosb);
    OK(irp->UserEvent == &event && irp->UserIosb == &iosb, "nt_m_03_a_synchronous_packet_has_the_event_too");
    Reset(Keep, STATUS_SUCCESS);
    Answer = STATUS_CONTINUE_COMPLETION;
    ST(IoCallDriver(Upper, irp), STATUS_PENDING, "nt_m_10_the_dispatch_routine_keeps_the_packet");
    EQ(irp->CurrentLocation, 1, "nt_m_10_it_stands_at_the_bottom");
    OK(!irp->PendingReturned && irp->IoStatus.Status == 0 && irp->IoStatus.Information == 0, "nt_m_10_with_nothing_said_yet");
    OK(iosb.Status == 0x55555555 && KeReadStateEvent(&event) == 0, "nt_m_10_nor_to_its_builder");
    irp->IoStatus.Status = STATUS_SUCCESS;
    irp->IoStatus.Information = 3;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    OK(iosb.Status == STATUS_SUCCESS && iosb.Information == 3, "nt_m_10_completion_writes_the_block");
    OK(KeReadStateEvent(&event) != 0, "nt_m_10_and_signals_the_event");
}

static VOID TestCalls(VOID)
{
    PIRP irp = Packet(1, IRP_MJ_WRITE);
    PIO_STACK_LOCATION next = IoGetNextIrpStackLocation(irp);
    Reset(Complete, STATUS_SUCCESS);
    Returned = KEPT;
    ST(IoCallDriver(Lower, irp), KEPT, "nt_m_04_a_call_returns_what_the_dispatch_routine_returned");
    OK(MetDevice == Lower && LocationDevice == Lower, "nt_m_04_the_location_names_the_target");
    OK(MetLocation == 1 && MetStack == next, "nt_m_04_one_location_down");
    IoFreeIrp(irp);

    /* A driver that completes at once. */
    irp = Packet(1, IRP_MJ_WRITE);
    Reset(Complete, STATUS_DEVICE_NOT_READY);
    ST(IoCallDriver(Lower, irp), STATUS_DEVICE_NOT_READY, "nt_m_18_what_completes_at_once_returns_its_status");
    ST(irp->IoStatus.Status, STATUS_DEVICE_NOT_READY, "nt_m_18_the_same_as_in_the_packet");
    IoFreeIrp(irp);
}

static VOID Through(PLAN Do, NTSTATUS Status, BOOLEAN Success, BOOLEAN Error, BOOLEAN OnCancel, BOOLEAN Cancelled, LONG Calls, PCSTR Name)
{
    PIRP irp = Packet(2, IRP_MJ_WRITE);
    Reset(Do, Status);
    Answer = STATUS_MORE_PROCESSING_REQUIRED;
    IoSetCompletionRoutine(irp, Routine, (PVOID)0x77, Success, Error, OnCancel);
    if (Cancelled) IoCancelIrp(irp);
    IoCallDriver(Lower, irp);
    EQ(SeenCount, Calls, Name);
    IoFreeIrp(irp);
}

static VOID TestRoutines(VOID)
{
    PIRP irp;
    NTSTATUS status;
    Through(Complete, STATUS_SUCCESS, TRUE, FALSE, FALSE, FALSE, 1, "nt_m_06_a_routine_for_success_runs_on_success");
    Through(Complete, STATUS_SUCCESS, FALSE, TRUE, TRUE, FALSE, 0, "nt_m_06_one_for_errors_and_cancel_does_not");
    Through(Complete, STATUS_DISK_FULL, FALSE, TRUE, FALSE, FALSE, 1, "nt_m_06_a_routine_for_errors_runs_on_errors");
    Through(Complete, STATUS_DISK_FULL, TRUE, FALSE, TRUE, FALSE, 0, "nt_m_06_one_for_success_and_cancel_does_not");
    Through(Complete, STATUS_BUFFER_OVERFLOW, FALSE, TRUE, FALSE, FALSE, 1, "nt_m_06_a_warning_is_no_success");
    Through(Complete, STATUS_SUCCESS, FALSE, FALSE, TRUE, TRUE, 1, "nt_m_06_a_routine_for_cancel_runs_when_the_packet_is_cancelled");
    Through(Complete, STATUS_CANCELLED, FALSE, TRUE, FALSE, TRUE, 1, "nt_m_06_cancelled_is_an_error");
    Through(Complete, STATUS_CANCELLED, TRUE, FALSE, FALSE, TRUE, 0, "nt_m_06_with_success_only_a_cancelled_packet_calls_nobody");

    /* Two levels: the upper device's routine, then the originator's. */
    irp = Packet(3, IRP_MJ_WRITE);
    Reset(Complete, STATUS_SUCCESS);
    IoSetNextIrpStackLocation(irp);
    IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_WRITE;
    IoSetCompletionRoutine(irp, Routine, (PVOID)0x99, TRUE, TRUE, TRUE);
    IoCallDriver(Upper, irp);
    EQ(SeenCount, 2, "nt_m_05_both_routines_run");
    OK(Seen[0].Context == (PVOID)0x55 && Seen[1].Context == (PVOID)0x99, "nt_m_05_from_the_bottom_up");
    OK(Seen[0].Device == Upper && Seen[0].Location == 2, "nt_m_05_with_the_device_and_location_of_the_one_that_set_it");
    OK(Seen[1].Device == NULL && Seen[1].Location == 3, "nt_m_05_and_no_device_for_the_originator");
    OK(Seen[0].Control == 0 && Seen[1].Control == 0, "nt_m_05_the_completed_location_has_no_control_bits_left");
    IoFreeIrp(irp);

    /* Pending marks. */
    irp = Packet(2, IRP_MJ_WRITE);
    Reset(MarkAndComplete, STATUS_SUCCESS);
    Answer = STATUS_MORE_PROCESSING_REQUIRED;
    IoSetCompletionRoutine(irp, Routine, NULL, TRUE, TRUE, TRUE);
    ST(IoCallDriver(Lower, irp), STATUS_PENDING, "nt_m_05_a_marked_packet_returns_pending");
    OK(SeenCount == 1 && Seen[0].Pending, "nt_m_05_the_mark_of_the_completed_location_is_seen");
    IoFreeIrp(irp);

    irp = Packet(3, IRP_MJ_WRITE);
    Reset(MarkAndComplete, STATUS_SUCCESS);
    ((EXTENSION *)Upper->DeviceExtension)->Skip = FALSE;
    Propagate = FALSE;
    IoSetNextIrpStackLocation(irp);
    IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_WRITE;
    IoSetCompletionRoutine(irp, Routine, NULL, TRUE, TRUE, TRUE);
    IoCallDriver(Upper, irp);
    OK(SeenCount == 2 && Seen[0].Pending && !Seen[1].Pending, "nt_m_07_a_routine_that_does_not_mark_loses_the_mark");
    IoFreeIrp(irp);

    /* The middle level has no routine that is called: the mark goes up by itself. */
    irp = Packet(3, IRP_MJ_WRITE);
    Reset(MarkAndComplete, STATUS_SUCCESS);
    Propagate = FALSE;
    Answer = STATUS_MORE_PROCESSING_REQUIRED;
    IoSetCompletionRoutine(irp, Routine, (PVOID)0x33, TRUE, TRUE, TRUE);
    IoSetNextIrpStackLocation(irp);
    IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_WRITE;
    IoSetCompletionRoutine(irp, Routine, (PVOID)0x44, FALSE, TRUE, FALSE);
    IoCallDriver(Lower, irp);
    OK(SeenCount == 1 && Seen[0].Context == (PVOID)0x33 && Seen[0].Pending, "nt_m_07_without_a_routine_the_mark_goes_up_by_itself");
    IoFreeIrp(irp);

    /* MORE_PROCESSING_REQUIRED stops the walk; completing again resumes it above. */
    irp = Packet(3, IRP_MJ_WRITE);
    Reset(Complete, STATUS_SUCCESS);
    Answer = STATUS_MORE_PROCESSING_REQUIRED;
    IoSetNextIrpStackLocation(irp);
    IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_WRITE;
    IoSetCompletionRoutine(irp, Routine, (PVOID)0x99, TRUE, TRUE, TRUE);
    status = IoCallDriver(Upper, irp);
    OK(status == STATUS_SUCCESS && SeenCount == 1, "nt_m_08_more_processing_required_stops_the_walk");
    Answer = (NTSTATUS)0x12345678;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    OK(SeenCount == 2 && Seen[1].Context == (PVOID)0x99, "nt_m_08_completing_again_goes_on_above");
    EQ(irp->CurrentLocation, 4, "nt_m_08_and_any_other_answer_goes_on_to_the_top");
    IoFreeIrp(irp);

    EQ(STATUS_CONTINUE_COMPLETION, 0, "nt_m_19_to_continue_is_success");
    EQ((ULONG)STATUS_MORE_PROCESSING_REQUIRED, 0xC0000016, "nt_m_19_to_stop_is_more_processing_required");
    irp = Packet(1, IRP_MJ_WRITE);
    Reset(Complete, STATUS_SUCCESS);
    IoSetCompletionRoutine(irp, Routine, (PVOID)0x11, TRUE, TRUE, TRUE);
    IoCallDriver(Lower, irp);
    OK(SeenCount == 1 && Seen[0].Context == (PVOID)0x11 && Seen[0].Device == NULL, "nt_m_19_an_allocator_sets_its_routine_in_the_next_location");
    IoFreeIrp(irp);

    /* Skip and copy. */
    irp = Packet(2, IRP_MJ_WRITE);
    IoGetNextIrpStackLocation(irp)->Parameters.Write.Length = 0x42;
    Reset(Complete, STATUS_SUCCESS);
    Answer = STATUS_MORE_PROCESSING_REQUIRED;
    ((EXTENSION *)Upper->DeviceExtension)->Skip = TRUE;
    IoSetCompletionRoutine(irp, Routine, (PVOID)0x22, TRUE, TRUE, TRUE);
    IoCallDriver(Upper, irp);
    OK(MetLocation == 2 && MetStack->Parameters.Write.Length == 0x42, "nt_m_14_skip_reuses_the_location");
    OK(SeenCount == 1 && Seen[0].Context == (PVOID)0x22, "nt_m_14_with_the_routine_that_was_in_it");
    ((EXTENSION *)Upper->DeviceExtension)->Skip = FALSE;
    IoFreeIrp(irp);
    irp = Packet(2, IRP_MJ_WRITE);
    IoGetNextIrpStackLocation(irp)->Parameters.Write.Length = 0x43;
    IoSetCompletionRoutine(irp, Routine, (PVOID)0x22, TRUE, TRUE, TRUE);
    IoGetNextIrpStackLocation(irp)->Control |= SL_PENDING_RETURNED;
    IoSetNextIrpStackLocation(irp);
    IoCopyCurrentIrpStackLocationToNext(irp);
    OK(IoGetNextIrpStackLocation(irp)->Parameters.Write.Length == 0x43 && IoGetNextIrpStackLocation(irp)->MajorFunction == IRP_MJ_WRITE, "nt_m_14_copy_takes_the_parameters");
    OK(IoGetNextIrpStackLocation(irp)->CompletionRoutine == NULL && IoGetNextIrpStackLocation(irp)->Context == NULL && IoGetNextIrpStackLocation(irp)->Control == 0, "nt_m_14_but_no_routine_context_or_control");
    IoFreeIrp(irp);
}

static VOID TestCancel(VOID)
{
    PIRP irp = Packet(2, IRP_MJ_WRITE);
    Reset(KeepCancelable, STATUS_SUCCESS);
    Answer = STATUS_MORE_PROCESSING_REQUIRED;
    IoSetCompletionRoutine(irp, Routine, NULL, TRUE, TRUE, TRUE);
    IoCallDriver(Lower, irp);
    OK(!irp->Cancel && Cancels == 0 && SeenCount == 0, "nt_m_11_a_kept_packet_is_not_cancelled");
    OK(IoCancelIrp(irp), "nt_m_11_cancelling_finds_the_routine");
    OK(irp->Cancel && irp->CancelRoutine == NULL, "nt_m_11_sets_cancel_and_takes_the_routine");
    EQ(CancelLevel, DISPATCH_LEVEL, "nt_m_11_which_runs_at_dispatch_level");
    EQ(CancelLevel, DISPATCH_LEVEL, "nt_m_17_cancel_routines_run_at_dispatch_level");
    EQ(KeGetCurrentIrql(), PASSIVE_LEVEL, "nt_m_11_the_level_is_put_back_through_cancelirql");
    OK(Cancels == 1 && SeenCount == 1 && Seen[0].Status == STATUS_CANCELLED, "nt_m_11_and_ends_the_packet");
    OK(!IoCancelIrp(irp), "nt_m_11_a_second_call_finds_none");
    IoFreeIrp(irp);
    irp = Packet(2, IRP_MJ_WRITE);
    OK(!IoCancelIrp(irp) && irp->Cancel, "nt_m_11_without_a_routine_it_is_only_marked");
    IoFreeIrp(irp);
}

static VOID TestDevices(PDRIVER_OBJECT Driver)
{
    PDEVICE_OBJECT fresh = NULL, another = NULL;
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK iosb;
    HANDLE handle = NULL;
    EQ(Upper->StackSize, Lower->StackSize + 1, "nt_m_12_an_attached_device_has_one_location_more");
    OK(Lower->AttachedDevice == Upper, "nt_m_12_and_is_named_by_the_one_below");
    IoCreateDevice(Driver, sizeof(EXTENSION), NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &fresh);
    OK((fresh->Flags & DO_DEVICE_INITIALIZING) != 0, "nt_m_13_a_new_device_is_initialising");
    IoCreateDevice(Driver, sizeof(EXTENSION), NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &another);
    OK(IoAttachDeviceToDeviceStack(another, fresh) == NULL, "nt_m_13_nothing_attaches_to_it");
    fresh->Flags &= ~DO_DEVICE_INITIALIZING;
    OK(IoAttachDeviceToDeviceStack(fresh, Lower) == Upper, "nt_m_12_attaching_returns_the_former_top");
    OK(Upper->AttachedDevice == fresh, "nt_m_12_and_makes_a_new_one");
    EQ(fresh->StackSize, Lower->StackSize + 2, "nt_m_12_with_the_locations_of_all");
    IoDetachDevice(Upper);
    OK(Upper->AttachedDevice == NULL && Lower->AttachedDevice == Upper, "nt_m_12_detaching_clears_the_lower_device_only");
    IoDeleteDevice(another);
    IoDeleteDevice(fresh);

    RtlInitUnicodeString(&name, L"\\Device\\TIrp");
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL, NULL);
    Lower->Flags |= DO_DEVICE_INITIALIZING;
    OK(!NT_SUCCESS(ZwCreateFile(&handle, GENERIC_WRITE | SYNCHRONIZE, &attributes, &iosb, NULL, 0, 0, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0)), "nt_m_13_it_cannot_be_opened_by_name");
    Lower->Flags &= ~DO_DEVICE_INITIALIZING;
}

static VOID TestFile(VOID)
{
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK iosb;
    HANDLE handle = NULL;
    PFILE_OBJECT file = NULL;
    RtlInitUnicodeString(&name, L"\\Device\\TIrp");
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL, NULL);
    ((EXTENSION *)Upper->DeviceExtension)->Skip = TRUE;
    ST(ZwCreateFile(&handle, GENERIC_WRITE | SYNCHRONIZE, &attributes, &iosb, NULL, 0, 0, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0), STATUS_SUCCESS, "nt_m_20_the_device_opens");
    OK(Creates == 1 && Created != NULL && CreatedContext == NULL, "nt_m_20_create_sees_a_new_file_object");
    ST(ObReferenceObjectByHandle(handle, 0, *IoFileObjectType, KernelMode, (PVOID *)&file, NULL), STATUS_SUCCESS, "nt_m_20_it_is_the_one_of_the_handle");
    OK(file == Created, "nt_m_20_it_is_the_same_object");
    OK(IoGetRelatedDeviceObject(file) == Upper && file->DeviceObject == Lower, "nt_m_12_the_related_device_is_the_top_of_the_stack");
    OK(Cleanups == 0 && Closes == 0, "nt_m_20_an_open_file_is_not_cleaned_up");
    ZwClose(handle);
    OK(Cleanups == 1 && Cleaned == file && Closes == 0, "nt_m_20_cleanup_comes_with_the_last_handle");
    ObDereferenceObject(file);
    OK(Cleanups == 1 && Closes == 1 && Closed == Created, "nt_m_20_close_with_the_last_reference");
    ((EXTENSION *)Upper->DeviceExtension)->Skip = FALSE;
}

static VOID TestLevels(VOID)
{
    PIRP irp = Packet(2, IRP_MJ_WRITE);
    KIRQL was;
    Reset(Keep, STATUS_SUCCESS);
    Answer = STATUS_MORE_PROCESSING_REQUIRED;
    IoSetCompletionRoutine(irp, Routine, NULL, TRUE, TRUE, TRUE);
    KeRaiseIrql(DISPATCH_LEVEL, &was);
    ST(IoCallDriver(Lower, irp), STATUS_PENDING, "nt_m_17_a_packet_may_be_sent_at_dispatch_level");
    irp->IoStatus.Status = STATUS_SUCCESS;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    KeLowerIrql(was);
    EQ(SeenCount, 1, "nt_m_17_and_completed_there");
    IoFreeIrp(irp);
}

static VOID TestEvents(VOID)
{
    HANDLE handle = NULL;
    PKEVENT event = IoCreateNotificationEvent(NULL, &handle);
    OK(event != NULL && KeReadStateEvent(event) != 0, "nt_m_15_a_new_notification_event_is_signalled");
    OK(((LONG)(ULONG_PTR)handle & 0x80000000) != 0, "nt_m_15_its_handle_is_a_kernel_handle");
    ST(KeWaitForSingleObject(event, Executive, KernelMode, FALSE, NULL), STATUS_SUCCESS, "nt_m_15_it_can_be_waited_for");
    OK(KeReadStateEvent(event) != 0, "nt_m_15_and_stays_signalled");
    ZwClose(handle);
    event = IoCreateSynchronizationEvent(NULL, &handle);
    OK(event != NULL && KeReadStateEvent(event) != 0, "nt_m_15_a_new_synchronization_event_is_signalled");
    OK(((LONG)(ULONG_PTR)handle & 0x80000000) != 0, "nt_m_15_its_handle_too");
    ST(KeWaitForSingleObject(event, Executive, KernelMode, FALSE, NULL), STATUS_SUCCESS, "nt_m_15_a_wait_takes_it");
    OK(KeReadStateEvent(event) == 0, "nt_m_15_and_resets_it");
    ZwClose(handle);
}

/* The routines that the NtWriteFile page points to, used together. */
static VOID TestHelpers(VOID)
{
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK iosb;
    HANDLE handle = NULL;
    KEVENT event;
    FILE_POSITION_INFORMATION position;
    FILE_STANDARD_INFORMATION standard;
    CHAR buffer[8];
    KeInitializeEvent(&event, SynchronizationEvent, TRUE);
    OK(event.Header.Type == SynchronizationEvent && KeReadStateEvent(&event) == 1, "nt_e_09_keinitializeevent");
    RtlInitUnicodeString(&name, L"\\??\\C:\\helpers.txt");
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL, NULL);
    ST(ZwCreateFile(&handle, GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, &attributes, &iosb, NULL, FILE_ATTRIBUTE_NORMAL, 0, FILE_CREATE, FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0), STATUS_SUCCESS, "nt_e_09_zwcreatefile_creates");
    EQ(iosb.Information, FILE_CREATED, "nt_e_09_zwcreatefile_says_so");
    ST(ZwWriteFile(handle, NULL, NULL, NULL, &iosb, "helpers", 7, NULL, NULL), STATUS_SUCCESS, "nt_e_09_zwwritefile");
    ST(ZwQueryInformationFile(handle, &iosb, &standard, sizeof(standard), FileStandardInformation), STATUS_SUCCESS, "nt_e_09_zwqueryinformationfile");
    EQ(standard.EndOfFile.QuadPart, 7, "nt_e_09_zwqueryinformationfile_knows_the_size");
    position.CurrentByteOffset.QuadPart = 4;
    ST(ZwSetInformationFile(handle, &iosb, &position, sizeof(position), FilePositionInformation), STATUS_SUCCESS, "nt_e_09_zwsetinformationfile");
    RtlZeroMemory(buffer, sizeof(buffer));
    ST(ZwReadFile(handle, NULL, NULL, NULL, &iosb, buffer, sizeof(buffer), NULL, NULL), STATUS_SUCCESS, "nt_e_09_zwreadfile");
    OK(iosb.Information == 3 && RtlEqualMemory(buffer, "ers", 3), "nt_e_09_zwreadfile_reads_from_the_position");
    ZwClose(handle);
}

static VOID NTAPI Unload(PDRIVER_OBJECT DriverObject)
{
    UNREFERENCED_PARAMETER(DriverObject);
    IoDetachDevice(Lower);
    IoDeleteDevice(Upper);
    IoDeleteDevice(Lower);
    DbgPrint("t_irp: unloaded\n");
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING name;
    ULONG major;
    UNREFERENCED_PARAMETER(RegistryPath);
    for (major = 0; major <= IRP_MJ_MAXIMUM_FUNCTION; major++) DriverObject->MajorFunction[major] = Dispatch;
    DriverObject->MajorFunction[IRP_MJ_CREATE] = OpenClose;
    DriverObject->MajorFunction[IRP_MJ_CLEANUP] = OpenClose;
    DriverObject->MajorFunction[IRP_MJ_CLOSE] = OpenClose;
    DriverObject->DriverUnload = Unload;
    RtlInitUnicodeString(&name, L"\\Device\\TIrp");
    if (!NT_SUCCESS(IoCreateDevice(DriverObject, sizeof(EXTENSION), &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &Lower))) return STATUS_UNSUCCESSFUL;
    if (!NT_SUCCESS(IoCreateDevice(DriverObject, sizeof(EXTENSION), NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &Upper))) return STATUS_UNSUCCESSFUL;
    ((EXTENSION *)Upper->DeviceExtension)->Upper = TRUE;
    Lower->Flags &= ~DO_DEVICE_INITIALIZING;
    Upper->Flags &= ~DO_DEVICE_INITIALIZING;
    OK(IoAttachDeviceToDeviceStack(Upper, Lower) == Lower, "nt_m_12_attaching_to_a_lone_device_returns_it");
    TestAllocation();
    TestBuilders();
    TestCalls();
    TestRoutines();
    TestCancel();
    TestDevices(DriverObject);
    TestFile();
    TestLevels();
    TestEvents();
    TestHelpers();
    return STATUS_SUCCESS;
}
