/*
 * t_sec: security as a compiled driver uses it: SIDs, lists and descriptors of its own making, the access check, and the
 * descriptors of files by ZwCreateFile, ZwQuerySecurityObject and ZwSetSecurityObject.
 */
#include <ntifs.h>
#include <ntseapi.h>
#include "t.h"

#define ALL 0x001F01FF
#define NAME L"\\??\\C:\\sec.txt"
#define TAG 'ceSt'

static UCHAR Room[512], Other[512], List[128];
static GENERIC_MAPPING Mapping = {0x120089, 0x120116, 0x1200A0, ALL};

static VOID Sids(VOID)
{
    UCHAR space[16];
    SID_IDENTIFIER_AUTHORITY nt = {{0, 0, 0, 0, 0, 5}};
    UNICODE_STRING text;
    static const WCHAR admins[] = L"S-1-5-32-544";
    ST(RtlInitializeSid(space, &nt, 2), STATUS_SUCCESS, "sids_are_made");
    *RtlSubAuthoritySid(space, 0) = 32;
    *RtlSubAuthoritySid(space, 1) = 544;
    OK(RtlValidSid(space), "sids_are_valid");
    EQ(RtlLengthSid(space), RtlLengthRequiredSid(2), "sids_have_a_length");
    OK(RtlEqualSid(space, SeExports->SeAliasAdminsSid), "se_exports_names_the_administrators");
    OK(!RtlEqualSid(SeExports->SeWorldSid, SeExports->SeLocalSystemSid), "se_exports_names_different_sids");
    ST(RtlCopySid(8, Room, space), STATUS_BUFFER_TOO_SMALL, "a_sid_is_not_cut");
    ST(RtlConvertSidToUnicodeString(&text, space, TRUE), STATUS_SUCCESS, "sids_have_a_text");
    OK(text.Length == sizeof(admins) - sizeof(WCHAR) && RtlEqualMemory(text.Buffer, admins, text.Length), "the_text_is_s_1_5_32_544");
    RtlFreeUnicodeString(&text);
}

/* A list with a denial for the world and all for the administrators. */
static PACL Lists(VOID)
{
    PACL list = (PACL)List;
    PACCESS_ALLOWED_ACE ace = NULL;
    ST(RtlCreateAcl(list, 4, ACL_REVISION), STATUS_BUFFER_TOO_SMALL, "a_list_needs_room_for_its_head");
    ST(RtlCreateAcl(list, 8 + 20, ACL_REVISION), STATUS_SUCCESS, "a_list_is_made");
    ST(RtlAddAccessDeniedAce(list, ACL_REVISION, FILE_WRITE_DATA, SeExports->SeWorldSid), STATUS_SUCCESS, "an_entry_fits");
    ST(RtlAddAccessAllowedAce(list, ACL_REVISION, ALL, SeExports->SeAliasAdminsSid), STATUS_ALLOTTED_SPACE_EXCEEDED, "another_does_not");
    ST(RtlCreateAcl(list, sizeof(List), ACL_REVISION), STATUS_SUCCESS, "a_list_is_made_again");
    RtlAddAccessAllowedAce(list, ACL_REVISION, 1, SeExports->SeNullSid);
    RtlAddAccessDeniedAce(list, ACL_REVISION, FILE_WRITE_DATA, SeExports->SeWorldSid);
    RtlAddAccessAllowedAce(list, ACL_REVISION, ALL, SeExports->SeAliasAdminsSid);
    EQ(list->AceCount, 3, "three_entries");
    ST(RtlDeleteAce(list, 0), STATUS_SUCCESS, "an_entry_goes");
    ST(RtlGetAce(list, 1, (PVOID *)&ace), STATUS_SUCCESS, "an_entry_is_found");
    OK(ace != NULL && ace->Mask == ALL && RtlEqualSid(&ace->SidStart, SeExports->SeAliasAdminsSid), "it_is_the_second");
    ST(RtlGetAce(list, 2, (PVOID *)&ace), STATUS_INVALID_PARAMETER, "there_is_no_third");
    OK(RtlValidAcl(list), "the_list_is_valid");
    return list;
}

static VOID Forms(PSECURITY_DESCRIPTOR Absolute)
{
    SECURITY_DESCRIPTOR back;
    UCHAR dacl[128], owner[32];
    ULONG length = 0, sizes[5] = {sizeof(back), sizeof(dacl), 0, sizeof(owner), 0};
    ST(RtlAbsoluteToSelfRelativeSD(Absolute, Room, &length), STATUS_BUFFER_TOO_SMALL, "the_length_is_told");
    ST(RtlAbsoluteToSelfRelativeSD(Absolute, Room, &length), STATUS_SUCCESS, "absolute_becomes_self_relative");
    OK(RtlValidSecurityDescriptor(Room) && RtlLengthSecurityDescriptor(Room) == length, "it_is_valid_and_that_long");
    OK((((PISECURITY_DESCRIPTOR)Room)->Control & SE_SELF_RELATIVE) != 0, "it_says_so");
    ST(RtlSelfRelativeToAbsoluteSD(Room, &back, &sizes[0], (PACL)dacl, &sizes[1], NULL, &sizes[2], owner, &sizes[3], NULL, &sizes[4]),
        STATUS_SUCCESS, "and_back");
    OK(back.Owner == owner && back.Dacl == (PACL)dacl && back.Sacl == NULL && back.Group == NULL, "its_parts_are_where_they_were_put");
    OK(RtlEqualSid(owner, SeExports->SeAliasAdminsSid), "the_owner_is_the_same");
}

static VOID Checks(PSECURITY_DESCRIPTOR Descriptor)
{
    SECURITY_SUBJECT_CONTEXT subject;
    ACCESS_MASK granted = 0, generic = 0x80000000;
    NTSTATUS status = 0;
    LUID manage = {SE_MANAGE_VOLUME_PRIVILEGE, 0};
    PTOKEN_USER user = NULL;
    SeCaptureSubjectContext(&subject);
    OK(subject.PrimaryToken != NULL && subject.ClientToken == NULL, "a_subject_is_its_process");
    ST(SeQueryInformationToken(subject.PrimaryToken, TokenUser, (PVOID *)&user), STATUS_SUCCESS, "a_token_tells_its_user");
    OK(user != NULL && RtlEqualSid(user->User.Sid, SeExports->SeLocalSystemSid), "a_driver_is_entered_as_local_system");
    if (user != NULL) ExFreePool(user);
    OK(SeTokenIsAdmin(subject.PrimaryToken), "which_is_an_administrator");
    OK(SeAccessCheck(Descriptor, &subject, FALSE, FILE_READ_DATA, 0, NULL, &Mapping, UserMode, &granted, &status), "what_is_allowed_is_granted");
    EQ(granted, FILE_READ_DATA, "and_no_more");
    OK(!SeAccessCheck(Descriptor, &subject, FALSE, FILE_WRITE_DATA, 0, NULL, &Mapping, UserMode, &granted, &status), "a_denial_in_front_counts");
    ST(status, STATUS_ACCESS_DENIED, "it_says_access_denied");
    OK(!SeAccessCheck(Descriptor, &subject, FALSE, ACCESS_SYSTEM_SECURITY, 0, NULL, &Mapping, UserMode, &granted, &status), "the_sacl_wants_a_privilege");
    ST(status, STATUS_PRIVILEGE_NOT_HELD, "it_says_privilege_not_held");
    OK(SeAccessCheck(Descriptor, &subject, FALSE, MAXIMUM_ALLOWED, 0, NULL, &Mapping, UserMode, &granted, &status), "as_much_as_there_is");
    EQ(granted, ALL & ~FILE_WRITE_DATA, "nt_sec_13_maximum_allowed_is_all_but_what_is_denied");
    OK(SeAccessCheck(Descriptor, &subject, FALSE, FILE_WRITE_DATA, 0, NULL, &Mapping, KernelMode, &granted, &status), "nt_sec_17_kernel_mode_is_not_asked");
    SeReleaseSubjectContext(&subject);
    OK(SeSinglePrivilegeCheck(manage, KernelMode), "kernel_mode_has_every_privilege");
    OK(!SeSinglePrivilegeCheck(manage, UserMode), "user_mode_has_those_that_are_enabled");
    RtlMapGenericMask(&generic, &Mapping);
    EQ(generic, 0x120089, "generic_rights_are_mapped");
}

static VOID Inherits(VOID)
{
    PACL list = (PACL)Other, made = NULL;
    SECURITY_DESCRIPTOR parent;
    PSECURITY_DESCRIPTOR child = NULL;
    SECURITY_SUBJECT_CONTEXT subject;
    PACCESS_ALLOWED_ACE ace = NULL;
    BOOLEAN present = FALSE, defaulted = FALSE;
    RtlCreateAcl(list, sizeof(Other), ACL_REVISION);
    RtlAddAccessAllowedAceEx(list, ACL_REVISION, OBJECT_INHERIT_ACE | CONTAINER_INHERIT_ACE | INHERIT_ONLY_ACE, GENERIC_ALL, SeExports->SeCreatorOwnerSid);
    RtlAddAccessAllowedAce(list, ACL_REVISION, 1, SeExports->SeWorldSid);
    RtlCreateSecurityDescriptor(&parent, SECURITY_DESCRIPTOR_REVISION);
    RtlSetDaclSecurityDescriptor(&parent, TRUE, list, FALSE);
    SeCaptureSubjectContext(&subject);
    ST(SeAssignSecurityEx(&parent, NULL, &child, NULL, FALSE, 1, &subject, &Mapping, PagedPool), STATUS_SUCCESS, "nt_sec_09_a_child_is_given_a_descriptor");
    SeReleaseSubjectContext(&subject);
    if (child == NULL) return;
    RtlGetDaclSecurityDescriptor(child, &present, &made, &defaulted);
    OK(present && made != NULL && made->AceCount == 1, "nt_sec_09_only_what_is_for_objects_goes_on");
    if (made != NULL && NT_SUCCESS(RtlGetAce(made, 0, (PVOID *)&ace)))
        OK(ace->Header.AceFlags == INHERITED_ACE && ace->Mask == ALL && RtlEqualSid(&ace->SidStart, SeExports->SeAliasAdminsSid),
            "nt_sec_09_the_creator_is_named_and_generic_rights_are_mapped");
    ST(SeDeassignSecurity(&child), STATUS_SUCCESS, "nt_sec_09_and_it_goes_again");
    OK(child == NULL, "nt_sec_09_the_pointer_too");
}

static NTSTATUS Create(PSECURITY_DESCRIPTOR Descriptor, ULONG Flags, ACCESS_MASK Access, ULONG Disposition, PHANDLE Handle)
{
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK iosb;
    RtlInitUnicodeString(&name, NAME);
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE | Flags, NULL, Descriptor);
    *Handle = NULL;
    return ZwCreateFile(Handle, Access, &attributes, &iosb, NULL, FILE_ATTRIBUTE_NORMAL,
        FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, Disposition, 0, NULL, 0);
}

static NTSTATUS Write(HANDLE File)
{
    IO_STATUS_BLOCK iosb;
    LARGE_INTEGER start = {0};
    NTSTATUS status = ZwWriteFile(File, NULL, NULL, NULL, &iosb, (PVOID)"still", 5, &start, NULL);
    if (status != STATUS_PENDING) return status;
    ZwWaitForSingleObject(File, FALSE, NULL);
    return iosb.Status;
}

static VOID Files(PSECURITY_DESCRIPTOR Descriptor)
{
    HANDLE file, forced;
    ULONG needed = 0, again = 0;
    PISECURITY_DESCRIPTOR_RELATIVE seen = (PISECURITY_DESCRIPTOR_RELATIVE)Room;
    PACL dacl = NULL, empty = (PACL)Other;
    BOOLEAN present = FALSE, defaulted = FALSE;
    SECURITY_DESCRIPTOR shut;
    OBJECT_HANDLE_INFORMATION information;
    PVOID object = NULL;
    ST(Create(Descriptor, 0, ALL, FILE_CREATE, &file), STATUS_SUCCESS, "nt_sec_08_a_file_is_made_with_a_descriptor");
    RtlFillMemory(Room, sizeof(Room), 0xEE);
    ST(ZwQuerySecurityObject(file, OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION, Room, 20, &needed), STATUS_BUFFER_TOO_SMALL,
        "nt_sec_01_a_buffer_is_too_small");
    OK(needed > 20 && Room[0] == 0xEE && Room[19] == 0xEE, "nt_sec_01_the_length_is_told_and_the_buffer_untouched");
    ST(ZwQuerySecurityObject(file, OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION, Room, needed, &again), STATUS_SUCCESS,
        "nt_sec_01_that_length_is_enough");
    EQ(again, needed, "nt_sec_01_and_told_again");
    OK((seen->Control & SE_SELF_RELATIVE) != 0 && seen->Owner != 0 && seen->Group == 0, "nt_sec_02_only_what_was_asked_for");
    RtlGetDaclSecurityDescriptor(Room, &present, &dacl, &defaulted);
    OK(present && dacl != NULL && dacl->AceCount == 2, "nt_sec_08_the_given_dacl");
    OK((seen->Control & SE_DACL_PROTECTED) != 0, "nt_sec_08_and_its_control");
    ST(ZwSetSecurityObject(file, DACL_SECURITY_INFORMATION, NULL), STATUS_ACCESS_VIOLATION, "nt_sec_05_null_is_no_descriptor");
    RtlCreateAcl(empty, 8, ACL_REVISION);
    RtlCreateSecurityDescriptor(&shut, SECURITY_DESCRIPTOR_REVISION);
    RtlSetDaclSecurityDescriptor(&shut, TRUE, empty, FALSE);
    ST(ZwSetSecurityObject(file, OWNER_SECURITY_INFORMATION, &shut), STATUS_INVALID_SECURITY_DESCR, "nt_sec_05_an_owner_is_named_and_missing");
    shut.Revision = 9;
    ST(ZwSetSecurityObject(file, DACL_SECURITY_INFORMATION, &shut), STATUS_UNKNOWN_REVISION, "nt_sec_05_another_revision");
    shut.Revision = SECURITY_DESCRIPTOR_REVISION;
    empty->AclRevision = 9;
    ST(ZwSetSecurityObject(file, DACL_SECURITY_INFORMATION, &shut), STATUS_INVALID_ACL, "nt_sec_05_a_bad_list");
    empty->AclRevision = ACL_REVISION;
    ST(ZwSetSecurityObject(file, DACL_SECURITY_INFORMATION, &shut), STATUS_SUCCESS, "nt_sec_04_the_dacl_is_set");
    ZwQuerySecurityObject(file, OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION, Room, sizeof(Room), &again);
    RtlGetDaclSecurityDescriptor(Room, &present, &dacl, &defaulted);
    OK(present && dacl != NULL && dacl->AceCount == 0 && seen->Owner != 0, "nt_sec_04_and_the_owner_stays");
    ST(Create(NULL, OBJ_FORCE_ACCESS_CHECK, FILE_READ_DATA, FILE_OPEN, &forced), STATUS_ACCESS_DENIED, "nt_sec_17_a_forced_check_refuses");
    ST(Create(NULL, 0, FILE_READ_DATA | FILE_WRITE_DATA, FILE_OPEN, &forced), STATUS_SUCCESS, "nt_sec_17_kernel_mode_passes_an_empty_dacl");
    ZwClose(forced);
    ST(Create(NULL, OBJ_FORCE_ACCESS_CHECK, FILE_WRITE_DATA, FILE_OPEN, &forced), STATUS_ACCESS_DENIED, "nt_a_17_nobody_opens_it_to_write_now");
    ST(Write(file), STATUS_SUCCESS, "nt_a_17_the_handle_writes_on");
    ST(ZwDuplicateObject(NtCurrentProcess(), file, NtCurrentProcess(), &forced, FILE_READ_DATA | SYNCHRONIZE, OBJ_KERNEL_HANDLE, 0), STATUS_SUCCESS,
        "nt_a_17_a_copy_may_have_less");
    ST(ObReferenceObjectByHandle(forced, 0, *IoFileObjectType, KernelMode, &object, &information), STATUS_SUCCESS, "nt_a_17_it_names_the_file");
    EQ(information.GrantedAccess, FILE_READ_DATA | SYNCHRONIZE, "nt_a_17_and_has_no_more_than_was_asked_for");
    ObDereferenceObject(object);
    ZwClose(forced);
    ZwClose(file);
}

static VOID NTAPI Unload(PDRIVER_OBJECT DriverObject)
{
    UNREFERENCED_PARAMETER(DriverObject);
    DbgPrint("t_sec: unloaded\n");
}

DRIVER_INITIALIZE DriverEntry;

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    SECURITY_DESCRIPTOR absolute;
    UNREFERENCED_PARAMETER(RegistryPath);
    DriverObject->DriverUnload = Unload;
    Sids();
    ST(RtlCreateSecurityDescriptor(&absolute, 2), STATUS_UNKNOWN_REVISION, "another_revision_is_refused");
    ST(RtlCreateSecurityDescriptor(&absolute, SECURITY_DESCRIPTOR_REVISION), STATUS_SUCCESS, "a_descriptor_is_made");
    RtlSetDaclSecurityDescriptor(&absolute, TRUE, Lists(), FALSE);
    RtlSetOwnerSecurityDescriptor(&absolute, SeExports->SeAliasAdminsSid, FALSE);
    Forms(&absolute);
    Checks(&absolute);
    Inherits();
    absolute.Control |= SE_DACL_PROTECTED;
    Files(&absolute);
    return STATUS_SUCCESS;
}
