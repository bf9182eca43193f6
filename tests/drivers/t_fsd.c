/*
 * t_fsd: what ntoskrnl.exe lends to file systems, asked by one that is compiled: tunnel caches.
 */
#include <ntifs.h>
#include "t.h"

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

static VOID NTAPI Unload(PDRIVER_OBJECT DriverObject)
{
    UNREFERENCED_PARAMETER(DriverObject);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    DriverObject->DriverUnload = Unload;
    Tunnel();
    return STATUS_SUCCESS;
}
