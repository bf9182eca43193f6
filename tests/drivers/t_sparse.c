/*
 * t_sparse: a sparse file as a driver makes one, from a system thread: what is allocated, what a hole reads as, what zeroing frees,
 * and what the controls refuse. The volume's unit is the host's block on a folder of the host, else 64 KiB.
 */
#include <ntifs.h>
#include "t.h"

#define UNIT 0x10000
#define TERABYTE 0x10000000000LL

typedef struct {
    IO_STATUS_BLOCK Iosb;
    FILE_BASIC_INFORMATION Basic;
    FILE_STANDARD_INFORMATION Standard;
    FILE_ALLOCATED_RANGE_BUFFER Asked;
    FILE_ALLOCATED_RANGE_BUFFER Ranges[4];
    FILE_ZERO_DATA_INFORMATION Zero;
    FILE_SET_SPARSE_BUFFER Sparse;
    UCHAR Bytes[512];
} BLOCK;

static NTSTATUS Control(HANDLE File, BLOCK *B, ULONG Code, PVOID In, ULONG InLength, PVOID Out, ULONG OutLength)
{
    return ZwFsControlFile(File, NULL, NULL, NULL, &B->Iosb, Code, In, InLength, Out, OutLength);
}

/* How many ranges there are; their bytes are in Ranges. */
static ULONG Ranges(HANDLE File, BLOCK *B, ULONG Room, NTSTATUS Wanted, const char *Name)
{
    B->Asked.FileOffset.QuadPart = 0;
    B->Asked.Length.QuadPart = TERABYTE;
    ST(Control(File, B, FSCTL_QUERY_ALLOCATED_RANGES, &B->Asked, sizeof(B->Asked), B->Ranges, Room), Wanted, Name);
    return NT_SUCCESS(Wanted) || Wanted == STATUS_BUFFER_OVERFLOW ? (ULONG)(B->Iosb.Information / sizeof(B->Ranges[0])) : 0;
}

static NTSTATUS Zero(HANDLE File, BLOCK *B, LONGLONG Start, LONGLONG Beyond)
{
    B->Zero.FileOffset.QuadPart = Start;
    B->Zero.BeyondFinalZero.QuadPart = Beyond;
    return Control(File, B, FSCTL_SET_ZERO_DATA, &B->Zero, sizeof(B->Zero), NULL, 0);
}

static VOID Write(HANDLE File, BLOCK *B, LONGLONG At, const char *Name)
{
    LARGE_INTEGER offset;
    offset.QuadPart = At;
    RtlFillMemory(B->Bytes, sizeof(B->Bytes), 7);
    ST(ZwWriteFile(File, NULL, NULL, NULL, &B->Iosb, B->Bytes, sizeof(B->Bytes), &offset, NULL), STATUS_SUCCESS, Name);
}

static VOID Reads(HANDLE File, BLOCK *B, LONGLONG At, UCHAR Byte, const char *Name)
{
    LARGE_INTEGER offset;
    offset.QuadPart = At;
    RtlFillMemory(B->Bytes, sizeof(B->Bytes), 0xEE);
    ST(ZwReadFile(File, NULL, NULL, NULL, &B->Iosb, B->Bytes, sizeof(B->Bytes), &offset, NULL), STATUS_SUCCESS, Name);
    EQ(B->Bytes[0], Byte, Name);
    EQ(B->Bytes[511], Byte, Name);
}

static BOOLEAN IsSparse(HANDLE File, BLOCK *B)
{
    ST(ZwQueryInformationFile(File, &B->Iosb, &B->Basic, sizeof(B->Basic), FileBasicInformation), STATUS_SUCCESS, "basic");
    return (B->Basic.FileAttributes & FILE_ATTRIBUTE_SPARSE_FILE) != 0;
}

static LONGLONG Allocated(HANDLE File, BLOCK *B)
{
    ST(ZwQueryInformationFile(File, &B->Iosb, &B->Standard, sizeof(B->Standard), FileStandardInformation), STATUS_SUCCESS, "standard");
    return B->Standard.AllocationSize.QuadPart;
}

static VOID Test(BLOCK *B)
{
    OBJECT_ATTRIBUTES attributes;
    UNICODE_STRING name;
    HANDLE file;
    LARGE_INTEGER end;
    LONGLONG beside; /* A host counts the room of its attributes too. */
    RtlInitUnicodeString(&name, L"\\??\\C:\\sparse");
    InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    ST(ZwCreateFile(&file, GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, &attributes, &B->Iosb, NULL, FILE_ATTRIBUTE_NORMAL, 0, FILE_CREATE,
                    FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0), STATUS_SUCCESS, "a_file");
    EQ(Ranges(file, B, 0, STATUS_SUCCESS, "nt_spa_06_an_empty_file"), 0, "nt_spa_06_an_empty_file_has_no_range");
    EQ(IsSparse(file, B), FALSE, "nt_spa_01_no_file_is_made_sparse");
    ST(Control(file, B, FSCTL_SET_SPARSE, NULL, 0, NULL, 0), STATUS_SUCCESS, "nt_spa_01_without_a_buffer");
    EQ(IsSparse(file, B), TRUE, "nt_spa_01_the_attribute_shows");
    beside = Allocated(file, B);
    end.QuadPart = TERABYTE;
    ST(ZwSetInformationFile(file, &B->Iosb, &end, sizeof(end), FileEndOfFileInformation), STATUS_SUCCESS, "nt_spa_13_a_length_takes_no_room");
    EQ(Allocated(file, B), beside, "nt_spa_13_nothing_is_allocated");
    Write(file, B, UNIT, "nt_spa_14_a_write_into_a_hole");
    Write(file, B, 9LL * UNIT, "nt_spa_14_another");
    Reads(file, B, 5LL * UNIT, 0, "nt_spa_15_a_hole_reads_as_zero");
    Reads(file, B, 9LL * UNIT, 7, "nt_spa_15_what_was_written_does_not");
    EQ(Ranges(file, B, sizeof(B->Ranges), STATUS_SUCCESS, "nt_spa_09_two_ranges"), 2, "nt_spa_09_two_ranges");
    EQ(B->Ranges[0].FileOffset.QuadPart, UNIT, "nt_spa_09_the_first_begins_where_its_unit_does");
    EQ(B->Ranges[1].FileOffset.QuadPart, 9LL * UNIT, "nt_spa_09_and_the_second");
    EQ(Allocated(file, B), beside + B->Ranges[0].Length.QuadPart + B->Ranges[1].Length.QuadPart, "nt_spa_13_they_are_what_is_allocated");
    EQ(Ranges(file, B, sizeof(B->Ranges[0]), STATUS_BUFFER_OVERFLOW, "nt_spa_07_one_fits"), 1, "nt_spa_07_one_is_told");
    Ranges(file, B, 15, STATUS_BUFFER_TOO_SMALL, "nt_spa_07_none_fits");
    ST(Zero(file, B, 0, 2LL * UNIT), STATUS_SUCCESS, "nt_spa_11_the_first_goes");
    EQ(Ranges(file, B, sizeof(B->Ranges), STATUS_SUCCESS, "nt_spa_11_one_range"), 1, "nt_spa_11_one_range_is_left");
    EQ(B->Ranges[0].FileOffset.QuadPart, 9LL * UNIT, "nt_spa_11_the_second");
    Reads(file, B, UNIT, 0, "nt_spa_11_and_reads_as_zero");
    ST(Zero(file, B, 2, 1), STATUS_INVALID_PARAMETER, "nt_spa_10_an_end_before_the_start");
    ST(Control(file, B, FSCTL_SET_ZERO_DATA, &B->Zero, 15, NULL, 0), STATUS_INVALID_PARAMETER, "nt_spa_10_a_short_buffer");
    end.QuadPart = 10LL * UNIT;
    ST(ZwSetInformationFile(file, &B->Iosb, &end, sizeof(end), FileEndOfFileInformation), STATUS_SUCCESS, "a_shorter_file");
    B->Sparse.SetSparse = FALSE;
    ST(Control(file, B, FSCTL_SET_SPARSE, &B->Sparse, sizeof(B->Sparse), NULL, 0), STATUS_SUCCESS, "nt_spa_02_sparse_no_longer");
    EQ(IsSparse(file, B), FALSE, "nt_spa_02_the_attribute_goes");
    EQ(Ranges(file, B, sizeof(B->Ranges), STATUS_SUCCESS, "nt_spa_02_one_range"), 1, "nt_spa_02_one_range");
    EQ(B->Ranges[0].Length.QuadPart, 10LL * UNIT, "nt_spa_02_it_is_all_of_the_file");
    ST(Zero(file, B, 9LL * UNIT, 10LL * UNIT), STATUS_SUCCESS, "nt_spa_10_zeroed_in_place");
    EQ(Ranges(file, B, sizeof(B->Ranges), STATUS_SUCCESS, "nt_spa_08_one_range"), 1, "nt_spa_08_it_has_one_range");
    Reads(file, B, 9LL * UNIT, 0, "nt_spa_10_and_zero");
    ZwClose(file);
}

static VOID NTAPI Unload(PDRIVER_OBJECT DriverObject)
{
    UNREFERENCED_PARAMETER(DriverObject);
}

DRIVER_INITIALIZE DriverEntry;

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    BLOCK *block = ExAllocatePoolWithTag(NonPagedPool, sizeof(BLOCK), 'apST');
    UNREFERENCED_PARAMETER(RegistryPath);
    if (block == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    DriverObject->DriverUnload = Unload;
    Test(block);
    ExFreePoolWithTag(block, 'apST');
    return STATUS_SUCCESS;
}
