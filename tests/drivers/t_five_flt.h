/*
 * t_five_flt.h: FltWriteFile and FltReadFile through this driver's own instance.
 */
#ifndef NTIO_T_FIVE_FLT_H
#define NTIO_T_FIVE_FLT_H

#define KEEP FLTFL_IO_OPERATION_DO_NOT_UPDATE_BYTE_OFFSET

/* What an asynchronous FltWriteFile reports. */
typedef struct {
    KEVENT Event;
    LONG Calls;
    NTSTATUS Status;
    ULONG_PTR Information;
    LONGLONG Position;
    PFILE_OBJECT FileObject;
} FLT_DONE;

static VOID FLTAPI WriteDone(PFLT_CALLBACK_DATA Data, PFLT_CONTEXT Context)
{
    FLT_DONE *done = Context;
    done->Status = Data->IoStatus.Status;
    done->Information = Data->IoStatus.Information;
    done->Position = done->FileObject->CurrentByteOffset.QuadPart;
    InterlockedIncrement(&done->Calls);
    KeSetEvent(&done->Event, IO_NO_INCREMENT, FALSE);
}

static NTSTATUS FltWrite(PFILE_OBJECT Object, LONGLONG Offset, PCSTR Text, ULONG Length, ULONG Flags, PULONG Written)
{
    LARGE_INTEGER offset = At(Offset);
    if (Written != NULL) *Written = 0x5A5A5A5A;
    return FltWriteFile(Instance, Object, &offset, Length, (PVOID)(ULONG_PTR)Text, Flags, Written, NULL, NULL);
}

/* SUCCESS, and this many bytes reported. */
#define WROTE(actual, n, name) TWrote((actual), &written, (n), name, __LINE__)

static VOID TWrote(NTSTATUS Status, PULONG Written, ULONG Bytes, PCSTR Name, LONG Line)
{
    if (Status == STATUS_SUCCESS && *Written == Bytes) DbgPrint("ok %s\n", Name);
    else DbgPrint("not ok %s: line %d: status 0x%08x, %u bytes, expected 0, %u\n", Name, Line, (ULONG)Status, *Written, Bytes);
}

static VOID TestFltSynchronous(HANDLE File, PFILE_OBJECT Object)
{
    ULONG written;
    LONG before = PreWrites;
    LARGE_INTEGER offset;
    CHAR buffer[16];
    IO_STATUS_BLOCK iosb;

    WROTE(FltWrite(Object, 0, "abc", 3, 0, &written), 3, "flt_w_01_a_write_at_an_offset_succeeds");
    EQ(PreWrites, before, "flt_g_11_and_is_not_seen_by_its_own_filter");
    EQ(Object->CurrentByteOffset.QuadPart, 3, "flt_w_12_and_moves_the_position");
    written = 0;
    WROTE(FltWriteFile(Instance, Object, NULL, 3, "def", 0, &written, NULL, NULL), 3, "flt_w_11_without_offset_it_starts_at_the_position");
    WROTE(FltWrite(Object, -2, "ghi", 3, 0, &written), 3, "flt_w_09_offset_minus_two_is_the_position");
    WROTE(FltWrite(Object, 0, "A", 1, KEEP, &written), 1, "flt_w_08_an_offset_wins_over_the_position");
    EQ(Object->CurrentByteOffset.QuadPart, 9, "flt_w_13_do_not_update_keeps_the_position");
    WROTE(FltWrite(Object, -1, "jkl", 3, KEEP, &written), 3, "flt_w_10_offset_minus_one_appends");
    EQ(Object->CurrentByteOffset.QuadPart, 9, "flt_w_13_do_not_update_keeps_it_for_appends_too");
    OK(Holds(File, 0, "Abcdefghijkl", 12), "flt_w_08_the_bytes_are_where_they_belong");
    Object->CurrentByteOffset.QuadPart = 5;
    WROTE(FltWrite(Object, 2, "", 0, 0, &written), 0, "flt_w_07_a_write_of_nothing_succeeds");
    EQ(Object->CurrentByteOffset.QuadPart, 5, "flt_w_07_and_moves_no_position");
    ST(FltWrite(Object, -3, "x", 1, 0, &written), STATUS_INVALID_PARAMETER, "flt_w_18_other_negative_offsets_are_refused");
    EQ(written, 0x5A5A5A5A, "flt_w_32_a_refused_call_reports_no_bytes");
    ST(FltWrite(Object, 0, "x", 1, 0x100, &written), STATUS_INVALID_PARAMETER, "flt_w_26_unknown_flags_are_refused");
    ST(FltWrite(Object, 0, "x", 1, FLTFL_IO_OPERATION_SYNCHRONOUS_PAGING, &written), STATUS_INVALID_PARAMETER,
        "flt_w_25_synchronous_paging_needs_paging");
    offset = At(0);
    ST(FltWriteFile(NULL, Object, &offset, 1, "x", 0, NULL, NULL, NULL), STATUS_INVALID_PARAMETER, "flt_w_04_an_instance_is_required");
    ST(FltWriteFile(Instance, NULL, &offset, 1, "x", 0, NULL, NULL, NULL), STATUS_INVALID_PARAMETER, "flt_w_04_and_a_file_object");
    ST(FltWrite(Object, 0, "B", 1, 0, NULL), STATUS_SUCCESS, "flt_w_32_bytes_written_is_optional");
    before = PreWrites;
    NestStatus = STATUS_UNSUCCESSFUL;
    NestOnce = 1;
    S_N(Write(File, NULL, &iosb, "C", 1, 0), iosb, 1, "flt_w_35_a_filter_writes_to_the_file_object_of_a_write_in_progress");
    ST(NestStatus, STATUS_SUCCESS, "flt_w_35_from_its_own_pre_callback");
    EQ(PreWrites, before + 1, "flt_g_11_without_being_entered_again");
    OK(Holds(File, 0x200, "nest", 4), "flt_w_35_and_both_writes_are_in_the_file");

    offset = At(0);
    written = 0;
    WROTE(FltReadFile(Instance, Object, &offset, 4, buffer, 0, &written, NULL, NULL), 4, "flt_w_42_a_read_reports_its_bytes");
    OK(RtlEqualMemory(buffer, "Cbcd", 4), "flt_w_42_and_returns_them");
    offset = At(0x204);
    written = 1;
    ST(FltReadFile(Instance, Object, &offset, 4, buffer, 0, &written, NULL, NULL), STATUS_END_OF_FILE, "flt_w_42_a_read_at_the_end_is_end_of_file");
    EQ(written, 0, "flt_w_42_with_no_bytes");
    offset = At(-1);
    ST(FltReadFile(Instance, Object, &offset, 4, buffer, 0, &written, NULL, NULL), STATUS_INVALID_PARAMETER, "flt_w_42_a_read_has_no_append");
}

static VOID TestFltNoncached(HANDLE File, PFILE_OBJECT Object)
{
    ULONG written;
    PCHAR page = FltAllocatePoolAlignedWithTag(Instance, NonPagedPoolNx, PAGE_SIZE, TAG);
    OK(page != NULL, "flt_d_16_aligned_pool_is_to_be_had");
    if (page == NULL) return;
    RtlFillMemory(page, PAGE_SIZE, 'N');
    WROTE(FltWrite(Object, 0x1000, page, PAGE_SIZE, FLTFL_IO_OPERATION_NON_CACHED, &written), PAGE_SIZE,
        "flt_w_21_a_noncached_write_through_a_cached_file_object");
    OK(Holds(File, 0x1FFE, "NN", 2), "flt_w_21_is_seen_by_a_cached_read");
    ST(FltWrite(Object, 0x1000, page, 4, FLTFL_IO_OPERATION_NON_CACHED, &written), STATUS_INVALID_PARAMETER,
        "flt_w_22_the_file_system_refuses_a_noncached_length_of_four");
    FltFreePoolAlignedWithTag(Instance, page, TAG);
}

static VOID TestFltCallback(PFILE_OBJECT Object)
{
    FLT_DONE done;
    ULONG written = 0x5A5A5A5A;
    LARGE_INTEGER offset = At(0);
    NTSTATUS status;
    RtlZeroMemory(&done, sizeof(done));
    done.FileObject = Object;
    KeInitializeEvent(&done.Event, NotificationEvent, FALSE);
    Object->CurrentByteOffset.QuadPart = 7;
    status = FltWriteFile(Instance, Object, &offset, 4, "call", KEEP, &written, WriteDone, &done);
    OK(NT_SUCCESS(status), "flt_w_29_a_write_with_a_callback_is_accepted");
    ST(Wait(&done.Event), STATUS_SUCCESS, "flt_w_33_and_calls_back_with_its_context");
    EQ(done.Calls, 1, "flt_w_29_once");
    ST(done.Status, STATUS_SUCCESS, "flt_w_29_with_the_final_status");
    EQ(done.Information, 4, "flt_w_29_and_the_bytes");
    EQ(done.Position, 7, "flt_w_15_the_position_is_restored_before_the_callback");
    EQ(written, 0x5A5A5A5A, "flt_w_32_bytes_written_is_ignored_with_a_callback");
    offset = At(-3);
    ST(FltWriteFile(Instance, Object, &offset, 4, "call", 0, NULL, WriteDone, &done), STATUS_INVALID_PARAMETER, "flt_w_31_a_refused_call");
    EQ(done.Calls, 1, "flt_w_31_does_not_call_back");
}

static VOID TestFltAsynchronous(PFILE_OBJECT Object)
{
    ULONG written = 0x5A5A5A5A;
    ST(FltWriteFile(Instance, Object, NULL, 1, "x", 0, &written, NULL, NULL), STATUS_INVALID_PARAMETER,
        "flt_w_11_an_asynchronous_file_object_needs_an_offset");
    EQ(written, 0x5A5A5A5A, "flt_w_11_and_nothing_is_reported");
    ST(FltWrite(Object, -2, "x", 1, 0, &written), STATUS_INVALID_PARAMETER, "flt_w_09_an_asynchronous_file_object_has_no_position");
    WROTE(FltWrite(Object, 0, "async", 5, 0, &written), 5, "flt_w_28_without_a_callback_the_call_waits");
    EQ(Object->CurrentByteOffset.QuadPart, 0, "flt_w_16_and_moves_no_position");
}

VOID TestFlt(VOID)
{
    HANDLE file, event;
    PFILE_OBJECT object;
    NTSTATUS status;
    if (!NT_SUCCESS(Open(L"\\??\\C:\\t_flt.bin", READ_WRITE, FILE_OVERWRITE_IF, FILE_SYNCHRONOUS_IO_NONALERT, &file, NULL))) {
        OK(FALSE, "flt_w_44_a_file_opens");
        return;
    }
    status = ObReferenceObjectByHandle(file, FILE_WRITE_DATA, *IoFileObjectType, KernelMode, (PVOID *)&object, NULL);
    ST(status, STATUS_SUCCESS, "flt_w_44_a_handle_gives_its_file_object");
    if (NT_SUCCESS(status)) {
        TestFltSynchronous(file, object);
        TestFltNoncached(file, object);
        TestFltCallback(object);
        ObDereferenceObject(object);
    }
    ZwClose(file);
    if (IoCreateNotificationEvent(NULL, &event) != NULL) {
        ST(ObReferenceObjectByHandle(event, 0, *IoFileObjectType, KernelMode, (PVOID *)&object, NULL), STATUS_OBJECT_TYPE_MISMATCH,
            "flt_w_44_an_event_is_no_file");
        ZwClose(event);
    }
    if (!NT_SUCCESS(Open(L"\\??\\C:\\t_flt_async.bin", READ_WRITE, FILE_OVERWRITE_IF, 0, &file, NULL))) return;
    status = ObReferenceObjectByHandle(file, FILE_WRITE_DATA, *IoFileObjectType, KernelMode, (PVOID *)&object, NULL);
    if (NT_SUCCESS(status)) {
        TestFltAsynchronous(object);
        ObDereferenceObject(object);
    }
    ZwClose(file);
}

#endif
