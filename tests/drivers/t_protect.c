/*
 * t_protect: a filter on a volume that is write-protected, which tries to change it, and asks whether it can.
 */
#include "t_filter.h"
#include <ntifs.h>

#define SHARE (FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE)
#define READ_ONLY_VOLUME 0x00080000

static NTSTATUS FLTAPI Unload(FLT_FILTER_UNLOAD_FLAGS Flags)
{
    UNREFERENCED_PARAMETER(Flags);
    FltUnregisterFilter(Filter);
    return STATUS_SUCCESS;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_OPERATION_END, 0, NULL, NULL, NULL },
};

static const FLT_REGISTRATION Registration = {
    .Size = sizeof(FLT_REGISTRATION),
    .Version = FLT_REGISTRATION_VERSION,
    .OperationRegistration = Operations,
    .FilterUnloadCallback = Unload,
    .InstanceSetupCallback = FirstInstance,
};

static NTSTATUS Open(PCWSTR Name, ACCESS_MASK Access, ULONG Disposition, ULONG Options, PHANDLE File)
{
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK iosb;
    RtlInitUnicodeString(&name, Name);
    InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    *File = NULL;
    return ZwCreateFile(File, Access | SYNCHRONIZE, &attributes, &iosb, NULL, FILE_ATTRIBUTE_NORMAL, SHARE, Disposition,
        Options | FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0);
}

DRIVER_INITIALIZE DriverEntry;

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    HANDLE file, root;
    IO_STATUS_BLOCK iosb;
    ULONG words[64];
    FILE_BASIC_INFORMATION basic = { .FileAttributes = FILE_ATTRIBUTE_HIDDEN };
    BOOLEAN writable = TRUE;
    NTSTATUS status = StartFilter(DriverObject, &Registration, "flt_r_01_a_filter_on_a_protected_volume_registers");
    UNREFERENCED_PARAMETER(RegistryPath);
    if (!NT_SUCCESS(status)) return status;
    ST(Open(L"\\??\\C:\\new", GENERIC_READ, FILE_CREATE, 0, &file), STATUS_MEDIA_WRITE_PROTECTED, "nt_s_03_a_file_is_not_made");
    ST(Open(L"\\??\\C:\\new", GENERIC_READ, FILE_CREATE, FILE_DIRECTORY_FILE, &file), STATUS_MEDIA_WRITE_PROTECTED, "nt_s_03_nor_a_directory");
    ST(Open(L"\\??\\C:\\new", GENERIC_WRITE, FILE_OPEN, 0, &file), STATUS_OBJECT_NAME_NOT_FOUND, "nt_s_03_what_is_not_there_is_not_there");
    ST(Open(L"\\??\\C:\\", FILE_ADD_FILE, FILE_OPEN, FILE_DIRECTORY_FILE, &root), STATUS_MEDIA_WRITE_PROTECTED, "nt_s_03_nor_opened_to_add_files");
    ST(Open(L"\\??\\C:\\", FILE_LIST_DIRECTORY | FILE_WRITE_ATTRIBUTES, FILE_OPEN, FILE_DIRECTORY_FILE, &root), STATUS_SUCCESS, "nt_s_03_it_can_be_read");
    ST(ZwSetInformationFile(root, &iosb, &basic, sizeof(basic), FileBasicInformation), STATUS_MEDIA_WRITE_PROTECTED, "nt_s_03_attributes_stay");
    ST(ZwQueryVolumeInformationFile(root, &iosb, words, sizeof(words), FileFsAttributeInformation), STATUS_SUCCESS, "nt_vol_08_attributes");
    OK((words[0] & READ_ONLY_VOLUME) != 0, "nt_vol_08_a_read_only_volume_says_so");
    ST(ZwQueryVolumeInformationFile(root, &iosb, words, 8, FileFsDeviceInformation), STATUS_SUCCESS, "nt_vol_11_device");
    OK((words[1] & FILE_READ_ONLY_DEVICE) != 0, "nt_vol_11_a_read_only_device_says_so");
    ST(FltIsVolumeWritable(Instance, &writable), STATUS_SUCCESS, "flt_i_14_is_it_writable");
    OK(!writable, "flt_i_14_it_is_not");
    ZwClose(root);
    return STATUS_SUCCESS;
}
