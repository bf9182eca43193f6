/*
 * t_five_ks.h: KsWriteFile on a file and on a raw pin; KsStreamIo and IOCTL_KS_WRITE_STREAM on a pin of the built-in null device.
 */
#ifndef NTIO_T_FIVE_KS_H
#define NTIO_T_FIVE_KS_H
#include "t_five_ksfile.h"

#define WRITE_SYNC (KSSTREAM_WRITE | KSSTREAM_SYNCHRONOUS)
#define INVOKE(flags) ((KSCOMPLETION_INVOCATION)(flags))

static NTSTATUS CreatePin(HANDLE Filter, ULONG PinId, PHANDLE Handle, PFILE_OBJECT *Object)
{
    struct {
        KSPIN_CONNECT Connect;
        KSDATAFORMAT Format;
    } request;
    NTSTATUS status;
    C_ASSERT(sizeof(request) == 136);
    RtlZeroMemory(&request, sizeof(request));
    request.Connect.Interface.Set = KSINTERFACESETID_Standard;
    request.Connect.Interface.Id = KSINTERFACE_STANDARD_STREAMING;
    request.Connect.Medium.Set = KSMEDIUMSETID_Standard;
    request.Connect.Medium.Id = KSMEDIUM_STANDARD_DEVIO;
    request.Connect.PinId = PinId;
    request.Connect.Priority.PriorityClass = KSPRIORITY_NORMAL;
    request.Connect.Priority.PrioritySubClass = 1;
    request.Format.FormatSize = sizeof(KSDATAFORMAT);
    request.Format.MajorFormat = KSDATAFORMAT_TYPE_STREAM;
    request.Format.SubFormat = KSDATAFORMAT_SUBTYPE_NONE;
    request.Format.Specifier = KSDATAFORMAT_SPECIFIER_NONE;
    *Handle = NULL;
    status = KsCreatePin(Filter, &request.Connect, GENERIC_WRITE, Handle);
    if (!NT_SUCCESS(status)) return status;
    status = ObReferenceObjectByHandle(*Handle, 0, *IoFileObjectType, KernelMode, (PVOID *)Object, NULL);
    if (!NT_SUCCESS(status)) ZwClose(*Handle);
    return status;
}

static NTSTATUS State(PFILE_OBJECT Pin, ULONG Type, PULONG State)
{
    KSPROPERTY property;
    ULONG returned = 0;
    property.Set = KSPROPSETID_Connection;
    property.Id = KSPROPERTY_CONNECTION_STATE;
    property.Flags = Type;
    return KsSynchronousIoControlDevice(Pin, KernelMode, IOCTL_KS_PROPERTY, &property, sizeof(property), State, sizeof(*State), &returned);
}

static NTSTATUS SetState(PFILE_OBJECT Pin, ULONG New)
{
    return State(Pin, KSPROPERTY_TYPE_SET, &New);
}

/* One request with all that it needs; in nonpaged pool, because the headers are used in place. */
typedef struct {
    KSSTREAM_HEADER Header[3];
    KSSTREAM_HEADER Before[3];
    IO_STATUS_BLOCK Iosb;
    KEVENT Event;
    LONG Calls;
    NTSTATUS Status;
    ULONG_PTR Information;
    BOOLEAN DeviceWasNull;
    BOOLEAN BlockWasOld;
    CHAR Data[3][256];
} REQUEST;

static NTSTATUS NTAPI Completed(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    REQUEST *request = Context;
    request->Status = Irp->IoStatus.Status;
    request->Information = Irp->IoStatus.Information;
    request->DeviceWasNull = DeviceObject == NULL;
    request->BlockWasOld = UNTOUCHED(request->Iosb);
    InterlockedIncrement(&request->Calls);
    return STATUS_SUCCESS;
}

/* A list of well-formed headers with `Used` bytes each. */
static VOID Prepare(REQUEST *Request, ULONG Count, ULONG Used)
{
    ULONG i;
    RtlZeroMemory(Request, sizeof(*Request));
    RESET(Request->Iosb);
    KeInitializeEvent(&Request->Event, NotificationEvent, FALSE);
    for (i = 0; i < Count; i++) {
        Request->Header[i].Size = sizeof(KSSTREAM_HEADER);
        Request->Header[i].PresentationTime.Numerator = 1;
        Request->Header[i].PresentationTime.Denominator = 1;
        Request->Header[i].FrameExtent = sizeof(Request->Data[i]);
        Request->Header[i].DataUsed = Used;
        Request->Header[i].Data = Request->Data[i];
    }
    RtlCopyMemory(Request->Before, Request->Header, sizeof(Request->Header));
}

static NTSTATUS Stream(PFILE_OBJECT Pin, REQUEST *Request, ULONG Length, ULONG Flags, ULONG Invoke)
{
    return KsStreamIo(Pin, &Request->Event, NULL, Invoke == ~0u ? NULL : Completed, Request, INVOKE(Invoke == ~0u ? 0 : Invoke),
        &Request->Iosb, Request->Header, Length, Flags, KernelMode);
}

/* Requests that pend in PAUSE go the way of the IRP, whatever fast entries the pin has; RUN ends them. */
static VOID TestPriming(PFILE_OBJECT Pin, REQUEST *Requests)
{
    static const ULONG invoke[4] = { KsInvokeOnSuccess, KsInvokeOnError, 0, KsInvokeOnSuccess | KsInvokeOnError | KsInvokeOnCancel };
    NTSTATUS status[4];
    ULONG i;
    for (i = 0; i < 4; i++) {
        Prepare(&Requests[i], 1, 100);
        status[i] = Stream(Pin, &Requests[i], sizeof(KSSTREAM_HEADER), WRITE_SYNC, invoke[i]);
    }
    ST(status[0], STATUS_PENDING, "ks_st_09_a_write_in_pause_pends");
    OK(UNTOUCHED(Requests[0].Iosb) && Requests[0].Calls == 0, "ks_s_15_and_synchronous_does_not_make_the_call_wait");
    ST(SetState(Pin, KSSTATE_RUN), STATUS_SUCCESS, "ks_st_01_pause_to_run");
    DONE(status[0], &Requests[0].Event, Requests[0].Iosb, 100, "ks_s_14_a_plain_event_and_the_status_block_tell_the_end");
    DONE(status[1], &Requests[1].Event, Requests[1].Iosb, 100, "ks_i_17_each_request_ends_by_itself");
    DONE(status[2], &Requests[2].Event, Requests[2].Iosb, 100, "ks_i_17_with_its_own_event");
    DONE(status[3], &Requests[3].Event, Requests[3].Iosb, 100, "ks_st_09_run_consumes_what_was_primed");
    EQ(Requests[0].Calls, 1, "ks_s_20_invoke_on_success_calls_the_routine");
    EQ(Requests[1].Calls, 0, "ks_s_20_invoke_on_error_does_not_on_success");
    EQ(Requests[2].Calls, 0, "ks_s_20_no_flag_never_does");
    EQ(Requests[3].Calls, 1, "ks_s_20_all_flags_do_once");
    EQ(Requests[0].Information, 100, "ks_s_22_the_routine_sees_the_result_in_the_irp");
    OK(Requests[0].BlockWasOld, "ks_s_22_before_the_status_block_holds_it");
    OK(Requests[0].DeviceWasNull, "ks_s_21_the_routine_of_a_submitter_has_no_device");
}

static VOID TestStream(PFILE_OBJECT Pin, REQUEST *Request)
{
    HANDLE handle;
    ULONG returned;
    KSSTREAM_HEADER *header = Request->Header;
    PKEVENT event = IoCreateNotificationEvent(NULL, &handle);
    NTSTATUS status;

    Prepare(Request, 1, 64);
    if (event != NULL) {
        status = KsStreamIo(Pin, event, NULL, NULL, NULL, INVOKE(0), &Request->Iosb, header, sizeof(*header), KSSTREAM_WRITE, KernelMode);
        DONE(status, event, Request->Iosb, 64, "ks_s_13_a_write_with_an_event_object");
        EQ(KeReadStateEvent(event) != 0, TRUE, "ks_s_33_and_the_event_is_signalled");
        ZwClose(handle);
    } else {
        OK(FALSE, "ks_s_13_an_event_object_is_to_be_had");
    }
    Prepare(Request, 3, 10);
    Request->Header[1].DataUsed = 200;
    RtlCopyMemory(Request->Before, Request->Header, sizeof(Request->Header));
    DONE(Stream(Pin, Request, 3 * sizeof(*header), WRITE_SYNC, ~0u), &Request->Event, Request->Iosb, 220, "ks_h_05_a_list_reports_the_sum_of_its_bytes");
    OK(RtlEqualMemory(Request->Before, Request->Header, sizeof(Request->Header)), "ks_h_04_and_is_not_modified");
    Prepare(Request, 1, 0);
    header->Data = NULL;
    header->FrameExtent = 0;
    header->OptionsFlags = KSSTREAM_HEADER_OPTIONSF_DATADISCONTINUITY;
    DONE(Stream(Pin, Request, sizeof(*header), WRITE_SYNC, ~0u), &Request->Event, Request->Iosb, 0, "ks_h_15_a_gap_has_no_buffer");
    Prepare(Request, 1, 32);
    DONE(Stream(Pin, Request, sizeof(*header), WRITE_SYNC | KSSTREAM_NONPAGED_DATA, ~0u), &Request->Event, Request->Iosb, 32, "ks_s_25_nonpaged_data_gives_the_same");

    Prepare(Request, 1, 48);
    returned = 0;
    status = KsSynchronousIoControlDevice(Pin, KernelMode, IOCTL_KS_WRITE_STREAM, NULL, 0, header, sizeof(*header), &returned);
    ST(status, STATUS_SUCCESS, "ks_i_03_a_write_request_with_headers_in_the_output_buffer");
    EQ(returned, 48, "ks_i_06_returns_the_bytes_written");
    returned = 0;
    status = KsSynchronousIoControlDevice(Pin, KernelMode, IOCTL_KS_WRITE_STREAM, header, sizeof(*header), NULL, 0, &returned);
    ST(status, STATUS_SUCCESS, "ks_i_04_or_in_the_input_buffer");
    EQ(returned, 48, "ks_x_03_with_the_same_bytes");
    Prepare(Request, 1, 0);
    status = KsSynchronousIoControlDevice(Pin, KernelMode, IOCTL_KS_READ_STREAM, NULL, 0, header, sizeof(*header), &returned);
    ST(status, STATUS_INVALID_DEVICE_REQUEST, "ks_i_10_a_pin_that_takes_data_refuses_to_be_read");
    ST(Stream(Pin, Request, sizeof(*header), KSSTREAM_READ | KSSTREAM_SYNCHRONOUS, ~0u), STATUS_INVALID_DEVICE_REQUEST, "ks_s_01_flags_without_write_are_a_read");
    Prepare(Request, 1, 16);
    ST(KsWriteFile(Pin, NULL, NULL, &Request->Iosb, Request->Data[0], 16, 0, KernelMode), STATUS_INVALID_DEVICE_REQUEST, "ks_w_33_a_stream_pin_takes_no_plain_write");
}

static VOID TestMalformed(PFILE_OBJECT Pin, REQUEST *Request)
{
    KSSTREAM_HEADER *header = Request->Header;
    Prepare(Request, 1, 16);
    ST(Stream(Pin, Request, 0, WRITE_SYNC, KsInvokeOnError), STATUS_INVALID_BUFFER_SIZE, "ks_p_08_an_empty_list_is_refused");
    EQ(Request->Calls, 1, "ks_s_20_invoke_on_error_calls_the_routine_on_error");
    Prepare(Request, 1, 16);
    header->Size = 0;
    ST(Stream(Pin, Request, sizeof(*header), WRITE_SYNC, ~0u), STATUS_INVALID_BUFFER_SIZE, "ks_p_07_a_header_of_no_size_is_refused");
    Prepare(Request, 1, 16);
    header->Size = 60;
    ST(Stream(Pin, Request, sizeof(*header), WRITE_SYNC, ~0u), STATUS_INVALID_BUFFER_SIZE, "ks_p_07_a_size_that_is_no_multiple_of_eight_is_refused");
    Prepare(Request, 1, 16);
    header->Size = 2 * sizeof(*header);
    ST(Stream(Pin, Request, sizeof(*header), WRITE_SYNC, ~0u), STATUS_INVALID_BUFFER_SIZE, "ks_p_08_a_header_beyond_the_list_is_refused");
    Prepare(Request, 1, 16);
    header->DataUsed = header->FrameExtent + 1;
    ST(Stream(Pin, Request, sizeof(*header), WRITE_SYNC, ~0u), STATUS_INVALID_BUFFER_SIZE, "ks_p_09_more_data_than_the_frame_is_refused");
    Prepare(Request, 2, 64);
    header->OptionsFlags = KSSTREAM_HEADER_OPTIONSF_TYPECHANGED;
    ST(Stream(Pin, Request, 2 * sizeof(*header), WRITE_SYNC, ~0u), STATUS_INVALID_BUFFER_SIZE, "ks_p_12_a_format_change_stands_alone");
    Prepare(Request, 1, 16);
    DONE(Stream(Pin, Request, sizeof(*header), WRITE_SYNC, ~0u), &Request->Event, Request->Iosb, 16, "ks_p_22_after_all_that_a_good_write_still_succeeds");
}

static VOID TestStreamPin(HANDLE Filter, REQUEST *Requests)
{
    HANDLE handle;
    PFILE_OBJECT pin;
    ULONG state = ~0u;
    NTSTATUS status = CreatePin(Filter, 0, &handle, &pin);
    ST(status, STATUS_SUCCESS, "ks_pn_01_a_pin_is_created_below_its_filter");
    if (!NT_SUCCESS(status)) return;
    Prepare(Requests, 1, 16);
    ST(Stream(pin, Requests, sizeof(KSSTREAM_HEADER), WRITE_SYNC, ~0u), STATUS_INVALID_DEVICE_REQUEST, "ks_i_12_a_stopped_pin_takes_no_data");
    ST(SetState(pin, 7), STATUS_INVALID_PARAMETER, "ks_st_01_there_are_four_states");
    ST(SetState(pin, KSSTATE_ACQUIRE), STATUS_SUCCESS, "ks_st_01_stop_to_acquire");
    ST(SetState(pin, KSSTATE_PAUSE), STATUS_SUCCESS, "ks_st_01_acquire_to_pause");
    TestPriming(pin, Requests);
    ST(State(pin, KSPROPERTY_TYPE_GET, &state), STATUS_SUCCESS, "ks_st_01_the_state_can_be_asked_for");
    EQ(state, KSSTATE_RUN, "ks_st_01_and_is_the_one_that_was_set");
    TestStream(pin, Requests);
    TestMalformed(pin, Requests);
    ST(SetState(pin, KSSTATE_STOP), STATUS_SUCCESS, "ks_st_13_run_to_stop");
    ObDereferenceObject(pin);
    ST(ZwClose(handle), STATUS_SUCCESS, "ks_pn_20_the_pin_closes");
}

static VOID TestRawPin(HANDLE Filter, REQUEST *Request)
{
    HANDLE handle;
    PFILE_OBJECT pin;
    NTSTATUS status = CreatePin(Filter, 1, &handle, &pin);
    ST(status, STATUS_SUCCESS, "ks_pn_01_a_second_kind_of_pin_is_created");
    if (!NT_SUCCESS(status)) return;
    Prepare(Request, 1, 16);
    status = KsWriteFile(pin, NULL, NULL, &Request->Iosb, Request->Data[0], 16, 0, KernelMode);
    DONE(status, &pin->Event, Request->Iosb, 16, "ks_w_01_an_object_whose_table_has_write_takes_a_plain_write");
    ObDereferenceObject(pin);
    ZwClose(handle);
}

VOID TestKsPin(VOID)
{
    HANDLE filter, handle;
    PFILE_OBJECT pin;
    REQUEST *requests;
    NTSTATUS status = Open(L"\\??\\NtioKs.null", READ_WRITE, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT, &filter, NULL);
    ST(status, STATUS_SUCCESS, "ks_d_07_a_filter_opens_by_its_link");
    if (!NT_SUCCESS(status)) return;
    requests = ExAllocatePoolWithTag(NonPagedPoolNx, 4 * sizeof(REQUEST), TAG);
    if (requests != NULL) {
        TestStreamPin(filter, requests);
        TestRawPin(filter, requests);
        ST(CreatePin(filter, 99, &handle, &pin), STATUS_INVALID_PARAMETER, "ks_pn_03_a_pin_that_does_not_exist_is_refused");
        ExFreePoolWithTag(requests, TAG);
    }
    ST(ZwClose(filter), STATUS_SUCCESS, "ks_pn_20_and_then_the_filter");
}

#endif
