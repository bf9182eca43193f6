/*
 * t_services: the file services beside reading and writing under both names, from a system thread (DriverEntry: previous mode is
 * kernel, Nt is as Zw) and from a user's (IOCTL_TSERVICES on \??\TServices: Nt takes nothing of the kernel's, Zw takes all of it);
 * and what a file system does with writes that extend, that are the first of their file object, that have their pages lent.
 */
#include <ntifs.h>
#include "t.h"
#define T_DEVICE L"TServices"
#include "t_device.h"

/* METHOD_NEITHER: the input buffer is a page of the caller's. */
#define IOCTL_TSERVICES CTL_CODE(FILE_DEVICE_UNKNOWN, 0x801, METHOD_NEITHER, FILE_ANY_ACCESS) /* 0x00222007 */
#define SHARE (FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE)
#define STAT_INFORMATION ((FILE_INFORMATION_CLASS)68)
#define GET_REPARSE_POINT 0x000900A8
#define SET_PURGE_FAILURE_MODE 0x00090270
#define PURGE_FAILED ((NTSTATUS)0xC0000435L)

typedef struct {
    IO_STATUS_BLOCK Iosb;
    OBJECT_ATTRIBUTES Attributes;
    UNICODE_STRING Name;
    WCHAR Text[32];
    ULONGLONG Slot;
    /* One FILE_FULL_EA_INFORMATION: offset 0, flags 0, a name of one character, a value of two. */
    UCHAR Ea[16];
    struct { ULONG Length; WCHAR Text[4]; } Label;
    UCHAR Out[1024];
} ARGUMENTS;

static VOID Fill(ARGUMENTS *A, PCWSTR Name, ULONG Flags)
{
    static const UCHAR ea[] = {0, 0, 0, 0, 0, 1, 2, 0, 'T', 0, 'v', 'w'};
    ULONG length = 0;
    RtlZeroMemory(A, sizeof(*A));
    for (; Name[length] != 0; length++) A->Text[length] = Name[length];
    A->Name.Buffer = A->Text;
    A->Name.Length = (USHORT)(length * sizeof(WCHAR));
    A->Name.MaximumLength = A->Name.Length;
    InitializeObjectAttributes(&A->Attributes, &A->Name, OBJ_CASE_INSENSITIVE | Flags, NULL, NULL);
    RtlCopyMemory(A->Ea, ea, sizeof(ea));
    A->Label.Length = 6;
    A->Label.Text[0] = 'S';
    A->Label.Text[1] = 'V';
    A->Label.Text[2] = 'C';
}

static NTSTATUS Open(ARGUMENTS *A, PCWSTR Name, ULONG Flags, ACCESS_MASK Access, ULONG Disposition, ULONG Options, PHANDLE Handle)
{
    Fill(A, Name, Flags);
    *Handle = NULL;
    return ZwCreateFile(Handle, Access | SYNCHRONIZE, &A->Attributes, &A->Iosb, NULL, FILE_ATTRIBUTE_NORMAL, SHARE, Disposition, Options, NULL, 0);
}

/* Each service under the name `p##...`, with arguments at A; every one must end as `wanted`, or well if that is SUCCESS. */
#define EACH(p, A, dir, file, volume, wanted, name) \
    do { \
        BOOLEAN well = (wanted) == STATUS_SUCCESS; \
        ST(p##QueryDirectoryFile(dir, NULL, NULL, NULL, &(A)->Iosb, (A)->Out, sizeof((A)->Out), FileNamesInformation, TRUE, NULL, TRUE), wanted, name "_directory"); \
        ST(p##QueryDirectoryFileEx(dir, NULL, NULL, NULL, &(A)->Iosb, (A)->Out, sizeof((A)->Out), FileNamesInformation, SL_RESTART_SCAN | SL_RETURN_SINGLE_ENTRY, NULL), wanted, name "_directory_ex"); \
        ST(p##SetEaFile(file, &(A)->Iosb, (A)->Ea, 12), wanted, name "_set_ea"); \
        ST(p##QueryEaFile(file, &(A)->Iosb, (A)->Out, sizeof((A)->Out), FALSE, NULL, 0, NULL, TRUE), wanted, name "_query_ea"); \
        if (well) EQ((A)->Out[10], 'v', name "_query_ea_value"); \
        ST(p##QueryVolumeInformationFile(file, &(A)->Iosb, (A)->Out, sizeof((A)->Out), FileFsVolumeInformation), wanted, name "_query_volume"); \
        ST(p##SetVolumeInformationFile(volume, &(A)->Iosb, &(A)->Label, 10, FileFsLabelInformation), wanted, name "_set_volume"); \
        ST(p##FlushBuffersFileEx(file, 0, NULL, 0, &(A)->Iosb), wanted, name "_flush"); \
        ST(p##QueryInformationByName(&(A)->Attributes, &(A)->Iosb, (A)->Out, 72, STAT_INFORMATION), wanted, name "_by_name"); \
        ST(p##FsControlFile(file, NULL, NULL, NULL, &(A)->Iosb, GET_REPARSE_POINT, NULL, 0, (A)->Out, sizeof((A)->Out)), well ? STATUS_NOT_A_REPARSE_POINT : (wanted), name "_control"); \
        ST(p##OpenFile((PHANDLE)&(A)->Slot, FILE_READ_ATTRIBUTES | SYNCHRONIZE, &(A)->Attributes, &(A)->Iosb, SHARE, 0), wanted, name "_open"); \
        if (well) ST(ZwClose((HANDLE)(A)->Slot), STATUS_SUCCESS, name "_close"); \
    } while (0)

static VOID TestKernel(VOID)
{
    ARGUMENTS *a = ExAllocatePoolWithTag(NonPagedPool, sizeof(ARGUMENTS), 'vrST');
    HANDLE dir, file, volume;
    ULONG index;
    static const ULONG flags[] = {0, 1, 2, 4, 8};
    ULONG kernel = OBJ_KERNEL_HANDLE;
    if (a == NULL) return;
    ST(Open(a, L"\\??\\C:\\", kernel, FILE_LIST_DIRECTORY, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT | FILE_DIRECTORY_FILE, &dir), STATUS_SUCCESS, "nt_b_11_services_open_a_directory");
    ST(Open(a, L"\\??\\C:", kernel, FILE_READ_DATA | FILE_WRITE_DATA, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT, &volume), STATUS_SUCCESS, "nt_b_11_services_open_the_volume");
    ST(Open(a, L"\\??\\C:\\svc.txt", kernel, GENERIC_READ | GENERIC_WRITE, FILE_OPEN_IF, FILE_SYNCHRONOUS_IO_NONALERT, &file), STATUS_SUCCESS, "nt_b_11_services_open_a_file");
    EACH(Zw, a, dir, file, volume, STATUS_SUCCESS, "nt_b_11_a_system_thread_zw");
    EACH(Nt, a, dir, file, volume, STATUS_SUCCESS, "nt_b_12_a_system_thread_nt_as_zw");
    ST(ZwQueryFullAttributesFile(&a->Attributes, a->Out), STATUS_SUCCESS, "nt_b_11_full_attributes");
    ST(ZwQueryFullAttributesFile(NULL, a->Out), STATUS_ACCESS_VIOLATION, "nt_b_11_full_attributes_of_nothing");
    for (index = 0; index < RTL_NUMBER_OF(flags); index++)
        ST(ZwFlushBuffersFileEx(file, flags[index], NULL, 0, &a->Iosb), STATUS_SUCCESS, "flush_each_kind_of_flush");
    ST(ZwFlushBuffersFileEx(file, 3, NULL, 0, &a->Iosb), STATUS_INVALID_PARAMETER, "flush_two_kinds_at_once");
    ST(ZwFlushBuffersFileEx(file, 0, a->Out, 8, &a->Iosb), STATUS_INVALID_PARAMETER, "flush_reserved_parameters");
    /* The label that was set is there; a pattern is matched, and the scan ends. */
    ST(ZwQueryVolumeInformationFile(file, &a->Iosb, a->Out, sizeof(a->Out), FileFsVolumeInformation), STATUS_SUCCESS, "volume_label");
    EQ(*(UNALIGNED USHORT *)&a->Out[18], 'S', "volume_label_text");
    RtlInitUnicodeString(&a->Name, L"sv*.TXT");
    ST(ZwQueryDirectoryFile(dir, NULL, NULL, NULL, &a->Iosb, a->Out, sizeof(a->Out), FileNamesInformation, FALSE, &a->Name, TRUE), STATUS_SUCCESS, "directory_a_pattern");
    EQ(*(ULONG *)&a->Out[8], 14, "directory_a_pattern_finds_one_name");
    ST(ZwQueryDirectoryFile(dir, NULL, NULL, NULL, &a->Iosb, a->Out, sizeof(a->Out), FileNamesInformation, FALSE, NULL, FALSE), STATUS_NO_MORE_FILES, "directory_and_no_more");
    ZwClose(file);
    Fill(a, L"\\??\\C:\\svc.txt", kernel);
    ST(ZwDeleteFile(&a->Attributes), STATUS_SUCCESS, "delete_by_zw");
    ST(NtDeleteFile(&a->Attributes), STATUS_OBJECT_NAME_NOT_FOUND, "delete_by_nt_finds_nothing");
    ZwClose(dir);
    ZwClose(volume);
    ExFreePoolWithTag(a, 'vrST');
}

/* In the thread of a user that gave a page of its own. */
static VOID TestUser(ARGUMENTS *User)
{
    ARGUMENTS *a = ExAllocatePoolWithTag(NonPagedPool, sizeof(ARGUMENTS), 'vrST');
    HANDLE dir, file, volume, own, table;
    IO_STATUS_BLOCK iosb;
    if (a == NULL) return;
    ST(Open(a, L"\\??\\C:\\", 0, FILE_LIST_DIRECTORY, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT | FILE_DIRECTORY_FILE, &dir), STATUS_SUCCESS, "nt_b_12_services_open_a_directory");
    ST(Open(a, L"\\??\\C:", 0, FILE_READ_DATA | FILE_WRITE_DATA, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT, &volume), STATUS_SUCCESS, "nt_b_12_services_open_the_volume");
    ST(Open(a, L"\\??\\C:\\usr.txt", OBJ_KERNEL_HANDLE, GENERIC_READ | GENERIC_WRITE, FILE_OPEN_IF, FILE_SYNCHRONOUS_IO_NONALERT, &own), STATUS_SUCCESS, "nt_b_12_services_open_a_kernel_handle");
    ST(Open(a, L"\\??\\C:\\usr.txt", 0, GENERIC_READ, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT, &table), STATUS_SUCCESS, "nt_b_12_services_open_to_read");
    ST(Open(a, L"\\??\\C:\\usr.txt", 0, GENERIC_READ | GENERIC_WRITE, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT, &file), STATUS_SUCCESS, "nt_b_12_services_open_a_file");
    Fill(User, L"\\??\\C:\\usr.txt", 0);
    EACH(Nt, User, dir, file, volume, STATUS_SUCCESS, "nt_b_12_a_users_thread_with_its_own_memory");
    EACH(Nt, a, dir, file, volume, STATUS_ACCESS_VIOLATION, "nt_b_12_a_users_thread_with_kernel_memory");
    EACH(Zw, a, dir, file, volume, STATUS_SUCCESS, "nt_b_11_a_users_thread_by_zw");
    EACH(Zw, User, dir, file, volume, STATUS_SUCCESS, "nt_b_11_a_users_thread_by_zw_with_its_memory");
    /* A kernel handle is none of the user's; Zw takes it. The access of a handle is checked for users only. */
    ST(NtSetEaFile(own, &User->Iosb, User->Ea, 12), STATUS_INVALID_HANDLE, "nt_b_12_a_kernel_handle_by_nt");
    ST(ZwSetEaFile(own, &iosb, a->Ea, 12), STATUS_SUCCESS, "nt_b_11_a_kernel_handle_by_zw");
    ST(NtSetEaFile(table, &User->Iosb, User->Ea, 12), STATUS_ACCESS_DENIED, "nt_b_12_access_is_checked");
    ST(ZwSetEaFile(table, &iosb, a->Ea, 12), STATUS_SUCCESS, "nt_b_11_access_is_not_checked");
    ST(NtDeleteFile(&a->Attributes), STATUS_ACCESS_VIOLATION, "nt_b_12_delete_by_kernel_memory");
    ZwClose(file);
    ZwClose(table);
    ZwClose(own);
    ZwClose(volume);
    ZwClose(dir);
    ST(NtDeleteFile(&User->Attributes), STATUS_SUCCESS, "nt_b_12_delete_by_its_own_memory");
    ExFreePoolWithTag(a, 'vrST');
}

static NTSTATUS NTAPI Stop(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(Irp);
    UNREFERENCED_PARAMETER(Context);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

/* IRP_MJ_WRITE with a minor function; the MDL goes in and comes out. */
static NTSTATUS MdlWrite(PFILE_OBJECT File, UCHAR Minor, LONGLONG Offset, ULONG Length, PMDL *Mdl, PULONG_PTR Information)
{
    PDEVICE_OBJECT device = IoGetRelatedDeviceObject(File);
    PIRP irp = IoAllocateIrp(device->StackSize, FALSE);
    PIO_STACK_LOCATION location;
    NTSTATUS status;
    if (irp == NULL) return STATUS_INSUFFICIENT_RESOURCES;
    irp->Tail.Overlay.Thread = PsGetCurrentThread();
    irp->MdlAddress = *Mdl;
    location = IoGetNextIrpStackLocation(irp);
    location->MajorFunction = IRP_MJ_WRITE;
    location->MinorFunction = Minor;
    location->FileObject = File;
    location->Parameters.Write.Length = Length;
    location->Parameters.Write.ByteOffset.QuadPart = Offset;
    IoSetCompletionRoutine(irp, Stop, NULL, TRUE, TRUE, TRUE);
    IoCallDriver(device, irp);
    status = irp->IoStatus.Status;
    *Information = irp->IoStatus.Information;
    *Mdl = irp->MdlAddress;
    irp->MdlAddress = NULL;
    IoFreeIrp(irp);
    return status;
}

static VOID TestWrites(VOID)
{
    ARGUMENTS *a = ExAllocatePoolWithTag(NonPagedPool, sizeof(ARGUMENTS), 'vrST');
    PUCHAR page = ExAllocatePoolWithTag(NonPagedPool, PAGE_SIZE, 'vrST');
    HANDLE file, raw, later;
    PFILE_OBJECT object;
    IO_STATUS_BLOCK iosb;
    LARGE_INTEGER offset;
    ULONG_PTR information;
    PMDL mdl = NULL, each;
    NTSTATUS status;
    ULONG bytes = 0, mode = 1;
    if (a == NULL || page == NULL) return;
    RtlZeroMemory(page, PAGE_SIZE);
    ST(Open(a, L"\\??\\C:\\wr.bin", OBJ_KERNEL_HANDLE, GENERIC_READ | GENERIC_WRITE, FILE_OVERWRITE_IF, FILE_SYNCHRONOUS_IO_NONALERT, &file), STATUS_SUCCESS, "nt_s_10_open");
    ST(ObReferenceObjectByHandle(file, 0, *IoFileObjectType, KernelMode, (PVOID *)&object, NULL), STATUS_SUCCESS, "nt_s_10_object");
    OK(object->PrivateCacheMap == NULL, "nt_s_10_no_cache_map_before_the_first_transfer");
    offset.QuadPart = 0;
    ST(ZwWriteFile(file, NULL, NULL, NULL, &iosb, "0123456789", 10, &offset, NULL), STATUS_SUCCESS, "nt_s_10_write");
    OK(object->PrivateCacheMap != NULL, "nt_s_10_the_first_transfer_makes_it");

    /* Pages are lent, filled, and given back: also past the end. */
    ST(MdlWrite(object, IRP_MN_MDL, 5, 6000, &mdl, &information), STATUS_SUCCESS, "nt_s_12_pages_are_lent");
    EQ(information, 6000, "nt_s_12_information_is_the_length");
    for (each = mdl; each != NULL; each = each->Next) {
        PUCHAR at = MmGetSystemAddressForMdlSafe(each, NormalPagePriority);
        bytes += MmGetMdlByteCount(each);
        OK(at != NULL, "nt_s_12_pages_are_mapped");
        if (at != NULL) RtlFillMemory(at, MmGetMdlByteCount(each), '#');
    }
    EQ(bytes, 6000, "nt_s_12_the_chain_covers_it");
    ST(MdlWrite(object, IRP_MN_MDL | IRP_MN_COMPLETE, 5, 6000, &mdl, &information), STATUS_SUCCESS, "nt_s_12_pages_are_given_back");
    OK(mdl == NULL, "nt_s_12_the_chain_is_gone");
    offset.QuadPart = 0;
    ST(ZwReadFile(file, NULL, NULL, NULL, &iosb, page, PAGE_SIZE, &offset, NULL), STATUS_SUCCESS, "nt_s_12_read");
    OK(page[4] == '4' && page[5] == '#' && page[PAGE_SIZE - 1] == '#', "nt_s_12_bytes");

    /* Extending writes of asynchronous handles are at their end when the call returns. */
    ST(Open(a, L"\\??\\C:\\wr.bin", OBJ_KERNEL_HANDLE, GENERIC_READ | GENERIC_WRITE, FILE_OPEN, FILE_NO_INTERMEDIATE_BUFFERING, &raw), STATUS_SUCCESS, "nt_n_09_open");
    offset.QuadPart = 0x4000;
    iosb.Status = -1;
    status = ZwWriteFile(raw, NULL, NULL, NULL, &iosb, page, 512, &offset, NULL);
    OK(NT_SUCCESS(status), "nt_n_09_write");
    OK(iosb.Status == STATUS_SUCCESS && iosb.Information == 512, "nt_n_09_the_status_block_is_final");
    ST(ZwWaitForSingleObject(raw, FALSE, NULL), STATUS_SUCCESS, "nt_n_09_the_file_is_signalled");
    ST(Open(a, L"\\??\\C:\\wr.bin", OBJ_KERNEL_HANDLE, GENERIC_READ | GENERIC_WRITE, FILE_OPEN, 0, &later), STATUS_SUCCESS, "nt_s_14_open");
    offset.QuadPart = 0x8000;
    iosb.Status = -1;
    status = ZwWriteFile(later, NULL, NULL, NULL, &iosb, page, 100, &offset, NULL);
    OK(NT_SUCCESS(status) && iosb.Status == STATUS_SUCCESS && iosb.Information == 100, "nt_s_14_an_extending_write_is_final_when_the_call_returns");
    ZwClose(later);

    /* A page that is lent cannot be purged: ignored, but for a file in purge-failure mode. */
    ST(MdlWrite(object, IRP_MN_MDL, 0, 16, &mdl, &information), STATUS_SUCCESS, "nt_n_07_a_page_is_lent");
    offset.QuadPart = 0;
    status = ZwWriteFile(raw, NULL, NULL, NULL, &iosb, page, 512, &offset, NULL);
    if (status == STATUS_PENDING) ZwWaitForSingleObject(raw, FALSE, NULL);
    ST(iosb.Status, STATUS_SUCCESS, "nt_n_07_ignored");
    ST(ZwFsControlFile(file, NULL, NULL, NULL, &iosb, SET_PURGE_FAILURE_MODE, &mode, sizeof(mode), NULL, 0), STATUS_SUCCESS, "nt_n_07_mode_on");
    status = ZwWriteFile(raw, NULL, NULL, NULL, &iosb, page, 512, &offset, NULL);
    if (status == STATUS_PENDING) { ZwWaitForSingleObject(raw, FALSE, NULL); status = iosb.Status; }
    ST(status, PURGE_FAILED, "nt_n_07_refused");
    mode = 2;
    ST(ZwFsControlFile(file, NULL, NULL, NULL, &iosb, SET_PURGE_FAILURE_MODE, &mode, sizeof(mode), NULL, 0), STATUS_SUCCESS, "nt_n_07_mode_off");
    ST(MdlWrite(object, IRP_MN_MDL | IRP_MN_COMPLETE, 0, 16, &mdl, &information), STATUS_SUCCESS, "nt_n_07_the_page_comes_back");
    ZwClose(raw);
    ObDereferenceObject(object);
    ZwClose(file);
    ExFreePoolWithTag(page, 'vrST');
    ExFreePoolWithTag(a, 'vrST');
}

static NTSTATUS NTAPI Control(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
    UNREFERENCED_PARAMETER(DeviceObject);
    if (location->Parameters.DeviceIoControl.IoControlCode != IOCTL_TSERVICES) return Complete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    if (location->Parameters.DeviceIoControl.InputBufferLength < sizeof(ARGUMENTS)) return Complete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    TestUser(location->Parameters.DeviceIoControl.Type3InputBuffer);
    return Complete(Irp, STATUS_SUCCESS, 0);
}

static VOID NTAPI Unload(PDRIVER_OBJECT DriverObject)
{
    UNREFERENCED_PARAMETER(DriverObject);
    RemoveDevice();
}

DRIVER_INITIALIZE DriverEntry;

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    NTSTATUS status;
    UNREFERENCED_PARAMETER(RegistryPath);
    DriverObject->DriverUnload = Unload;
    status = MakeDevice(DriverObject, Control);
    if (!NT_SUCCESS(status)) return status;
    TestKernel();
    TestWrites();
    return STATUS_SUCCESS;
}
