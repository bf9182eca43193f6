/*
 * t_five_nt.h: ZwWriteFile and ZwReadFile on C:, from kernel mode.
 */
#ifndef NTIO_T_FIVE_NT_H
#define NTIO_T_FIVE_NT_H

#define READ_WRITE (GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE)

static NTSTATUS Write(HANDLE Handle, HANDLE Event, PIO_STATUS_BLOCK Iosb, PCSTR Text, ULONG Length, LONGLONG Offset)
{
    LARGE_INTEGER offset = At(Offset);
    RESET(*Iosb);
    return ZwWriteFile(Handle, Event, NULL, NULL, Iosb, (PVOID)(ULONG_PTR)Text, Length, &offset, NULL);
}

static VOID TestPosition(HANDLE File)
{
    IO_STATUS_BLOCK iosb;
    FILE_POSITION_INFORMATION position;
    LONG before = PreWrites;
    LARGE_INTEGER offset;
    CHAR buffer[32];

    RESET(iosb);
    S_N(ZwWriteFile(File, NULL, NULL, NULL, &iosb, "1234567", 7, NULL, NULL), iosb, 7, "nt_w_01_a_write_without_offset_starts_at_the_position");
    EQ(Position(File), 7, "nt_o_01_and_moves_the_position");
    EQ(EndOfFile(File), 7, "nt_w_04_and_extends_the_file");
    if (Instance != NULL) {
        EQ(PreWrites, before + 1, "flt_o_01_the_filter_sees_a_write_once");
        EQ(LastInformation, 7, "flt_o_24_its_post_callback_sees_the_bytes_written");
        EQ(LastPosition, 7, "flt_o_24_and_the_position_already_moved");
    }
    S_N(Write(File, NULL, &iosb, "890abcd", 7, -1), iosb, 7, "nt_o_04_offset_minus_one_appends");
    EQ(Position(File), 14, "nt_o_04_and_the_position_is_the_new_end");
    position.CurrentByteOffset.QuadPart = 10;
    RESET(iosb);
    S_N(ZwSetInformationFile(File, &iosb, &position, sizeof(position), FilePositionInformation), iosb, 0, "nt_i_05_the_position_can_be_set");
    S_N(Write(File, NULL, &iosb, "DCBA", 4, -2), iosb, 4, "nt_o_02_offset_minus_two_is_the_position");
    EQ(EndOfFile(File), 14, "nt_w_03_a_write_inside_the_file_keeps_its_size");
    OK(Holds(File, 0, "1234567890DCBA", 14), "nt_w_20_the_bytes_are_where_they_belong");
    S_N(Write(File, NULL, &iosb, "xy", 2, 2), iosb, 2, "nt_o_03_an_explicit_offset_is_used");
    EQ(Position(File), 4, "nt_o_03_and_moves_the_position_too");
    S_N(Write(File, NULL, &iosb, "Z", 1, 40), iosb, 1, "nt_w_05_a_write_past_the_end_extends_the_file");
    EQ(EndOfFile(File), 41, "nt_w_05_to_its_last_byte");
    OK(Holds(File, 14, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0Z", 27), "nt_w_05_and_the_gap_reads_as_zeros");
    Write(File, NULL, &iosb, "p", 1, 4);
    RESET(iosb);
    S_N(ZwWriteFile(File, NULL, NULL, NULL, &iosb, NULL, 0, NULL, NULL), iosb, 0, "nt_w_06_a_write_of_nothing_succeeds_with_any_buffer");
    S_N(Write(File, NULL, &iosb, "", 0, 30), iosb, 0, "nt_w_07_with_an_offset_as_well");
    EQ(Position(File), 5, "nt_w_07_and_moves_no_position");
    ST(Write(File, NULL, &iosb, "no", 2, -3), STATUS_INVALID_PARAMETER, "nt_o_11_other_negative_offsets_are_refused");
    OK(UNTOUCHED(iosb), "nt_o_11_and_the_status_block_is_not_touched");
    offset = At(39);
    RESET(iosb);
    S_N(ZwReadFile(File, NULL, NULL, NULL, &iosb, buffer, sizeof(buffer), &offset, NULL), iosb, 2, "nt_r_02_a_read_ends_at_the_end_of_the_file");
    offset = At(41);
    ST(ZwReadFile(File, NULL, NULL, NULL, &iosb, buffer, 4, &offset, NULL), STATUS_END_OF_FILE, "nt_r_03_a_read_at_the_end_is_end_of_file");
    offset = At(-1);
    ST(ZwReadFile(File, NULL, NULL, NULL, &iosb, buffer, 4, &offset, NULL), STATUS_INVALID_PARAMETER, "nt_o_12_a_read_has_no_append");
}

static VOID TestEvent(HANDLE File)
{
    IO_STATUS_BLOCK iosb;
    OBJECT_ATTRIBUTES attributes;
    HANDLE event;
    LARGE_INTEGER zero = At(0);
    NTSTATUS status;
    InitializeObjectAttributes(&attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    status = ZwCreateEvent(&event, EVENT_ALL_ACCESS, &attributes, NotificationEvent, FALSE);
    if (!NT_SUCCESS(status)) {
        ST(status, STATUS_SUCCESS, "nt_c_10_an_event_is_created");
        return;
    }
    S_N(Write(File, event, &iosb, "E", 1, 0), iosb, 1, "nt_w_10_a_write_takes_an_event");
    ST(ZwWaitForSingleObject(event, FALSE, &zero), STATUS_SUCCESS, "nt_c_07_and_signals_it");
    ST(Write(File, event, &iosb, "E", 1, -9), STATUS_INVALID_PARAMETER, "nt_o_11_a_refused_offset_with_an_event");
    ST(ZwWaitForSingleObject(event, FALSE, &zero), STATUS_SUCCESS, "nt_c_10_leaves_the_event_as_it_was");
    ST(Write(event, NULL, &iosb, "E", 1, 0), STATUS_OBJECT_TYPE_MISMATCH, "nt_a_06_an_event_is_no_file");
    OK(UNTOUCHED(iosb), "nt_a_06_and_the_status_block_is_not_touched");
    ZwClose(event);
}

static VOID TestAppendOnly(VOID)
{
    IO_STATUS_BLOCK iosb;
    HANDLE append, all;
    if (!NT_SUCCESS(Open(L"\\??\\C:\\t_append.bin", READ_WRITE, FILE_OVERWRITE_IF, FILE_SYNCHRONOUS_IO_NONALERT, &all, NULL))) return;
    Write(all, NULL, &iosb, "fo", 2, 0);
    if (NT_SUCCESS(Open(L"\\??\\C:\\t_append.bin", FILE_APPEND_DATA | SYNCHRONIZE, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT, &append, NULL))) {
        S_N(Write(append, NULL, &iosb, "ob", 2, 1), iosb, 2, "nt_o_08_an_append_only_handle_ignores_the_offset");
        RESET(iosb);
        S_N(ZwWriteFile(append, NULL, NULL, NULL, &iosb, "ar", 2, NULL, NULL), iosb, 2, "nt_o_09_and_appends_without_one");
        S_N(Write(append, NULL, &iosb, "!", 1, -7), iosb, 1, "nt_o_11_an_append_only_handle_ignores_a_bad_offset");
        ZwClose(append);
    } else {
        OK(FALSE, "nt_a_04_an_append_only_handle_opens");
    }
    OK(Holds(all, 0, "foobar!", 7), "nt_o_08_all_of_it_is_at_the_end");
    ZwClose(all);
}

static VOID TestNoncached(VOID)
{
    IO_STATUS_BLOCK iosb;
    HANDLE raw;
    PCHAR page = ExAllocatePoolWithTag(NonPagedPoolNx, 2 * PAGE_SIZE, TAG);
    if (page == NULL) return;
    RtlFillMemory(page, 2 * PAGE_SIZE, 'n');
    if (NT_SUCCESS(Open(L"\\??\\C:\\t_raw.bin", READ_WRITE, FILE_OVERWRITE_IF,
            FILE_SYNCHRONOUS_IO_NONALERT | FILE_NO_INTERMEDIATE_BUFFERING, &raw, NULL))) {
        S_N(Write(raw, NULL, &iosb, page, PAGE_SIZE, 0), iosb, PAGE_SIZE, "nt_n_03_an_aligned_noncached_write_succeeds");
        ST(Write(raw, NULL, &iosb, page, 4, 0), STATUS_INVALID_PARAMETER, "nt_n_06_a_noncached_length_must_be_whole_sectors");
        ST(Write(raw, NULL, &iosb, page, PAGE_SIZE, 4), STATUS_INVALID_PARAMETER, "nt_n_06_and_so_must_the_offset");
        EQ(EndOfFile(raw), PAGE_SIZE, "nt_n_06_a_refused_write_changes_no_size");
        S_N(Write(raw, NULL, &iosb, page, PAGE_SIZE, -1), iosb, PAGE_SIZE, "nt_n_05_a_noncached_append_to_whole_sectors_succeeds");
        ZwClose(raw);
    } else {
        OK(FALSE, "nt_a_07_a_noncached_handle_opens");
    }
    ExFreePoolWithTag(page, TAG);
}

static VOID TestAsynchronous(VOID)
{
    IO_STATUS_BLOCK iosb;
    HANDLE file;
    HANDLE handle;
    PFILE_OBJECT object;
    NTSTATUS status;
    PKEVENT event = IoCreateNotificationEvent(NULL, &handle);
    if (event == NULL) return;
    if (NT_SUCCESS(Open(L"\\??\\C:\\t_async.bin", READ_WRITE, FILE_OVERWRITE_IF, 0, &file, NULL))) {
        status = Write(file, handle, &iosb, "async", 5, 0);
        ST(status, STATUS_PENDING, "nt_c_13_an_asynchronous_write_to_a_file_pends");
        DONE(status, event, iosb, 5, "nt_c_04_and_its_event_says_when_the_block_is_final");
        status = Write(file, handle, &iosb, "more", 4, -1);
        DONE(status, event, iosb, 4, "nt_o_05_an_asynchronous_write_can_append");
        RESET(iosb);
        ST(ZwWriteFile(file, NULL, NULL, NULL, &iosb, "x", 1, NULL, NULL), STATUS_INVALID_PARAMETER, "nt_o_07_an_asynchronous_handle_needs_an_offset");
        OK(UNTOUCHED(iosb), "nt_o_07_and_the_status_block_is_not_touched");
        ST(Write(file, NULL, &iosb, "x", 1, -2), STATUS_INVALID_PARAMETER, "nt_o_11_an_asynchronous_handle_has_no_position");
        status = ObReferenceObjectByHandle(file, 0, *IoFileObjectType, KernelMode, (PVOID *)&object, NULL);
        if (NT_SUCCESS(status)) {
            EQ(object->CurrentByteOffset.QuadPart, 0, "nt_o_06_asynchronous_writes_never_move_the_position");
            ObDereferenceObject(object);
        } else {
            ST(status, STATUS_SUCCESS, "nt_o_06_the_file_object_of_a_handle");
        }
        EQ(EndOfFile(file), 9, "nt_o_05_both_writes_are_in_the_file");
        ZwClose(file);
    } else {
        OK(FALSE, "nt_a_07_an_asynchronous_handle_opens");
    }
    ZwClose(handle);
}

VOID TestNt(VOID)
{
    HANDLE file;
    IO_STATUS_BLOCK iosb;
    ULONG_PTR information = ~(ULONG_PTR)0;
    NTSTATUS status = Open(L"\\??\\C:\\t_five.bin", READ_WRITE, FILE_OPEN_IF, FILE_SYNCHRONOUS_IO_NONALERT, &file, &information);
    ST(status, STATUS_SUCCESS, "nt_a_01_a_file_opens_for_writing");
    if (!NT_SUCCESS(status)) return;
    EQ(information, FILE_CREATED, "nt_a_18_a_new_file_is_reported_as_created");
    TestPosition(file);
    TestEvent(file);
    ZwClose(file);
    ST(Write((HANDLE)(ULONG_PTR)0x7FFFFFF0, NULL, &iosb, "x", 1, 0), STATUS_INVALID_HANDLE, "nt_a_06_an_unused_handle_is_refused");
    TestAppendOnly();
    TestNoncached();
    TestAsynchronous();
}

#endif
