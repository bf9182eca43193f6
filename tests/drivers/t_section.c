/*
 * t_section: a driver maps a file and touches the view as any memory: loads, stores, string moves and its vector registers; then
 * what the memory manager tells a file system of it.
 */
#include <ntifs.h>
#include "t.h"

DRIVER_INITIALIZE DriverEntry;

static UCHAR Bytes[0x6000], Back[0x6000];
static HANDLE File, Section;
static IO_STATUS_BLOCK Iosb;

static NTSTATUS Open(VOID)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\??\\C:\\t_section");
    OBJECT_ATTRIBUTES attributes;
    InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    return ZwCreateFile(&File, GENERIC_READ | GENERIC_WRITE | DELETE | SYNCHRONIZE, &attributes, &Iosb, NULL, FILE_ATTRIBUTE_NORMAL,
        FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, FILE_OPEN_IF, FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0);
}

static NTSTATUS Transfer(BOOLEAN Write, PVOID Buffer, ULONG Length, LONGLONG At)
{
    LARGE_INTEGER at;
    at.QuadPart = At;
    return Write ? ZwWriteFile(File, NULL, NULL, NULL, &Iosb, Buffer, Length, &at, NULL)
                 : ZwReadFile(File, NULL, NULL, NULL, &Iosb, Buffer, Length, &at, NULL);
}

static NTSTATUS Map(HANDLE From, ULONG Protection, PUCHAR *View, SIZE_T *Size)
{
    *View = NULL;
    *Size = 0;
    return ZwMapViewOfSection(From, NtCurrentProcess(), (PVOID *)View, 0, 0, NULL, Size, ViewUnmap, 0, Protection);
}

static NTSTATUS Touch(volatile UCHAR *At, BOOLEAN Store)
{
    __try {
        if (Store) *At = 1;
        else (VOID)*At;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return GetExceptionCode();
    }
    return STATUS_SUCCESS;
}

/* A load of a page that is not there keeps the upper halves of the vector registers of who loads. */
static BOOLEAN KeepsVectors(volatile UCHAR *At)
{
    static ULONGLONG in[4] = { 1, 2, 3, 4 }, out[4];
    __asm__ volatile("vmovups (%0), %%ymm7\n\tmovb (%2), %%al\n\tvmovups %%ymm7, (%1)\n\tvzeroupper"
                     : : "r"(in), "r"(out), "r"(At) : "memory", "rax", "xmm7");
    return RtlCompareMemory(in, out, sizeof in) == sizeof in;
}

static BOOLEAN HasAvx(VOID)
{
    ULONG a = 1, b, c = 0, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return (c & 0x18000000) == 0x18000000;
}

static VOID Views(VOID)
{
    PUCHAR view, other, copy;
    SIZE_T size, region;
    PVOID base;
    ULONG i;
    for (i = 0; i < sizeof Bytes; i++) Bytes[i] = (UCHAR)(i % 251);
    ST(Transfer(TRUE, Bytes, sizeof Bytes, 0), STATUS_SUCCESS, "nt_cc_65_a_driver_writes_the_file");
    ST(ZwCreateSection(&Section, SECTION_ALL_ACCESS, NULL, NULL, PAGE_READWRITE, SEC_COMMIT, File), STATUS_SUCCESS,
        "nt_cc_65_a_section_of_a_file");
    ST(Map(Section, PAGE_READWRITE, &view, &size), STATUS_SUCCESS, "nt_cc_65_a_view_is_mapped");
    EQ(size, sizeof Bytes, "nt_cc_65_the_view_is_as_large_as_the_file");
    EQ(view[5], 5, "nt_cc_65_a_load_pages_in");
    EQ(RtlCompareMemory(view, Bytes, sizeof Bytes), sizeof Bytes, "nt_cc_65_a_leaf_loads_across_pages");
    if (HasAvx()) {
        ST(Map(Section, PAGE_READONLY, &other, &size), STATUS_SUCCESS, "nt_cc_65_a_second_view");
        OK(KeepsVectors(other + 0x2000), "nt_cc_65_a_page_fault_keeps_the_vector_registers");
        ST(ZwUnmapViewOfSection(NtCurrentProcess(), other), STATUS_SUCCESS, "nt_cc_65_the_second_view_goes");
    }
    RtlFillMemory(view + 0xFFE, 4, 0xEE);
    ST(Transfer(FALSE, Back, 4, 0xFFE), STATUS_SUCCESS, "nt_cc_65_a_cached_read_of_what_was_stored");
    OK(Back[0] == 0xEE && Back[3] == 0xEE, "nt_cc_65_a_cached_read_sees_a_store_at_once");
    ST(Transfer(TRUE, "written", 7, 0x3000), STATUS_SUCCESS, "nt_cc_65_a_cached_write_under_the_view");
    OK(RtlCompareMemory(view + 0x3000, "written", 7) == 7, "nt_cc_65_the_view_sees_a_cached_write_at_once");
    ST(Map(Section, PAGE_READONLY, &other, &size), STATUS_SUCCESS, "nt_cc_65_a_view_for_loads");
    ST(Touch(other, FALSE), STATUS_SUCCESS, "nt_cc_65_a_load_from_it");
    ST(Touch(other, TRUE), STATUS_ACCESS_VIOLATION, "nt_cc_65_a_store_to_it_is_an_access_violation");
    ST(Map(Section, PAGE_WRITECOPY, &copy, &size), STATUS_SUCCESS, "nt_cc_65_a_view_that_copies");
    RtlFillMemory(copy, 4, 0x77);
    OK(copy[0] == 0x77 && view[0] == 0, "nt_cc_65_a_copy_keeps_its_stores");
    RtlMoveMemory(copy + 0x1000, view + 0x3000, 7);
    OK(copy[0x1000] == 'w' && view[0x1000] != 'w', "nt_cc_65_a_leaf_faults_at_both_ends");
    ST(Transfer(TRUE, other + 0x4000, 16, 0x5000), STATUS_SUCCESS, "nt_cc_65_a_view_is_a_buffer_of_a_write_to_its_file");
    OK(RtlCompareMemory(view + 0x5000, Bytes + 0x4000, 16) == 16, "nt_cc_65_and_the_write_has_its_bytes");
    view[0x100] = 9;
    base = view + 0x100;
    region = 1;
    ST(ZwFlushVirtualMemory(NtCurrentProcess(), &base, &region, &Iosb), STATUS_SUCCESS, "nt_cc_67_a_view_is_flushed");
    OK(base == view && region == 0x1000, "nt_cc_67_by_whole_pages");
    ST(ZwUnmapViewOfSection(NtCurrentProcess(), copy), STATUS_SUCCESS, "nt_cc_65_the_copy_goes");
    ST(ZwUnmapViewOfSection(NtCurrentProcess(), other), STATUS_SUCCESS, "nt_cc_65_the_view_for_loads_goes");
    ST(Touch(other, FALSE), STATUS_ACCESS_VIOLATION, "nt_cc_65_nothing_is_there_any_more");
    ST(ZwUnmapViewOfSection(NtCurrentProcess(), other), STATUS_NOT_MAPPED_VIEW, "nt_cc_65_it_goes_once");
    ST(ZwUnmapViewOfSection(NtCurrentProcess(), view), STATUS_SUCCESS, "nt_cc_65_the_view_goes");
}

static VOID Doors(VOID)
{
    PFILE_OBJECT object;
    LARGE_INTEGER size;
    PSECTION_OBJECT_POINTERS sections;
    UCHAR delete = TRUE;
    ST(ObReferenceObjectByHandle(File, 0, *IoFileObjectType, KernelMode, (PVOID *)&object, NULL), STATUS_SUCCESS,
        "nt_i_09_the_file_object");
    sections = object->SectionObjectPointer;
    OK(sections->DataSectionObject != NULL && sections->ImageSectionObject == NULL, "nt_i_09_the_pointers_tell");
    size.QuadPart = sizeof Bytes - 1;
    OK(!MmCanFileBeTruncated(sections, &size), "nt_i_09_no_cut_below_the_end");
    ST(ZwSetInformationFile(File, &Iosb, &size, sizeof size, FileEndOfFileInformation), STATUS_USER_MAPPED_FILE,
        "nt_i_09_the_volume_refuses_it");
    size.QuadPart = sizeof Bytes;
    OK(MmCanFileBeTruncated(sections, &size), "nt_i_09_the_same_size_is_no_cut");
    OK(!MmCanFileBeTruncated(sections, NULL), "nt_i_09_nor_any_cut");
    EQ(MmDoesFileHaveUserWritableReferences(sections), 1, "nt_shr_03_one_section_may_store");
    OK(MmFlushImageSection(sections, MmFlushForWrite), "nt_cc_75_data_is_no_image");
    OK(!MmFlushImageSection(sections, MmFlushForDelete), "nt_del_10_a_section_hinders_deletion");
    OK(!MmForceSectionClosed(sections, FALSE), "nt_i_09_it_is_in_use");
    ST(ZwSetInformationFile(File, &Iosb, &delete, 1, FileDispositionInformation), STATUS_CANNOT_DELETE,
        "nt_del_10_the_volume_refuses_it");
    ST(ZwClose(Section), STATUS_SUCCESS, "nt_i_09_the_section_goes");
    OK(MmCanFileBeTruncated(sections, NULL), "nt_i_09_then_it_can_be_cut");
    EQ(MmDoesFileHaveUserWritableReferences(sections), 0, "nt_shr_03_nobody_may_store");
    OK(MmFlushImageSection(sections, MmFlushForDelete), "nt_del_10_then_it_can_be_deleted");
    ST(ZwCreateSection(&Section, SECTION_ALL_ACCESS, NULL, NULL, PAGE_READONLY, SEC_IMAGE, File), STATUS_INVALID_IMAGE_FORMAT,
        "nt_cc_75_what_is_no_program_is_no_image");
    ST(ZwSetInformationFile(File, &Iosb, &delete, 1, FileDispositionInformation), STATUS_SUCCESS, "nt_del_10_the_volume_takes_it");
    ObDereferenceObject(object);
}

static VOID NTAPI Unload(PDRIVER_OBJECT DriverObject)
{
    UNREFERENCED_PARAMETER(DriverObject);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    DriverObject->DriverUnload = Unload;
    ST(Open(), STATUS_SUCCESS, "nt_cc_65_a_file_is_opened");
    Views();
    Doors();
    ST(ZwClose(File), STATUS_SUCCESS, "nt_cc_65_the_file_is_closed");
    return STATUS_SUCCESS;
}
