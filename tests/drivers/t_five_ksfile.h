/*
 * The checks of KsWriteFile and KsReadFile on files (ks.md sections 3 and 4).
 */
#ifndef NTIO_T_FIVE_KSFILE_H
#define NTIO_T_FIVE_KSFILE_H
#include <ks.h>

VOID TestKsFile(VOID)
{
    HANDLE file, handle;
    PFILE_OBJECT object;
    IO_STATUS_BLOCK iosb;
    NTSTATUS status;
    CHAR buffer[8];
    PKEVENT event;
    if (!NT_SUCCESS(Open(L"\\??\\C:\\t_ks.bin", READ_WRITE, FILE_OVERWRITE_IF, FILE_SYNCHRONOUS_IO_NONALERT, &file, NULL))) {
        OK(FALSE, "ks_w_01_a_file_opens");
        return;
    }
    status = ObReferenceObjectByHandle(file, FILE_WRITE_DATA, *IoFileObjectType, KernelMode, (PVOID *)&object, NULL);
    if (NT_SUCCESS(status)) {
        RESET(iosb);
        S_N(KsWriteFile(object, NULL, NULL, &iosb, "hello", 5, 0, KernelMode), iosb, 5, "ks_w_01_a_write_to_a_file_succeeds");
        EQ(object->CurrentByteOffset.QuadPart, 5, "ks_w_03_it_starts_at_the_position_and_moves_it");
        RESET(iosb);
        S_N(KsWriteFile(object, NULL, NULL, &iosb, " world", 6, 0x4B, KernelMode), iosb, 6, "ks_w_20_the_next_one_goes_on_there");
        if (Instance != NULL) EQ(LastKey, 0x4B, "ks_w_29_the_key_reaches_the_request");
        RESET(iosb);
        S_N(KsWriteFile(object, NULL, NULL, &iosb, NULL, 0, 0, KernelMode), iosb, 0, "ks_w_17_a_write_of_nothing_succeeds");
        OK(Holds(file, 0, "hello world", 11), "ks_w_01_the_bytes_are_in_the_file");
        object->CurrentByteOffset.QuadPart = 6;
        RESET(iosb);
        S_N(KsReadFile(object, NULL, NULL, &iosb, buffer, 5, 0, KernelMode), iosb, 5, "ks_r_01_a_read_works_alike");
        OK(RtlEqualMemory(buffer, "world", 5) && object->CurrentByteOffset.QuadPart == 11, "ks_r_01_from_the_position");
        /* The stack of this thread is above the user range, so a user requestor may not name it. */
        RESET(iosb);
        ST(KsWriteFile(object, NULL, NULL, &iosb, buffer, 5, 0, UserMode), STATUS_ACCESS_VIOLATION, "ks_w_14_a_user_requestor_has_no_kernel_buffer");
        OK(UNTOUCHED(iosb), "ks_w_14_and_the_status_block_is_not_touched");
        ObDereferenceObject(object);
    }
    ZwClose(file);

    event = IoCreateNotificationEvent(NULL, &handle);
    if (event == NULL) return;
    if (NT_SUCCESS(Open(L"\\??\\C:\\t_ks_async.bin", READ_WRITE, FILE_OVERWRITE_IF, 0, &file, NULL))) {
        if (NT_SUCCESS(ObReferenceObjectByHandle(file, FILE_WRITE_DATA, *IoFileObjectType, KernelMode, (PVOID *)&object, NULL))) {
            RESET(iosb);
            status = KsWriteFile(object, event, NULL, &iosb, "event", 5, 0, KernelMode);
            ST(status, STATUS_PENDING, "ks_w_22_an_asynchronous_file_object_pends");
            DONE(status, event, iosb, 5, "ks_w_22_and_the_event_tells_the_end");
            RESET(iosb);
            status = KsWriteFile(object, NULL, NULL, &iosb, "EVENT", 5, 0, KernelMode);
            DONE(status, &object->Event, iosb, 5, "ks_w_21_without_an_event_the_file_object_tells_it");
            EQ(object->CurrentByteOffset.QuadPart, 0, "ks_w_03_and_its_position_stays");
            ObDereferenceObject(object);
        }
        ZwClose(file);
    }
    ZwClose(handle);
}

#endif
