/*
 * t_ecp: extra create parameters and oplock keys. As a driver that creates with a list of its own; as a device whose create finds,
 * acknowledges and adds; as a minifilter that attaches an oplock key to the creates of some names, which the volume finds.
 */
#include <initguid.h>
#include <fltKernel.h>
#include <ntstrsafe.h>
#include "t_filter.h"
#define T_DEVICE L"TEcp"
#include "t_device.h"

DRIVER_INITIALIZE DriverEntry;

#define TAG 'pcEt'
#define SHARE_ALL (FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE)
#define RESET(iosb) ((iosb).Status = 0x55555555, (iosb).Information = 0x55)
#define WAITS(iosb) ((iosb).Status == 0x55555555)

static const GUID First = { 0xd1f7a1c0, 0x0001, 0x4e2a, { 0x9f, 0x3b, 0x5a, 0x6b, 0x7c, 0x8d, 0x9e, 0x0f } };
static const GUID Second = { 0xd1f7a1c0, 0x0002, 0x4e2a, { 0x9f, 0x3b, 0x5a, 0x6b, 0x7c, 0x8d, 0x9e, 0x0f } };
static const GUID Key = { 0x0b10c4ed, 0, 0x4000, { 0x80, 0, 0, 0, 0, 0, 0, 0x0a } };
static const GUID Other = { 0x0b10c4ed, 0, 0x4000, { 0x80, 0, 0, 0, 0, 0, 0, 0x0b } };

typedef struct {
    ULONG Mark;
    ULONG Pad[3];
} PARAMETER, *PPARAMETER;

static BOOLEAN Same(const GUID *Left, const GUID *Right)
{
    return RtlCompareMemory(Left, Right, sizeof(GUID)) == sizeof(GUID);
}

/* What the cleanup callback got. */
static ULONG Cleaned, CleanedMark;
static GUID CleanedType;

static VOID NTAPI Cleanup(PVOID EcpContext, LPCGUID EcpType)
{
    Cleaned++;
    CleanedMark = ((PPARAMETER)EcpContext)->Mark;
    CleanedType = *EcpType;
}

static PPARAMETER Parameter(const GUID *Type, ULONG Mark)
{
    PVOID context = NULL;
    if (!NT_SUCCESS(FsRtlAllocateExtraCreateParameter(Type, sizeof(PARAMETER), 0, Cleanup, TAG, &context))) return NULL;
    ((PPARAMETER)context)->Mark = Mark;
    return (PPARAMETER)context;
}

static PECP_LIST List(const GUID *Type, ULONG Mark)
{
    PECP_LIST list = NULL;
    if (!NT_SUCCESS(FsRtlAllocateExtraCreateParameterList(0, &list))) return NULL;
    if (!NT_SUCCESS(FsRtlInsertExtraCreateParameter(list, Parameter(Type, Mark)))) return NULL;
    return list;
}

static NTSTATUS OpenWith(PHANDLE Handle, PCWSTR Name, ULONG Access, ULONG Options, PECP_LIST Ecps, ULONG IoOptions, PIO_STATUS_BLOCK Iosb)
{
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes;
    IO_DRIVER_CREATE_CONTEXT context;
    *Handle = NULL;
    RESET(*Iosb);
    RtlInitUnicodeString(&name, Name);
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL, NULL);
    IoInitializeDriverCreateContext(&context);
    context.ExtraCreateParameter = Ecps;
    return IoCreateFileEx(Handle, Access | SYNCHRONIZE, &attributes, Iosb, NULL, 0, SHARE_ALL, FILE_OPEN_IF, Options, NULL, 0, CreateFileTypeNone,
        NULL, IoOptions, &context);
}

/* The device: what its create found, and what it is to do. */
static NTSTATUS Got, Result, Twice;
static PECP_LIST GotList;
static PPARAMETER Found;
static ULONG FoundSize, Adds, Acknowledged;
static PFILE_OBJECT Opened;
static OPLOCK Oplock, Directory;

static NTSTATUS NTAPI Dispatch(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
    PECP_LIST list = (PECP_LIST)1;
    UNREFERENCED_PARAMETER(DeviceObject);
    switch (stack->MajorFunction) {
    case IRP_MJ_CREATE:
        Opened = stack->FileObject;
        Got = FsRtlGetEcpListFromIrp(Irp, &GotList);
        Found = NULL;
        FoundSize = 0;
        if (GotList && NT_SUCCESS(FsRtlFindExtraCreateParameter(GotList, &First, (PVOID *)&Found, &FoundSize))) {
            Acknowledged = FsRtlIsEcpAcknowledged(Found);
            FsRtlAcknowledgeEcp(Found);
        }
        if (Adds) {
            if (GotList) {
                FsRtlInsertExtraCreateParameter(GotList, Parameter(&Second, Adds));
                Twice = FsRtlSetEcpListIntoIrp(Irp, GotList);
            } else {
                GotList = List(&Second, Adds);
                Got = FsRtlSetEcpListIntoIrp(Irp, GotList);
                Twice = FsRtlSetEcpListIntoIrp(Irp, GotList);
            }
        }
        FsRtlCheckOplockEx(&Oplock, Irp, OPLOCK_FLAG_OPLOCK_KEY_CHECK_ONLY, NULL, NULL, NULL);
        FsRtlCheckOplockEx(&Directory, Irp, OPLOCK_FLAG_PARENT_OBJECT, NULL, NULL, NULL);
        return Complete(Irp, Result, FILE_OPENED);
    case IRP_MJ_FILE_SYSTEM_CONTROL:
        return FsRtlOplockFsctrl(&Directory, Irp, 0);
    case IRP_MJ_CLEANUP:
        FsRtlCheckOplockEx(&Directory, Irp, 0, NULL, NULL, NULL);
        return Complete(Irp, STATUS_SUCCESS, 0);
    case IRP_MJ_WRITE:
        Got = FsRtlGetEcpListFromIrp(Irp, &list);
        Twice = FsRtlSetEcpListIntoIrp(Irp, NULL);
        return Complete(Irp, STATUS_SUCCESS, 0);
    default:
        return Complete(Irp, STATUS_SUCCESS, 0);
    }
}

static VOID Lists(VOID)
{
    static NPAGED_LOOKASIDE_LIST lookaside;
    PECP_LIST list = NULL;
    PVOID context = NULL, found = (PVOID)1;
    PPARAMETER one, two, twin;
    GUID type;
    ULONG size = 77;

    ST(FsRtlAllocateExtraCreateParameterList(FSRTL_ALLOCATE_ECPLIST_FLAG_CHARGE_QUOTA, &list), STATUS_SUCCESS, "nt_ecp_01_a_list");
    ST(FsRtlGetNextExtraCreateParameter(list, NULL, &type, &found, &size), STATUS_NOT_FOUND, "nt_ecp_01_is_empty");
    OK(found == NULL && size == 0, "nt_ecp_02_nothing_is_null");
    ST(FsRtlGetNextExtraCreateParameter(NULL, NULL, &type, &found, &size), STATUS_INVALID_PARAMETER, "nt_ecp_02_no_list");
    one = Parameter(&First, 1);
    two = Parameter(&Second, 2);
    twin = Parameter(&First, 3);
    OK(one && two && twin && one->Pad[0] == 0 && !FsRtlIsEcpAcknowledged(one), "nt_ecp_01_contexts");
    ST(FsRtlFindExtraCreateParameter(list, &First, &found, &size), STATUS_NOT_FOUND, "nt_ecp_01_in_no_list");
    ST(FsRtlInsertExtraCreateParameter(list, one), STATUS_SUCCESS, "nt_ecp_02_inserted");
    ST(FsRtlInsertExtraCreateParameter(list, two), STATUS_SUCCESS, "nt_ecp_02_another_type");
    ST(FsRtlInsertExtraCreateParameter(list, twin), STATUS_INVALID_PARAMETER, "nt_ecp_02_one_of_a_type");
    ST(FsRtlFindExtraCreateParameter(list, &Second, &found, &size), STATUS_SUCCESS, "nt_ecp_02_found");
    OK(found == two && size == sizeof(PARAMETER), "nt_ecp_02_with_its_size");
    ST(FsRtlFindExtraCreateParameter(list, &Second, NULL, NULL), STATUS_SUCCESS, "nt_ecp_02_both_are_optional");
    ST(FsRtlGetNextExtraCreateParameter(list, NULL, &type, &found, &size), STATUS_SUCCESS, "nt_ecp_02_the_first");
    OK(found == one && Same(&type, &First), "nt_ecp_02_and_its_type");
    ST(FsRtlGetNextExtraCreateParameter(list, found, NULL, &found, NULL), STATUS_SUCCESS, "nt_ecp_02_the_next");
    OK(found == two, "nt_ecp_02_in_order");
    ST(FsRtlGetNextExtraCreateParameter(list, found, NULL, &found, &size), STATUS_NOT_FOUND, "nt_ecp_02_the_end");
    OK(found == NULL && size == 0, "nt_ecp_02_is_null");
    ST(FsRtlRemoveExtraCreateParameter(list, &First, &found, &size), STATUS_SUCCESS, "nt_ecp_02_removed");
    OK(found == one && size == sizeof(PARAMETER) && Cleaned == 0, "nt_ecp_02_and_not_freed");
    ST(FsRtlRemoveExtraCreateParameter(list, &First, &found, NULL), STATUS_NOT_FOUND, "nt_ecp_02_gone");
    OK(found == NULL, "nt_ecp_02_gone_is_null");

    FsRtlAcknowledgeEcp(two);
    OK(FsRtlIsEcpAcknowledged(two) && !FsRtlIsEcpAcknowledged(one), "nt_ecp_03_a_mark");
    FsRtlPrepareToReuseEcp(two);
    OK(!FsRtlIsEcpAcknowledged(two) && !FsRtlIsEcpFromUserMode(two), "nt_ecp_03_is_taken_back");

    FsRtlFreeExtraCreateParameter(one);
    OK(Cleaned == 1 && CleanedMark == 1 && Same(&CleanedType, &First), "nt_ecp_06_freed_alone");
    FsRtlFreeExtraCreateParameter(two);
    EQ(Cleaned, 1, "nt_ecp_08_one_in_a_list_stays");
    ST(FsRtlFindExtraCreateParameter(list, &Second, NULL, NULL), STATUS_SUCCESS, "nt_ecp_08_and_is_found");
    FsRtlFreeExtraCreateParameterList(list);
    OK(Cleaned == 2 && CleanedMark == 2 && Same(&CleanedType, &Second), "nt_ecp_06_freed_with_its_list");
    FsRtlFreeExtraCreateParameter(twin);
    EQ(Cleaned, 3, "nt_ecp_06_the_twin");

    FsRtlInitExtraCreateParameterLookasideList(&lookaside, FSRTL_ECP_LOOKASIDE_FLAG_NONPAGED_POOL, sizeof(PARAMETER), TAG);
    ST(FsRtlAllocateExtraCreateParameterFromLookasideList(&First, sizeof(PARAMETER), 0, Cleanup, &lookaside, &context), STATUS_SUCCESS,
        "nt_ecp_01_of_a_lookaside_list");
    ((PPARAMETER)context)->Mark = 4;
    FsRtlFreeExtraCreateParameter(context);
    OK(Cleaned == 4 && CleanedMark == 4, "nt_ecp_06_of_a_lookaside_list");
    ST(FsRtlAllocateExtraCreateParameterFromLookasideList(&Second, 4, 0, NULL, &lookaside, &found), STATUS_SUCCESS, "nt_ecp_01_again");
    OK(found == context && *(PULONG)found == 0, "nt_ecp_01_the_list_kept_it");
    ST(FsRtlAllocateExtraCreateParameterFromLookasideList(&First, 4096, 0, NULL, &lookaside, &context), STATUS_SUCCESS, "nt_ecp_01_a_larger_one");
    FsRtlFreeExtraCreateParameter(context);
    FsRtlFreeExtraCreateParameter(found);
    FsRtlDeleteExtraCreateParameterLookasideList(&lookaside, FSRTL_ECP_LOOKASIDE_FLAG_NONPAGED_POOL);
}

static VOID Creates(VOID)
{
    IO_STATUS_BLOCK iosb;
    HANDLE handle;
    PECP_LIST list = List(&First, 7);
    PVOID own = NULL, found;
    ULONG i;

    FsRtlFindExtraCreateParameter(list, &First, &own, NULL);
    Cleaned = 0;
    for (i = 0; i < 2; i++) {
        Result = i ? STATUS_ACCESS_DENIED : STATUS_SUCCESS;
        FsRtlPrepareToReuseEcp(own);
        ST(OpenWith(&handle, L"\\Device\\TEcp\\s", GENERIC_READ, 0, list, 0, &iosb), Result, "nt_ecp_04_a_create_with_a_list");
        OK(Got == STATUS_SUCCESS && GotList == list && Found == own && FoundSize == sizeof(PARAMETER) && !Acknowledged, "nt_ecp_04_the_driver_finds_it");
        OK(FsRtlIsEcpAcknowledged(own) && Cleaned == 0, "nt_ecp_03_the_caller_sees_the_mark");
        if (handle) ZwClose(handle);
    }
    Adds = 8;
    for (i = 0; i < 2; i++) {
        Result = i ? STATUS_ACCESS_DENIED : STATUS_SUCCESS;
        Cleaned = 0;
        OpenWith(&handle, L"\\Device\\TEcp\\s", GENERIC_READ, 0, list, 0, &iosb);
        OK(Cleaned == 1 && CleanedMark == 8 && Same(&CleanedType, &Second), "nt_ecp_05_what_a_driver_added_goes_with_the_create");
        ST(Twice, STATUS_INVALID_PARAMETER_3, "nt_ecp_05_there_is_a_list");
        ST(FsRtlFindExtraCreateParameter(list, &Second, NULL, NULL), STATUS_NOT_FOUND, "nt_ecp_04_the_list_is_as_it_was");
        ST(FsRtlFindExtraCreateParameter(list, &First, &found, NULL), STATUS_SUCCESS, "nt_ecp_04_with_what_was_in_it");
        if (handle) ZwClose(handle);
        Cleaned = 0;
        OpenWith(&handle, L"\\Device\\TEcp\\s", GENERIC_READ, 0, NULL, 0, &iosb);
        OK(Got == STATUS_SUCCESS && Cleaned == 1 && CleanedMark == 8, "nt_ecp_05_a_list_that_a_driver_attached");
        ST(Twice, STATUS_INVALID_PARAMETER_3, "nt_ecp_05_only_once");
        if (handle) ZwClose(handle);
    }
    Adds = 0;
    Result = STATUS_SUCCESS;
    OpenWith(&handle, L"\\Device\\TEcp\\s", GENERIC_READ | GENERIC_WRITE, FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0, &iosb);
    OK(Got == STATUS_SUCCESS && GotList == NULL, "nt_ecp_05_a_create_without_a_list");
    ZwWriteFile(handle, NULL, NULL, NULL, &iosb, &i, 4, NULL, NULL);
    ST(Got, STATUS_INVALID_PARAMETER, "nt_ecp_05_a_write_has_none");
    ST(Twice, STATUS_INVALID_PARAMETER_2, "nt_ecp_05_and_gets_none");
    ZwClose(handle);
    Cleaned = 0;
    FsRtlFreeExtraCreateParameterList(list);
    OK(Cleaned == 1 && CleanedMark == 7, "nt_ecp_04_the_caller_frees_it");
}

/* Of IoCreateFileEx, what is no part of the list. */
static VOID Contexts(VOID)
{
    IO_DRIVER_CREATE_CONTEXT context;
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK iosb;
    HANDLE handle = NULL;
    RtlInitUnicodeString(&name, L"\\Device\\TEcp\\s");
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE, NULL, NULL);
    RtlZeroMemory(&context, sizeof context);
    ST(IoCreateFileEx(&handle, SYNCHRONIZE, &attributes, &iosb, NULL, 0, 0, FILE_OPEN, 0, NULL, 0, CreateFileTypeNone, NULL, 0, &context),
        STATUS_INVALID_PARAMETER, "nt_ecp_07_not_initialized");
    ST(IoCreateFileEx(&handle, SYNCHRONIZE, &attributes, &iosb, NULL, 0, 0, FILE_OPEN, 0, NULL, 0, CreateFileTypeNone, NULL, 0, NULL), STATUS_SUCCESS,
        "nt_ecp_07_no_context");
    ZwClose(handle);
}

/* An open's key, by an ECP of this kind. */
static PECP_LIST Keyed(const GUID *Target, const GUID *Parent)
{
    PECP_LIST list = NULL;
    PVOID context = NULL;
    FsRtlAllocateExtraCreateParameterList(0, &list);
    if (Parent) {
        PDUAL_OPLOCK_KEY_ECP_CONTEXT dual;
        FsRtlAllocateExtraCreateParameter(&GUID_ECP_DUAL_OPLOCK_KEY, sizeof *dual, 0, NULL, TAG, &context);
        dual = (PDUAL_OPLOCK_KEY_ECP_CONTEXT)context;
        dual->ParentOplockKey = *Parent;
        dual->ParentOplockKeySet = TRUE;
        if (Target) dual->TargetOplockKey = *Target;
        dual->TargetOplockKeySet = Target != NULL;
    } else {
        FsRtlAllocateExtraCreateParameter(&GUID_ECP_OPLOCK_KEY, sizeof(OPLOCK_KEY_ECP_CONTEXT), 0, NULL, TAG, &context);
        ((POPLOCK_KEY_ECP_CONTEXT)context)->OplockKey = *Target;
    }
    FsRtlInsertExtraCreateParameter(list, context);
    return list;
}

static NTSTATUS OpenKeyed(PHANDLE Handle, PCWSTR Name, ULONG Access, ULONG Options, const GUID *Target, const GUID *Parent)
{
    static IO_STATUS_BLOCK iosb;
    PECP_LIST list = Target || Parent ? Keyed(Target, Parent) : NULL;
    NTSTATUS status = OpenWith(Handle, Name, Access, Options, list, 0, &iosb);
    if (list) FsRtlFreeExtraCreateParameterList(list);
    return status;
}

typedef struct {
    IO_STATUS_BLOCK Iosb;
    REQUEST_OPLOCK_OUTPUT_BUFFER Out;
} REQUEST;

static NTSTATUS Level(HANDLE Handle, REQUEST *Request, ULONG Levels)
{
    REQUEST_OPLOCK_INPUT_BUFFER in = { REQUEST_OPLOCK_CURRENT_VERSION, sizeof in, Levels, REQUEST_OPLOCK_INPUT_FLAG_REQUEST };
    RESET(Request->Iosb);
    return ZwFsControlFile(Handle, NULL, NULL, NULL, &Request->Iosb, FSCTL_REQUEST_OPLOCK, &in, sizeof in, &Request->Out, sizeof Request->Out);
}

/* Keys as a file system has them: the made-up device. */
static VOID Keys(VOID)
{
    static const struct {
        const GUID *Target, *Parent;
    } opens[] = { { &Key, NULL }, { &Key, &Other }, { NULL, &Key }, { NULL, NULL } };
    static REQUEST held;
    PFILE_OBJECT files[RTL_NUMBER_OF(opens)];
    HANDLE handles[RTL_NUMBER_OF(opens)], handle;
    POPLOCK_KEY_CONTEXT context;
    ULONG i;
    for (i = 0; i < RTL_NUMBER_OF(opens); i++) {
        const GUID *target = opens[i].Target, *parent = opens[i].Parent;
        OpenKeyed(&handles[i], L"\\Device\\TEcp\\k", GENERIC_READ, 0, target, parent);
        files[i] = Opened;
        context = IoGetOplockKeyContextEx(files[i]);
        EQ(context != NULL, target || parent, "nt_opl_14_the_keys_of_an_open");
        if (context) {
            EQ(context->Version, parent ? OPLOCK_KEY_VERSION_WIN8 : OPLOCK_KEY_VERSION_WIN7, "nt_opl_14_a_version");
            EQ(context->Flags, (target ? OPLOCK_KEY_FLAG_TARGET_KEY : 0) | (parent ? OPLOCK_KEY_FLAG_PARENT_KEY : 0), "nt_opl_14_which_are_there");
            if (target) OK(Same(&context->TargetOplockKey, target), "nt_opl_14_the_files");
            if (parent) OK(Same(&context->ParentOplockKey, parent), "nt_opl_14_the_directorys");
        }
        EQ(IoGetOplockKeyContext(files[i]) != NULL, target != NULL, "nt_opl_14_only_the_files_key");
        if (target) OK(Same(&IoGetOplockKeyContext(files[i])->OplockKey, target), "nt_opl_14_the_older_structure");
    }
    OK(FsRtlOplockKeysEqual(files[0], files[1]) && FsRtlOplockKeysEqual(files[3], files[3]), "nt_opl_14_equal_keys");
    OK(!FsRtlOplockKeysEqual(files[0], files[2]) && !FsRtlOplockKeysEqual(files[2], files[3]) && !FsRtlOplockKeysEqual(files[0], NULL),
        "nt_opl_14_a_key_is_missing");
    /* The first open is the directory's, say: its key is that of the third one's parent. */
    ST(Level(handles[0], &held, OPLOCK_LEVEL_CACHE_READ), STATUS_PENDING, "nt_opl_14_a_directory_is_cached");
    OpenKeyed(&handle, L"\\Device\\TEcp\\k", GENERIC_READ, 0, &Other, &Key);
    OK(WAITS(held.Iosb), "nt_opl_14_its_owner_makes_a_file");
    ZwClose(handle);
    OpenKeyed(&handle, L"\\Device\\TEcp\\k", GENERIC_READ, 0, &Key, &Other);
    OK(!WAITS(held.Iosb) && held.Out.NewOplockLevel == 0, "nt_opl_14_somebody_else_does");
    ZwClose(handle);
    for (i = 0; i < RTL_NUMBER_OF(opens); i++) ZwClose(handles[i]);
}

/* The filter: creates of ...\keyed get a key, creates of ...\seen a parameter. */
static NTSTATUS Attached, Again, OnWrite, OnWriteSet;
static ULONG Posts;
static POPLOCK_KEY_CONTEXT PostKey;
static BOOLEAN PostFound;

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreCreate(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *CompletionContext)
{
    PECP_LIST list = NULL;
    PVOID context = NULL;
    BOOLEAN keyed = Ends(&FltObjects->FileObject->FileName, L"keyed");
    *CompletionContext = NULL;
    if (!keyed && !Ends(&FltObjects->FileObject->FileName, L"seen")) return FLT_PREOP_SUCCESS_NO_CALLBACK;
    FltGetEcpListFromCallbackData(Filter, Data, &list);
    if (list != NULL) {
        /* Its caller's. */
        if (NT_SUCCESS(FltFindExtraCreateParameter(Filter, list, &First, &context, NULL))) FltAcknowledgeEcp(Filter, context);
        return FLT_PREOP_SUCCESS_WITH_CALLBACK;
    }
    FltAllocateExtraCreateParameterList(Filter, 0, &list);
    if (keyed) {
        FltAllocateExtraCreateParameter(Filter, &GUID_ECP_OPLOCK_KEY, sizeof(OPLOCK_KEY_ECP_CONTEXT), 0, NULL, TAG, &context);
        ((POPLOCK_KEY_ECP_CONTEXT)context)->OplockKey = Key;
    } else {
        FltAllocateExtraCreateParameter(Filter, &Second, sizeof(PARAMETER), 0, Cleanup, TAG, &context);
        ((PPARAMETER)context)->Mark = 9;
    }
    FltInsertExtraCreateParameter(Filter, list, context);
    Attached = FltSetEcpListIntoCallbackData(Filter, Data, list);
    Again = FltSetEcpListIntoCallbackData(Filter, Data, list);
    return FLT_PREOP_SUCCESS_WITH_CALLBACK;
}

static FLT_POSTOP_CALLBACK_STATUS FLTAPI PostCreate(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID CompletionContext,
    FLT_POST_OPERATION_FLAGS Flags)
{
    PECP_LIST list = NULL;
    UNREFERENCED_PARAMETER(CompletionContext);
    UNREFERENCED_PARAMETER(Flags);
    Posts++;
    PostKey = IoGetOplockKeyContextEx(FltObjects->FileObject);
    PostFound = NT_SUCCESS(FltGetEcpListFromCallbackData(Filter, Data, &list)) && list &&
        NT_SUCCESS(FltFindExtraCreateParameter(Filter, list, &Second, NULL, NULL));
    return FLT_POSTOP_FINISHED_PROCESSING;
}

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreWrite(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *CompletionContext)
{
    PECP_LIST list = NULL;
    *CompletionContext = NULL;
    if (!Ends(&FltObjects->FileObject->FileName, L"seen")) return FLT_PREOP_SUCCESS_NO_CALLBACK;
    FltAllocateExtraCreateParameterList(Filter, 0, &list);
    OnWriteSet = FltSetEcpListIntoCallbackData(Filter, Data, list);
    FltFreeExtraCreateParameterList(Filter, list);
    OnWrite = FltGetEcpListFromCallbackData(Filter, Data, &list);
    return FLT_PREOP_SUCCESS_NO_CALLBACK;
}

static NTSTATUS FLTAPI Unload(FLT_FILTER_UNLOAD_FLAGS Flags)
{
    UNREFERENCED_PARAMETER(Flags);
    FltUnregisterFilter(Filter);
    FsRtlUninitializeOplock(&Oplock);
    FsRtlUninitializeOplock(&Directory);
    RemoveDevice();
    return STATUS_SUCCESS;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, 0, PreCreate, PostCreate, NULL },
    { IRP_MJ_WRITE, 0, PreWrite, NULL, NULL },
    { IRP_MJ_OPERATION_END, 0, NULL, NULL, NULL },
};

static const FLT_REGISTRATION Registration = {
    .Size = sizeof(FLT_REGISTRATION),
    .Version = FLT_REGISTRATION_VERSION,
    .OperationRegistration = Operations,
    .FilterUnloadCallback = Unload,
    .InstanceSetupCallback = FirstInstance,
};

static VOID Filtered(VOID)
{
    static REQUEST held;
    IO_STATUS_BLOCK iosb;
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes;
    IO_DRIVER_CREATE_CONTEXT context;
    HANDLE handle, other;
    PECP_LIST list;
    PVOID own = NULL;
    LARGE_INTEGER zero = { .QuadPart = 0 };

    /* What the filter attaches is seen after the create and goes with it. */
    Cleaned = Posts = 0;
    ST(OpenWith(&handle, L"\\??\\C:\\seen", GENERIC_WRITE, FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0, &iosb), STATUS_SUCCESS, "flt_g_16_a_create");
    OK(Attached == STATUS_SUCCESS && Again == STATUS_INVALID_PARAMETER_3, "flt_g_16_a_filter_attaches");
    OK(Posts == 1 && PostFound, "flt_g_16_and_finds_it_after_the_create");
    OK(Cleaned == 1 && CleanedMark == 9 && Same(&CleanedType, &Second), "flt_g_16_it_goes_with_the_create");
    ZwWriteFile(handle, NULL, NULL, NULL, &iosb, &zero, 4, &zero, NULL);
    OK(OnWrite == STATUS_INVALID_PARAMETER && OnWriteSet == STATUS_INVALID_PARAMETER_2, "flt_g_16_a_write_has_none");
    ZwClose(handle);
    /* A caller's list comes to the filter. */
    list = List(&First, 5);
    FsRtlFindExtraCreateParameter(list, &First, &own, NULL);
    ST(OpenWith(&handle, L"\\??\\C:\\seen", GENERIC_READ, 0, list, 0, &iosb), STATUS_SUCCESS, "nt_ecp_04_a_filter_on_the_way");
    OK(FltIsEcpAcknowledged(Filter, own) && !FltIsEcpFromUserMode(Filter, own), "nt_ecp_03_a_filters_mark");
    ZwClose(handle);
    FltPrepareToReuseEcp(Filter, own);
    /* Below the instance the filter does not see it; the list comes back all the same. */
    RtlInitUnicodeString(&name, L"\\??\\C:\\seen");
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL, NULL);
    IoInitializeDriverCreateContext(&context);
    context.ExtraCreateParameter = list;
    Posts = 0;
    ST(FltCreateFileEx2(Filter, Instance, &handle, NULL, GENERIC_READ | SYNCHRONIZE, &attributes, &iosb, NULL, 0, SHARE_ALL, FILE_OPEN, 0, NULL, 0, 0, &context),
        STATUS_SUCCESS, "flt_g_16_a_create_of_the_filters_own");
    OK(Posts == 0 && !FltIsEcpAcknowledged(Filter, own), "flt_g_16_is_below_it");
    FltClose(handle);
    Cleaned = 0;
    FltFreeExtraCreateParameterList(Filter, list);
    EQ(Cleaned, 1, "flt_g_16_and_the_list_is_the_filters");

    /* The volume finds the key that the filter attached. */
    ST(OpenWith(&handle, L"\\??\\C:\\keyed", FILE_READ_ATTRIBUTES, 0, NULL, 0, &iosb), STATUS_SUCCESS, "nt_opl_14_a_create");
    OK(PostKey && PostKey->Flags == OPLOCK_KEY_FLAG_TARGET_KEY && Same(&PostKey->TargetOplockKey, &Key), "nt_opl_14_the_volume_finds_the_filters_key");
    ST(OpenWith(&other, L"\\??\\C:\\keyed", GENERIC_READ | GENERIC_WRITE, FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0, &iosb), STATUS_SUCCESS,
        "nt_opl_14_another_with_it");
    ST(Level(handle, &held, OPLOCK_LEVEL_CACHE_READ | OPLOCK_LEVEL_CACHE_WRITE | OPLOCK_LEVEL_CACHE_HANDLE), STATUS_PENDING,
        "nt_opl_14_granted_beside_the_same_key");
    ST(ZwWriteFile(other, NULL, NULL, NULL, &iosb, &zero, 4, &zero, NULL), STATUS_SUCCESS, "nt_opl_10_the_owner_writes_by_another_handle");
    ST(ZwReadFile(other, NULL, NULL, NULL, &iosb, &zero, 4, &zero, NULL), STATUS_SUCCESS, "nt_opl_10_and_reads");
    OK(WAITS(held.Iosb), "nt_opl_10_nothing_broke");
    ZwClose(other);
    /* The caller's list has another key: the filter leaves it alone. */
    ST(OpenKeyed(&other, L"\\??\\C:\\keyed", GENERIC_WRITE, FILE_OPEN_REQUIRING_OPLOCK, &Other, NULL), STATUS_CANNOT_BREAK_OPLOCK,
        "nt_opl_05_it_would_break_one_of_another");
    OK(WAITS(held.Iosb), "nt_opl_05_and_does_not");
    ST(OpenKeyed(&other, L"\\??\\C:\\keyed", GENERIC_WRITE, FILE_OPEN_REQUIRING_OPLOCK, &Key, NULL), STATUS_SUCCESS, "nt_opl_05_its_own_is_none");
    OK(WAITS(held.Iosb), "nt_opl_05_and_stays");
    ZwClose(other);
    ST(OpenKeyed(&other, L"\\??\\C:\\keyed", GENERIC_WRITE, FILE_COMPLETE_IF_OPLOCKED, &Other, NULL), STATUS_OPLOCK_BREAK_IN_PROGRESS,
        "nt_opl_10_another_owner_breaks");
    OK(!WAITS(held.Iosb) && held.Out.NewOplockLevel == (OPLOCK_LEVEL_CACHE_READ | OPLOCK_LEVEL_CACHE_HANDLE), "nt_opl_10_to_read_handle");
    ZwClose(handle);
    ZwClose(other);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    NTSTATUS status;
    ULONG i;
    UNREFERENCED_PARAMETER(RegistryPath);
    status = MakeDevice(DriverObject, Dispatch);
    if (!NT_SUCCESS(status)) return status;
    for (i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++) DriverObject->MajorFunction[i] = Dispatch;
    Device->Flags &= ~DO_DEVICE_INITIALIZING;
    FsRtlInitializeOplock(&Oplock);
    FsRtlInitializeOplock(&Directory);
    Lists();
    Creates();
    Contexts();
    Keys();
    status = StartFilter(DriverObject, &Registration, "flt_r_01_it_registers");
    if (!NT_SUCCESS(status)) return status;
    Filtered();
    return STATUS_SUCCESS;
}
