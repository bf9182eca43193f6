/*
 * t_fsd: what ntoskrnl.exe lends to file systems, asked by one that is compiled: tunnel caches, and the sharing of a file that
 * its own control block counts.
 */
#include <ntifs.h>
#include "t.h"

#define T_DEVICE L"TFsd"
#include "t_device.h"

DRIVER_INITIALIZE DriverEntry;

static TUNNEL Cache;
static UNICODE_STRING Short = RTL_CONSTANT_STRING(L"LONGNA~1.TXT"), Long = RTL_CONSTANT_STRING(L"Long name.txt"),
                      Asked = RTL_CONSTANT_STRING(L"LONG NAME.TXT"), None = RTL_CONSTANT_STRING(L"");

typedef struct {
    WCHAR ShortBuffer[12], LongBuffer[32];
    UNICODE_STRING Short, Long;
    LARGE_INTEGER Data;
    ULONG Length;
} FOUND;

static BOOLEAN Find(FOUND *Found, ULONGLONG Directory, PUNICODE_STRING Name, USHORT Room)
{
    RtlZeroMemory(Found, sizeof *Found);
    Found->Short.Buffer = Found->ShortBuffer;
    Found->Short.MaximumLength = sizeof Found->ShortBuffer;
    Found->Long.Buffer = Found->LongBuffer;
    Found->Long.MaximumLength = Room;
    Found->Length = sizeof Found->Data;
    return FsRtlFindInTunnelCache(&Cache, Directory, Name, &Found->Short, &Found->Long, &Found->Length, &Found->Data);
}

static VOID Tunnel(VOID)
{
    static FOUND found;
    LARGE_INTEGER created;
    created.QuadPart = 0x01C0123456789ABC;
    FsRtlInitializeTunnelCache(&Cache);
    OK(!Find(&found, 5, &Long, sizeof found.LongBuffer), "nt_ren_37_a_new_cache_is_empty");
    FsRtlAddToTunnelCache(&Cache, 5, &Short, &Long, FALSE, sizeof created, &created);
    EQ(Cache.NumEntries, 1, "nt_ren_37_entries_are_counted");
    OK(Find(&found, 5, &Asked, sizeof found.LongBuffer), "nt_ren_37_found_by_the_name_that_went_in_any_case");
    EQ(found.Data.QuadPart, created.QuadPart, "nt_ren_37_with_its_data");
    EQ(found.Length, sizeof created, "nt_ren_37_and_their_length");
    OK(RtlEqualUnicodeString(&found.Short, &Short, FALSE), "nt_ren_37_with_its_short_name");
    OK(RtlEqualUnicodeString(&found.Long, &Long, FALSE), "nt_ren_37_with_its_long_name_as_it_was_spelled");
    OK(found.Long.Buffer == found.LongBuffer, "nt_ren_37_in_the_buffer_that_was_given");
    OK(Find(&found, 5, &Long, 8), "nt_ren_37_a_buffer_that_is_too_small_is_replaced");
    OK(found.Long.Buffer != found.LongBuffer && RtlEqualUnicodeString(&found.Long, &Long, FALSE), "nt_ren_37_by_one_of_pool");
    if (found.Long.Buffer != found.LongBuffer) ExFreePool(found.Long.Buffer);
    OK(!Find(&found, 6, &Long, sizeof found.LongBuffer), "nt_ren_37_not_in_another_directory");
    OK(!Find(&found, 5, &Short, sizeof found.LongBuffer), "nt_ren_37_not_by_the_name_that_it_did_not_go_by");
    FsRtlAddToTunnelCache(&Cache, 6, &Short, &Long, TRUE, sizeof created, &created);
    OK(Find(&found, 6, &Short, sizeof found.LongBuffer) && !Find(&found, 6, &Long, sizeof found.LongBuffer), "nt_ren_37_by_the_short_name_when_it_went_by_that");
    created.QuadPart++;
    FsRtlAddToTunnelCache(&Cache, 5, &None, &Asked, FALSE, sizeof created, &created);
    OK(Find(&found, 5, &Long, sizeof found.LongBuffer) && found.Data.QuadPart == created.QuadPart, "nt_ren_37_the_last_of_a_name_counts");
    EQ(found.Short.Length, 0, "nt_ren_37_which_had_no_short_name");
    EQ(Cache.NumEntries, 2, "nt_ren_37_and_is_the_only_one_of_it");
    FsRtlDeleteKeyFromTunnelCache(&Cache, 5);
    OK(!Find(&found, 5, &Long, sizeof found.LongBuffer) && Find(&found, 6, &Short, sizeof found.LongBuffer), "nt_ren_37_a_directory_is_forgotten");
    EQ(Cache.NumEntries, 1, "nt_ren_37_with_its_names_only");
    FsRtlDeleteTunnelCache(&Cache);
    FsRtlInitializeTunnelCache(&Cache);
    OK(!Find(&found, 6, &Short, sizeof found.LongBuffer), "nt_ren_37_a_cache_that_starts_again_is_empty");
    FsRtlDeleteTunnelCache(&Cache);
}

/* The one file of this file system, with sharing as its FCB has it. */
static SHARE_ACCESS Sharing;
static FILE_OBJECT Marks; /* of the last open: what it was marked with */
static ULONG Handles;
static BOOLEAN Ex, MayWrite, Split;

static NTSTATUS NTAPI Dispatch(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
    NTSTATUS status = STATUS_SUCCESS;
    UNREFERENCED_PARAMETER(DeviceObject);
    if (stack->MajorFunction == IRP_MJ_CREATE) {
        ACCESS_MASK access = stack->Parameters.Create.SecurityContext->DesiredAccess;
        ULONG share = stack->Parameters.Create.ShareAccess;
        if (Handles == 0 && Ex) IoSetShareAccessEx(access, share, stack->FileObject, &Sharing, &MayWrite);
        else if (Handles == 0) IoSetShareAccess(access, share, stack->FileObject, &Sharing);
        else if (Ex) status = IoCheckShareAccessEx(access, share, stack->FileObject, &Sharing, TRUE, &MayWrite);
        else if (!Split) status = IoCheckShareAccess(access, share, stack->FileObject, &Sharing, TRUE);
        else {
            /* The check first, the count when the rest of the open has gone well. */
            status = IoCheckShareAccess(access, share, stack->FileObject, &Sharing, FALSE);
            if (NT_SUCCESS(status)) IoUpdateShareAccess(stack->FileObject, &Sharing);
        }
        Marks = *stack->FileObject;
        if (NT_SUCCESS(status)) Handles++;
    } else if (stack->MajorFunction == IRP_MJ_CLEANUP) {
        IoRemoveShareAccess(stack->FileObject, &Sharing);
        Handles--;
    }
    return Complete(Irp, status, 0);
}

static NTSTATUS Open(PHANDLE Handle, ULONG Access, ULONG Share)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\TFsd\\f");
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK iosb;
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE, NULL, NULL);
    return ZwCreateFile(Handle, Access, &attributes, &iosb, NULL, 0, Share, FILE_OPEN, 0, NULL, 0);
}

/* OpenCount, Readers, Writers, Deleters, SharedRead, SharedWrite, SharedDelete. */
static BOOLEAN Counts(ULONG Opens, ULONG R, ULONG W, ULONG D, ULONG Sr, ULONG Sw, ULONG Sd)
{
    return Sharing.OpenCount == Opens && Sharing.Readers == R && Sharing.Writers == W && Sharing.Deleters == D && Sharing.SharedRead == Sr &&
        Sharing.SharedWrite == Sw && Sharing.SharedDelete == Sd;
}

static BOOLEAN Marked(BOOLEAN R, BOOLEAN W, BOOLEAN D, BOOLEAN Sr, BOOLEAN Sw, BOOLEAN Sd)
{
    return Marks.ReadAccess == R && Marks.WriteAccess == W && Marks.DeleteAccess == D && Marks.SharedRead == Sr && Marks.SharedWrite == Sw &&
        Marks.SharedDelete == Sd;
}

static VOID Share(VOID)
{
    HANDLE one, two, three, twin;
    PFILE_OBJECT object;
    EQ(sizeof Sharing, 28, "nt_shr_07_seven_ulongs");
    RtlFillMemory(&Sharing, sizeof Sharing, 0xEE);
    ST(Open(&one, FILE_READ_DATA, FILE_SHARE_READ | FILE_SHARE_WRITE), STATUS_SUCCESS, "nt_shr_07_the_first_open");
    OK(Counts(1, 1, 0, 0, 1, 1, 0), "nt_shr_07_sets_the_counts_whatever_they_were");
    OK(Marked(1, 0, 0, 1, 1, 0), "nt_shr_07_and_the_flags_of_the_file_object");
    ST(Open(&two, FILE_APPEND_DATA, FILE_SHARE_READ), STATUS_SUCCESS, "nt_shr_07_a_writer_may_join");
    OK(Counts(2, 1, 1, 0, 2, 1, 0) && Marked(0, 1, 0, 1, 0, 0), "nt_shr_07_the_check_updates");
    ST(Open(&three, FILE_WRITE_DATA, 7), STATUS_SHARING_VIOLATION, "nt_shr_07_another_is_not_let");
    ST(Open(&three, DELETE, 7), STATUS_SHARING_VIOLATION, "nt_shr_07_nobody_lets_delete");
    ST(Open(&three, FILE_EXECUTE, FILE_SHARE_READ), STATUS_SHARING_VIOLATION, "nt_shr_07_who_lets_nobody_write_cannot_join_a_writer");
    OK(Counts(2, 1, 1, 0, 2, 1, 0), "nt_shr_07_a_refused_open_counts_nothing");
    ST(Open(&three, FILE_READ_ATTRIBUTES | SYNCHRONIZE, 0), STATUS_SUCCESS, "nt_shr_07_attributes_need_no_sharing");
    OK(Counts(2, 1, 1, 0, 2, 1, 0) && Marked(0, 0, 0, 0, 0, 0), "nt_shr_07_and_do_not_count");
    ZwClose(three);
    OK(Counts(2, 1, 1, 0, 2, 1, 0), "nt_shr_07_nor_does_their_end");
    /* Removal at cleanup: when the last handle goes, though the file object lives on. */
    ObReferenceObjectByHandle(two, 0, NULL, KernelMode, (PVOID *)&object, NULL);
    ZwDuplicateObject(NtCurrentProcess(), two, NtCurrentProcess(), &twin, 0, OBJ_KERNEL_HANDLE, DUPLICATE_SAME_ACCESS);
    ZwClose(two);
    OK(Counts(2, 1, 1, 0, 2, 1, 0), "nt_shr_07_another_handle_keeps_it");
    ZwClose(twin);
    OK(Counts(1, 1, 0, 0, 1, 1, 0), "nt_shr_07_cleanup_removes_it");
    ObDereferenceObject(object);
    OK(Counts(1, 1, 0, 0, 1, 1, 0), "nt_shr_07_and_close_does_not");
    Split = TRUE;
    ST(Open(&two, FILE_WRITE_DATA, FILE_SHARE_READ), STATUS_SUCCESS, "nt_shr_07_checked_without_an_update");
    OK(Counts(2, 1, 1, 0, 2, 1, 0), "nt_shr_07_and_updated_later");
    ZwClose(two);
    ZwClose(one);
    OK(Counts(0, 0, 0, 0, 0, 0, 0), "nt_shr_07_nothing_is_left");
    /* Who may not write cannot keep other readers out. */
    Ex = TRUE;
    ST(Open(&one, FILE_READ_DATA, 0), STATUS_SUCCESS, "nt_shr_07_exclusive_without_permission_to_write");
    OK(Counts(1, 1, 0, 0, 1, 0, 0) && Marked(1, 0, 0, 1, 0, 0), "nt_shr_07_becomes_shared_for_reading");
    ST(Open(&two, FILE_READ_DATA, 0), STATUS_SUCCESS, "nt_shr_07_and_lets_another_in");
    MayWrite = TRUE;
    ST(Open(&three, FILE_READ_DATA, 0), STATUS_SHARING_VIOLATION, "nt_shr_07_with_permission_it_is_exclusive");
    ZwClose(two);
    ZwClose(one);
    ST(Open(&one, FILE_READ_DATA, 0), STATUS_SUCCESS, "nt_shr_07_alone_with_permission");
    OK(Counts(1, 1, 0, 0, 0, 0, 0), "nt_shr_07_it_lets_nobody_in");
    ZwClose(one);
}

static VOID NTAPI Unload(PDRIVER_OBJECT DriverObject)
{
    UNREFERENCED_PARAMETER(DriverObject);
    IoDeleteDevice(Device);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    NTSTATUS status = MakeFileSystem(DriverObject, Dispatch);
    UNREFERENCED_PARAMETER(RegistryPath);
    if (!NT_SUCCESS(status)) return status;
    DriverObject->DriverUnload = Unload;
    Tunnel();
    Share();
    return STATUS_SUCCESS;
}
