/*
 * t_avs: an AVStream driver. Its first filter works pin by pin (0 takes data, 1 gives data, 2 takes data and never gets to RUN); its
 * second one is filter-centric, with one input. What is called is told by DbgPrint; how the pins behave is chosen by a property.
 */
#include <initguid.h>
#include <ntddk.h>
#include <ks.h>
#include <ksmedia.h>
#include "t.h"

DEFINE_GUID(T_SET, 0x5D1F7A10, 0x0001, 0x4B53, 0xA1, 0x01, 0x6E, 0x74, 0x69, 0x6F, 0x00, 0x01);
DEFINE_GUID(T_METHODS, 0x5D1F7A10, 0x0002, 0x4B53, 0xA1, 0x01, 0x6E, 0x74, 0x69, 0x6F, 0x00, 0x02);
DEFINE_GUID(T_EVENTS, 0x5D1F7A10, 0x0005, 0x4B53, 0xA1, 0x01, 0x6E, 0x74, 0x69, 0x6F, 0x00, 0x05);
DEFINE_GUID(T_FILTER, 0x5D1F7A10, 0x0003, 0x4B53, 0xA1, 0x01, 0x6E, 0x74, 0x69, 0x6F, 0x00, 0x03);
DEFINE_GUID(T_CENTRIC, 0x5D1F7A10, 0x0004, 0x4B53, 0xA1, 0x01, 0x6E, 0x74, 0x69, 0x6F, 0x00, 0x04);

#define TAG 'svaT'
enum { MODE_TAKE, MODE_PIECES, MODE_CLONE, MODE_STUCK, MODE_LOCK, MODE_FAIL, MODE_IDLE };

typedef struct {
    ULONG Mode;
    ULONG Bytes;
    ULONG Sum;
    ULONG Calls;
} STATE;

static STATE *Of(PKSPIN Pin)
{
    return Pin->Context;
}

static VOID NTAPI ItemGone(PVOID Item)
{
    DbgPrint("bag item %d freed\n", (int)*(ULONG *)Item);
    ExFreePoolWithTag(Item, TAG);
}

/* KS-AV-04, KS-AV-05: bags. */
static VOID TestBags(PKSDEVICE Device)
{
    KSOBJECT_BAG one = NULL, two = NULL;
    ULONG *item = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(ULONG), TAG);
    static ULONG constant[2] = { 7, 8 };
    ULONG *edited = constant;
    if (item == NULL) return;
    *item = 1;
    ST(KsAllocateObjectBag(Device, &one), STATUS_SUCCESS, "ks_av_04_a_bag_is_made");
    ST(KsAllocateObjectBag(Device, &two), STATUS_SUCCESS, "ks_av_04_and_another");
    EQ(KsRemoveItemFromObjectBag(one, item, FALSE), 0, "ks_av_04_an_item_that_is_in_no_bag");
    ST(KsAddItemToObjectBag(one, item, ItemGone), STATUS_SUCCESS, "ks_av_04_an_item_goes_in");
    ST(KsCopyObjectBagItems(two, one), STATUS_SUCCESS, "ks_av_04_items_are_copied");
    EQ(KsRemoveItemFromObjectBag(one, item, TRUE), 2, "ks_av_04_an_item_of_two_bags_is_not_freed");
    EQ(*item, 1, "ks_av_04_it_is_still_there");
    KsFreeObjectBag(one);
    KsFreeObjectBag(two); /* prints: bag item 1 freed */
    ST(KsAllocateObjectBag(Device, &one), STATUS_SUCCESS, "ks_av_05_a_bag_for_edits");
    ST(_KsEdit(one, (PVOID *)&edited, sizeof(constant), sizeof(constant), TAG), STATUS_SUCCESS, "ks_av_05_a_constant_is_edited");
    OK(edited != constant && edited[0] == 7 && edited[1] == 8, "ks_av_05_in_a_copy");
    item = edited;
    ST(_KsEdit(one, (PVOID *)&edited, sizeof(constant), sizeof(constant), TAG), STATUS_SUCCESS, "ks_av_05_an_item_of_the_bag_is_edited");
    OK(edited == item, "ks_av_05_in_place");
    ST(_KsEdit(one, (PVOID *)&edited, 64, sizeof(constant), TAG), STATUS_SUCCESS, "ks_av_05_one_that_grows");
    OK(edited != item && edited[0] == 7 && edited[1] == 8 && edited[2] == 0 && edited[15] == 0, "ks_av_05_moves_and_ends_in_zeros");
    KsFreeObjectBag(one);
}

static NTSTATUS NTAPI DeviceAdd(PKSDEVICE Device)
{
    DbgPrint("device add, started %d\n", Device->Started);
    Device->Context = (PVOID)0x1111;
    return STATUS_SUCCESS;
}

static const KSFILTER_DESCRIPTOR CentricFilter;

static NTSTATUS NTAPI DeviceStart(PKSDEVICE Device, PIRP Irp, PVOID Translated, PVOID Untranslated)
{
    PKSFILTERFACTORY factory = NULL;
    UNREFERENCED_PARAMETER(Irp);
    UNREFERENCED_PARAMETER(Translated);
    UNREFERENCED_PARAMETER(Untranslated);
    DbgPrint("device start, started %d\n", Device->Started);
    OK(KsGetDeviceForDeviceObject(Device->FunctionalDeviceObject) == Device, "ks_av_02_the_device_object_leads_to_the_device");
    OK(Device->NextDeviceObject != NULL && Device->PhysicalDeviceObject != NULL, "ks_av_02_it_stands_on_the_physical_one");
    ST(KsCreateFilterFactory(Device->FunctionalDeviceObject, &CentricFilter, L"centric", NULL, 0, NULL, NULL, &factory), STATUS_SUCCESS,
        "ks_av_03_a_factory_with_a_reference_string");
    OK(factory != NULL && factory->FilterDescriptor == &CentricFilter && factory->Context == (PVOID)0x1111, "ks_av_03_with_the_devices_context");
    OK(KsGetParent(factory) == Device && KsGetDevice(factory) == Device, "ks_av_03_below_the_device");
    TestBags(Device);
    return STATUS_SUCCESS;
}

static VOID NTAPI DeviceRemove(PKSDEVICE Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Irp);
    DbgPrint("device remove, started %d\n", Device->Started);
}

static NTSTATUS NTAPI FilterCreate(PKSFILTER Filter, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Irp);
    DbgPrint("filter create, context %x\n", (ULONG)(ULONG_PTR)Filter->Context);
    Filter->Context = (PVOID)0x2222;
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI FilterClose(PKSFILTER Filter, PIRP Irp)
{
    OK(KsGetFilterFromIrp(Irp) == Filter, "ks_av_03_the_packet_leads_to_the_filter");
    DbgPrint("filter close\n");
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI PinCreate(PKSPIN Pin, PIRP Irp)
{
    STATE *state = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(STATE), TAG);
    UNREFERENCED_PARAMETER(Irp);
    if (state == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    DbgPrint("pin %d create, context %x, state %d %d, reset %d, header %d, format %d\n", (int)Pin->Id, (ULONG)(ULONG_PTR)Pin->Context,
        (int)Pin->DeviceState, (int)Pin->ClientState, (int)Pin->ResetState, (int)Pin->StreamHeaderSize, (int)Pin->ConnectionFormat->FormatSize);
    RtlZeroMemory(state, sizeof(*state));
    Pin->Context = state;
    OK(KsPinGetLeadingEdgeStreamPointer(Pin, KSSTREAM_POINTER_STATE_UNLOCKED) == NULL, "ks_st_08_a_stopped_pin_has_no_queue");
    ST(KsPinGetAvailableByteCount(Pin, NULL, NULL), STATUS_UNSUCCESSFUL, "ks_av_34_without_a_queue_there_is_no_count");
    return KsAddItemToObjectBag(Pin->Bag, state, ItemGone);
}

static NTSTATUS NTAPI PinClose(PKSPIN Pin, PIRP Irp)
{
    OK(KsGetPinFromIrp(Irp) == Pin && KsGetObjectTypeFromIrp(Irp) == KsObjectTypePin, "ks_av_03_the_packet_leads_to_the_pin");
    DbgPrint("pin %d close, state %d\n", (int)Pin->Id, (int)Pin->ClientState);
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI PinFormat(PKSPIN Pin, PKSDATAFORMAT Old, PKSMULTIPLE_ITEM OldAttributes, const KSDATARANGE *Range, const KSATTRIBUTE_LIST *AttributeRange)
{
    UNREFERENCED_PARAMETER(OldAttributes);
    UNREFERENCED_PARAMETER(AttributeRange);
    DbgPrint("pin %d format, old %d, new %d, range %d\n", (int)Pin->Id, Old != NULL ? (int)Old->SampleSize : -1,
        (int)Pin->ConnectionFormat->SampleSize, (int)Range->SampleSize);
    if (Pin->ConnectionFormat->SampleSize == 666) return STATUS_INVALID_DEVICE_STATE;
    /* The first range takes samples of one byte only. */
    return Range->SampleSize != 0 && Pin->ConnectionFormat->SampleSize != Range->SampleSize ? STATUS_NO_MATCH : STATUS_SUCCESS;
}

static NTSTATUS NTAPI PinState(PKSPIN Pin, KSSTATE To, KSSTATE From)
{
    PKSSTREAM_POINTER clone;
    DbgPrint("pin %d state %d from %d, device %d, client %d\n", (int)Pin->Id, (int)To, (int)From, (int)Pin->DeviceState, (int)Pin->ClientState);
    if (Pin->Id == 2 && To == KSSTATE_RUN) return STATUS_INVALID_DEVICE_STATE;
    if (To == KSSTATE_ACQUIRE && From == KSSTATE_STOP) {
        OK(KsPinGetLeadingEdgeStreamPointer(Pin, KSSTREAM_POINTER_STATE_UNLOCKED) != NULL, "ks_av_18_an_edge_without_a_frame_is_to_be_had_unlocked");
        OK(KsPinGetLeadingEdgeStreamPointer(Pin, KSSTREAM_POINTER_STATE_LOCKED) == NULL, "ks_av_18_and_not_locked");
        OK(KsPinGetTrailingEdgeStreamPointer(Pin, KSSTREAM_POINTER_STATE_UNLOCKED) == NULL, "ks_av_30_without_the_flag_there_is_no_trailing_edge");
        OK(KsPinGetFirstCloneStreamPointer(Pin) == NULL, "ks_av_27_there_is_no_clone_yet");
    }
    if (To == KSSTATE_STOP) {
        while ((clone = KsPinGetFirstCloneStreamPointer(Pin)) != NULL) KsStreamPointerDelete(clone);
    }
    return STATUS_SUCCESS;
}

static VOID NTAPI PinReset(PKSPIN Pin, KSRESET Reset)
{
    DbgPrint("pin %d reset %d, state %d\n", (int)Pin->Id, (int)Reset, (int)Pin->ResetState);
}

static VOID NTAPI CloneCancelled(PKSSTREAM_POINTER Clone)
{
    DbgPrint("clone cancelled, irql %d\n", (int)KeGetCurrentIrql());
    UNREFERENCED_PARAMETER(Clone);
}

static VOID Take(STATE *State, PUCHAR Data, ULONG Length)
{
    ULONG i;
    for (i = 0; i < Length; i++) State->Sum = State->Sum * 31 + Data[i];
    State->Bytes += Length;
}

/* The first frame of a stream is looked at closely. */
static VOID TestFirst(PKSPIN Pin, PKSSTREAM_POINTER Edge)
{
    BOOLEAN first = 9, last = 9;
    LONG in = -1, out = -1;
    OK(Edge->Pin == Pin && Edge->Offset == &Edge->OffsetIn, "ks_av_35_the_offset_of_an_input_pin");
    OK(Edge->OffsetIn.Count == Edge->StreamHeader->DataUsed && Edge->OffsetIn.Remaining == Edge->OffsetIn.Count, "ks_av_35_counts_the_data");
    OK(KsStreamPointerGetIrp(Edge, &first, &last) != NULL && first == TRUE, "ks_av_32_a_locked_pointer_has_its_packet");
    OK(KsStreamPointerGetMdl(Edge) != NULL, "ks_av_32_and_its_mdl");
    ST(KsPinGetAvailableByteCount(Pin, &in, &out), STATUS_SUCCESS, "ks_av_34_the_bytes_ahead_can_be_asked_for");
    OK(in >= (LONG)Edge->OffsetIn.Remaining && out == 0, "ks_av_34_and_are_those_of_the_queue");
    OK(KsGetParent(Pin) == KsPinGetParentFilter(Pin) && KsFilterGetFirstChildPin(KsPinGetParentFilter(Pin), Pin->Id) != NULL,
        "ks_av_03_a_pin_is_below_its_filter");
}

static NTSTATUS NTAPI SinkProcess(PKSPIN Pin)
{
    STATE *state = Of(Pin);
    PKSSTREAM_POINTER edge, clone = NULL;
    NTSTATUS status;
    state->Calls++;
    if (state->Mode == MODE_STUCK) return STATUS_SUCCESS;
    if (state->Mode == MODE_IDLE) return STATUS_PENDING;
    edge = KsPinGetLeadingEdgeStreamPointer(Pin, KSSTREAM_POINTER_STATE_LOCKED);
    if (edge == NULL) return STATUS_PENDING;
    EQ(KsPinGetAndGate(Pin)->Count, 0, "ks_av_15_the_gate_is_taken_while_a_pin_processes");
    if (state->Calls == 1) TestFirst(Pin, edge);
    switch (state->Mode) {
    case MODE_TAKE:
        Take(state, edge->OffsetIn.Data, edge->OffsetIn.Remaining);
        KsStreamPointerAdvanceOffsetsAndUnlock(edge, edge->OffsetIn.Remaining, 0, FALSE);
        if (state->Calls == 1) OK(KsStreamPointerGetIrp(edge, NULL, NULL) == NULL, "ks_av_32_an_unlocked_pointer_has_no_packet");
        break;
    case MODE_PIECES:
        while (TRUE) {
            ULONG piece = edge->OffsetIn.Remaining < 3 ? edge->OffsetIn.Remaining : 3;
            Take(state, edge->OffsetIn.Data, piece);
            status = KsStreamPointerAdvanceOffsets(edge, piece, 0, FALSE);
            if (status != STATUS_SUCCESS) break; /* the last frame is done, and the edge unlocked */
        }
        ST(status, STATUS_DEVICE_NOT_READY, "ks_av_22_behind_the_last_frame_there_is_none");
        ST(KsStreamPointerAdvanceOffsets(edge, 1, 0, FALSE), STATUS_DEVICE_NOT_READY, "ks_av_22_an_unlocked_pointer_does_not_advance");
        break;
    case MODE_CLONE:
        Take(state, edge->OffsetIn.Data, edge->OffsetIn.Remaining);
        ST(KsStreamPointerClone(edge, CloneCancelled, 16, &clone), STATUS_SUCCESS, "ks_av_25_a_pointer_is_cloned");
        if (clone != NULL) {
            OK(clone->StreamHeader == edge->StreamHeader && clone->OffsetIn.Data == edge->OffsetIn.Data, "ks_av_25_on_the_same_frame");
            OK(clone->Context == clone + 1 && *(ULONGLONG *)clone->Context == 0 && edge->Context == NULL, "ks_av_25_with_a_zeroed_context_of_its_own");
            KsStreamPointerUnlock(clone, FALSE);
        }
        ST(KsStreamPointerAdvance(edge), STATUS_DEVICE_NOT_READY, "ks_av_21_a_locked_pointer_finds_no_next_frame");
        ST(KsStreamPointerAdvance(edge), STATUS_SUCCESS, "ks_av_21_an_unlocked_one_always_succeeds");
        return STATUS_PENDING;
    case MODE_LOCK:
        return STATUS_PENDING; /* keeps the lock; property 2 drops it */
    case MODE_FAIL:
        ST(KsStreamPointerSetStatusCode(edge, STATUS_IO_DEVICE_ERROR), STATUS_SUCCESS, "ks_av_31_a_pointer_takes_a_status");
        KsStreamPointerUnlock(edge, TRUE);
        break;
    }
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI SourceProcess(PKSPIN Pin)
{
    STATE *state = Of(Pin);
    PKSSTREAM_POINTER edge = KsPinGetLeadingEdgeStreamPointer(Pin, KSSTREAM_POINTER_STATE_LOCKED);
    ULONG length, i;
    if (edge == NULL) return STATUS_PENDING;
    if (state->Calls++ == 0) {
        OK(edge->Offset == &edge->OffsetOut && edge->OffsetOut.Count == edge->StreamHeader->FrameExtent, "ks_av_35_the_offset_of_an_output_pin_counts_the_room");
    }
    length = edge->OffsetOut.Remaining < 10 ? edge->OffsetOut.Remaining : 10;
    for (i = 0; i < length; i++) edge->OffsetOut.Data[i] = (UCHAR)('a' + i);
    edge->StreamHeader->DataUsed = length;
    KsStreamPointerUnlock(edge, TRUE);
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI CentricProcess(PKSFILTER Filter, PKSPROCESSPIN_INDEXENTRY Index)
{
    PKSPROCESSPIN pin = Index[0].Pins[0];
    STATE *state = Of(pin->Pin);
    ULONG used = pin->BytesAvailable < 4 ? pin->BytesAvailable : 4;
    DbgPrint("centric process, %d pins, %d bytes, flags %x\n", (int)Index[0].Count, (int)pin->BytesAvailable, pin->Flags);
    OK(KsGetParent(pin->Pin) == Filter && pin->StreamPointer->OffsetIn.Data == pin->Data, "ks_av_13_a_process_pin_stands_for_a_pin");
    if (state->Mode == MODE_STUCK) {
        pin->Terminate = TRUE; /* the rest of the frame is not wanted */
        return STATUS_SUCCESS;
    }
    Take(state, pin->Data, used);
    pin->BytesUsed = used;
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI GetMode(PIRP Irp, PKSIDENTIFIER Request, PVOID Data)
{
    OK((ULONG_PTR)Data % 8 == 0 && (ULONG_PTR)Request % 8 == 0, "ks_pr_07_the_copies_are_aligned");
    OK(KSPROPERTY_SET_IRP_STORAGE(Irp)->Set->Data1 == T_SET.Data1, "ks_pr_09_the_set_is_in_the_packet");
    *(ULONG *)Data = Of(KsGetPinFromIrp(Irp))->Mode;
    Irp->IoStatus.Information = sizeof(ULONG);
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI SetMode(PIRP Irp, PKSIDENTIFIER Request, PVOID Data)
{
    UNREFERENCED_PARAMETER(Request);
    Of(KsGetPinFromIrp(Irp))->Mode = *(ULONG *)Data;
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI GetCounts(PIRP Irp, PKSIDENTIFIER Request, PVOID Data)
{
    UNREFERENCED_PARAMETER(Request);
    *(STATE *)Data = *Of(KsGetPinFromIrp(Irp));
    Irp->IoStatus.Information = sizeof(STATE);
    return STATUS_SUCCESS;
}

/* Lets go of what the mode kept: the clones, or the lock; or attempts to process. */
static NTSTATUS NTAPI SetRelease(PIRP Irp, PKSIDENTIFIER Request, PVOID Data)
{
    PKSPIN pin = KsGetPinFromIrp(Irp);
    PKSSTREAM_POINTER pointer;
    UNREFERENCED_PARAMETER(Request);
    switch (*(ULONG *)Data) {
    case 0:
        pointer = KsPinGetFirstCloneStreamPointer(pin);
        if (pointer == NULL) return STATUS_NOT_FOUND;
        KsStreamPointerDelete(pointer);
        break;
    case 1:
        pointer = KsPinGetLeadingEdgeStreamPointer(pin, KSSTREAM_POINTER_STATE_UNLOCKED);
        if (pointer == NULL) return STATUS_NOT_FOUND;
        KsStreamPointerUnlock(pointer, FALSE);
        break;
    case 2:
        KsPinAttemptProcessing(pin, FALSE);
        break;
    case 3:
        KsPinAttemptProcessing(pin, TRUE);
        break;
    case 4:
        pointer = KsPinGetFirstCloneStreamPointer(pin);
        if (pointer == NULL) return STATUS_NOT_FOUND;
        return KsStreamPointerLock(pointer);
    case 5:
        InterlockedDecrement(&KsPinGetAndGate(pin)->Count); /* the driver turns its gate off */
        break;
    case 6:
        InterlockedIncrement(&KsPinGetAndGate(pin)->Count);
        break;
    case 7:
        pointer = KsPinGetFirstCloneStreamPointer(pin);
        pointer = pointer != NULL ? KsStreamPointerGetNextClone(pointer) : NULL;
        if (pointer == NULL) return STATUS_NOT_FOUND;
        KsStreamPointerDelete(pointer);
        break;
    case 8:
        pointer = KsPinGetFirstCloneStreamPointer(pin);
        if (pointer == NULL) return STATUS_NOT_FOUND;
        KsStreamPointerUnlock(pointer, FALSE);
        break;
    case 9:
        KsGenerateEvents(pin, &T_EVENTS, 0, 0, NULL, NULL, NULL);
        break;
    case 10:
        KsGenerateEvents(pin, NULL, 1, 0, NULL, NULL, NULL);
        break;
    default:
        return STATUS_INVALID_PARAMETER;
    }
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI Support(PIRP Irp, PKSIDENTIFIER Request, PVOID Data)
{
    UNREFERENCED_PARAMETER(Request);
    UNREFERENCED_PARAMETER(Data);
    DbgPrint("support handler\n");
    UNREFERENCED_PARAMETER(Irp);
    return STATUS_SOME_NOT_MAPPED;
}

static NTSTATUS NTAPI MethodDouble(PIRP Irp, PKSIDENTIFIER Request, PVOID Data)
{
    UNREFERENCED_PARAMETER(Request);
    *(ULONG *)Data *= 2;
    Irp->IoStatus.Information = sizeof(ULONG);
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI MethodRead(PIRP Irp, PKSIDENTIFIER Request, PVOID Data)
{
    UNREFERENCED_PARAMETER(Irp);
    UNREFERENCED_PARAMETER(Request);
    DbgPrint("method read %d\n", (int)*(ULONG *)Data);
    *(ULONG *)Data = 0;
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI MethodWrite(PIRP Irp, PKSIDENTIFIER Request, PVOID Data)
{
    UNREFERENCED_PARAMETER(Request);
    DbgPrint("method write sees %d\n", (int)*(ULONG *)Data);
    *(ULONG *)Data = 77;
    Irp->IoStatus.Information = sizeof(ULONG);
    return STATUS_SUCCESS;
}

/* The item is where the macro looks for it, because the table says that items are whole. */
static const KSPROPERTY_ITEM *ItemFour;
static NTSTATUS NTAPI GetItem(PIRP Irp, PKSIDENTIFIER Request, PVOID Data)
{
    UNREFERENCED_PARAMETER(Request);
    OK(KSPROPERTY_ITEM_IRP_STORAGE(Irp) == ItemFour, "ks_pr_08_the_item_is_in_the_packet");
    *(ULONG *)Data = KSPROPERTY_ITEM_IRP_STORAGE(Irp)->PropertyId;
    Irp->IoStatus.Information = sizeof(ULONG);
    return STATUS_SUCCESS;
}

/* Pends; the packet is ended by a DPC's worker, from what the handler kept. */
static KDPC LateDpc;
static VOID NTAPI Late(PKDPC Dpc, PVOID Context, PVOID First, PVOID Second)
{
    PIRP irp = First;
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    *(ULONG *)Second = 99;
    irp->IoStatus.Status = STATUS_SUCCESS;
    irp->IoStatus.Information = sizeof(ULONG);
    IoCompleteRequest(irp, IO_NO_INCREMENT);
}
static NTSTATUS NTAPI GetLate(PIRP Irp, PKSIDENTIFIER Request, PVOID Data)
{
    UNREFERENCED_PARAMETER(Request);
    IoMarkIrpPending(Irp);
    KeInitializeDpc(&LateDpc, Late, NULL);
    KeInsertQueueDpc(&LateDpc, Irp, Data);
    return STATUS_PENDING;
}

static const KSPROPERTY Relations[2] = { { { { { 0 }, 5, 0 } } }, { { { { 0 }, 6, 0 } } } };
static const KSPROPERTY_ITEM Items[] = {
    { 0, { GetMode }, sizeof(KSPROPERTY), sizeof(ULONG), { SetMode }, NULL, 2, Relations, Support, 0 },
    { 1, { GetCounts }, sizeof(KSPROPERTY), sizeof(STATE), { NULL }, NULL, 0, NULL, NULL, 0 },
    { 2, { NULL }, sizeof(KSPROPERTY), sizeof(ULONG), { SetRelease }, NULL, 0, NULL, NULL, 0 },
    { 3, { GetCounts }, sizeof(KSPROPERTY) + 8, sizeof(STATE), { NULL }, NULL, 0, NULL, NULL, 0 },
    { 4, { GetItem }, sizeof(KSPROPERTY), sizeof(ULONG), { NULL }, NULL, 0, NULL, NULL, 0 },
    { 5, { GetLate }, sizeof(KSPROPERTY), sizeof(ULONG), { NULL }, NULL, 0, NULL, NULL, 0 },
};
static const KSPROPERTY_ITEM *ItemFour = &Items[4];
static const KSPROPERTY_SET Sets[] = { { &T_SET, ARRAYSIZE(Items), Items, 0, NULL } };
static const KSMETHOD_ITEM Methods[] = {
    { 0, { MethodDouble }, sizeof(KSMETHOD), sizeof(ULONG), NULL, 3 },
    { 1, { MethodRead }, sizeof(KSMETHOD), sizeof(ULONG), NULL, 1 },
    { 2, { MethodWrite }, sizeof(KSMETHOD), sizeof(ULONG), NULL, 2 },
    { 3, { MethodWrite }, sizeof(KSMETHOD) + 8, sizeof(ULONG), NULL, 2 },
    { 4, { GetLate }, sizeof(KSMETHOD), sizeof(ULONG), NULL, 2 },
};
static const KSMETHOD_SET MethodSets[] = { { &T_METHODS, ARRAYSIZE(Methods), Methods, 0, NULL } };
static const KSEVENT_ITEM Events[] = { { 0, sizeof(KSEVENTDATA), 0, NULL, NULL, NULL }, { 1, sizeof(KSEVENTDATA) + 8, 0, NULL, NULL, NULL } };
static const KSEVENT_SET EventSets[] = { { &T_EVENTS, ARRAYSIZE(Events), Events } };
static const KSAUTOMATION_TABLE PinTable = {
    ARRAYSIZE(Sets), sizeof(KSPROPERTY_ITEM), Sets, ARRAYSIZE(MethodSets), sizeof(KSMETHOD_ITEM), MethodSets, ARRAYSIZE(EventSets),
    sizeof(KSEVENT_ITEM), EventSets,
};

/* {e436eb83-524f-11ce-9f53-0020af0ba770}, {e436eb8e-...}, {0f6417d6-c318-11d0-a43f-00a0c9223196}: a byte stream. */
#define STREAM_RANGE(sample) { { sizeof(KSDATARANGE), 0, sample, 0, \
    { 0xE436EB83, 0x524F, 0x11CE, { 0x9F, 0x53, 0x00, 0x20, 0xAF, 0x0B, 0xA7, 0x70 } }, \
    { 0xE436EB8E, 0x524F, 0x11CE, { 0x9F, 0x53, 0x00, 0x20, 0xAF, 0x0B, 0xA7, 0x70 } }, \
    { 0x0F6417D6, 0xC318, 0x11D0, { 0xA4, 0x3F, 0x00, 0xA0, 0xC9, 0x22, 0x31, 0x96 } } } }
static const KSDATARANGE RangeOne = STREAM_RANGE(1), RangeAny = STREAM_RANGE(0);
static const PKSDATARANGE Ranges[] = { (PKSDATARANGE)&RangeOne, (PKSDATARANGE)&RangeAny };

static const KSPIN_DISPATCH SinkDispatch = { PinCreate, PinClose, SinkProcess, PinReset, PinFormat, PinState, NULL, NULL, NULL, NULL };
static const KSPIN_DISPATCH SourceDispatch = { PinCreate, PinClose, SourceProcess, NULL, NULL, PinState, NULL, NULL, NULL, NULL };
static const KSPIN_DISPATCH CentricDispatch = { PinCreate, PinClose, NULL, NULL, NULL, PinState, NULL, NULL, NULL, NULL };

/* One item: three frames of 4096 bytes. */
static const struct {
    ULONG CountItems, PinFlags, Compression[3], PinWeight;
    struct {
        GUID MemoryType, BusType;
        ULONG MemoryFlags, BusFlags, Flags, Frames, FileAlignment, MemoryTypeWeight, Physical[3], Framing[5];
    } Item;
} Framing = { 1, 0, { 1, 1, 0 }, 0, { { 0 }, { 0 }, 0, 0, 2, 3, 0, 0, { 0 }, { 4096, 4096, 1, 0, 0 } } };

#define PIN(dispatch, flow, flags, possible) FRAMED(dispatch, flow, flags, possible, NULL)
#define FRAMED(dispatch, flow, flags, possible, framing) { &dispatch, &PinTable, { 0, NULL, 0, NULL, ARRAYSIZE(Ranges), Ranges, flow, KSPIN_COMMUNICATION_SINK, \
    NULL, NULL, { 0 } }, flags, possible, 0, framing, NULL }
static const KSPIN_DESCRIPTOR_EX Pins[] = {
    PIN(SinkDispatch, KSPIN_DATAFLOW_IN, KSPIN_FLAG_GENERATE_EOS_EVENTS, 2),
    PIN(SourceDispatch, KSPIN_DATAFLOW_OUT, 0, 1),
    PIN(SinkDispatch, KSPIN_DATAFLOW_IN, KSPIN_FLAG_DENY_USERMODE_ACCESS | KSPIN_FLAG_FIXED_FORMAT, 1),
    PIN(SinkDispatch, KSPIN_DATAFLOW_IN, KSPIN_FLAG_PROCESS_IN_RUN_STATE_ONLY | KSPIN_FLAG_ASYNCHRONOUS_PROCESSING, 1),
    PIN(SinkDispatch, KSPIN_DATAFLOW_IN, KSPIN_FLAG_DO_NOT_INITIATE_PROCESSING | KSPIN_FLAG_ENFORCE_FIFO, 1),
    FRAMED(SinkDispatch, KSPIN_DATAFLOW_IN, KSPIN_FLAG_DO_NOT_USE_STANDARD_TRANSPORT | KSPIN_FLAG_INITIATE_PROCESSING_ON_EVERY_ARRIVAL, 1,
        (const KSALLOCATOR_FRAMING_EX *)&Framing),
};
static const KSPIN_DESCRIPTOR_EX CentricPins[] = { PIN(CentricDispatch, KSPIN_DATAFLOW_IN, 0, 1) };
static const KSFILTER_DISPATCH FilterDispatch = { FilterCreate, FilterClose, NULL, NULL };
static const KSFILTER_DISPATCH CentricFilterDispatch = { FilterCreate, FilterClose, CentricProcess, NULL };
static const KSFILTER_DESCRIPTOR Filter = {
    &FilterDispatch, NULL, KSFILTER_DESCRIPTOR_VERSION, 0, &T_FILTER, ARRAYSIZE(Pins), sizeof(KSPIN_DESCRIPTOR_EX), Pins, 0, NULL, 0, 0, NULL, 0, NULL, NULL,
};
static const KSFILTER_DESCRIPTOR CentricFilter = {
    &CentricFilterDispatch, NULL, KSFILTER_DESCRIPTOR_VERSION, 0, &T_CENTRIC, ARRAYSIZE(CentricPins), sizeof(KSPIN_DESCRIPTOR_EX), CentricPins,
    0, NULL, 0, 0, NULL, 0, NULL, NULL,
};
static const KSFILTER_DESCRIPTOR *const Filters[] = { &Filter };
static const KSDEVICE_DISPATCH DeviceDispatch = { DeviceAdd, DeviceStart, NULL, NULL, NULL, NULL, NULL, NULL, DeviceRemove, NULL, NULL, NULL, NULL, NULL };
static const KSDEVICE_DESCRIPTOR Device = { &DeviceDispatch, ARRAYSIZE(Filters), Filters, KSDEVICE_DESCRIPTOR_VERSION, 0 };

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    NTSTATUS status = KsInitializeDriver(DriverObject, RegistryPath, &Device);
    ST(status, STATUS_SUCCESS, "ks_av_01_a_driver_is_initialised");
    OK(DriverObject->MajorFunction[IRP_MJ_CREATE] != NULL && DriverObject->MajorFunction[IRP_MJ_PNP] != NULL && DriverObject->DriverUnload != NULL
        && DriverObject->DriverExtension->AddDevice != NULL, "ks_av_01_its_slots_are_filled");
    return status;
}
