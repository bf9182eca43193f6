/*
 * t_ke: what a driver does with DPCs, timers, locks, lists and work items: the rules NT-KR-01 to NT-KR-32.
 */
#include "ntifs.h"
#include "t.h"

typedef struct _SEEN {
    volatile LONG Calls;
    PVOID Arguments[4];
    KIRQL Irql;
    KEVENT Event;
} SEEN, *PSEEN;

static LARGE_INTEGER Ms(LONGLONG Milliseconds)
{
    LARGE_INTEGER time;
    time.QuadPart = Milliseconds * -10000;
    return time;
}

static NTSTATUS WaitFor(PVOID Object, LONGLONG Milliseconds)
{
    LARGE_INTEGER time = Ms(Milliseconds);
    return KeWaitForSingleObject(Object, Executive, KernelMode, FALSE, &time);
}

static VOID Reset(PSEEN Seen)
{
    RtlZeroMemory(Seen, sizeof(*Seen));
    KeInitializeEvent(&Seen->Event, SynchronizationEvent, FALSE);
}

static VOID NTAPI Deferred(PKDPC Dpc, PVOID Context, PVOID First, PVOID Second)
{
    PSEEN seen = Context;
    seen->Arguments[0] = Dpc;
    seen->Arguments[1] = Context;
    seen->Arguments[2] = First;
    seen->Arguments[3] = Second;
    seen->Irql = KeGetCurrentIrql();
    InterlockedIncrement(&seen->Calls);
    KeSetEvent(&seen->Event, 0, FALSE);
}

/* Holds the machine's DPC processor until Open is set. */
static KEVENT Held;
static volatile LONG Open;
static VOID NTAPI Holding(PKDPC Dpc, PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    KeSetEvent(&Held, 0, FALSE);
    while (!Open) YieldProcessor();
}

static VOID Hold(PKDPC Dpc)
{
    Open = 0;
    KeInitializeEvent(&Held, NotificationEvent, FALSE);
    KeInitializeDpc(Dpc, Holding, NULL);
    KeInsertQueueDpc(Dpc, NULL, NULL);
    WaitFor(&Held, 5000);
}

static PKDPC Order[4];
static volatile LONG Ordered;
static VOID NTAPI Ordering(PKDPC Dpc, PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    Order[Ordered++] = Dpc;
}

static volatile LONG Rounds;
static VOID NTAPI Again(PKDPC Dpc, PVOID Context, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    if (++Rounds < 3) {
        if (!KeInsertQueueDpc(Dpc, NULL, NULL)) Rounds = 100;
    } else {
        PKEVENT event = Context;
        ExFreePoolWithTag(Dpc, 'ekrt');
        KeSetEvent(event, 0, FALSE);
    }
}

static VOID Dpcs(VOID)
{
    KDPC hold, one, four[4];
    PKDPC own;
    KEVENT done;
    SEEN seen;
    ULONG index;
    static const KDPC_IMPORTANCE importance[4] = { MediumImportance, LowImportance, MediumImportance, HighImportance };

    Reset(&seen);
    Hold(&hold);
    KeInitializeDpc(&one, Deferred, &seen);
    OK(one.Type == 0x13 && one.Importance == 1, "nt_kr_01_a_dpc_is_of_type_13h_and_medium_importance");
    OK(KeInsertQueueDpc(&one, &one, &seen), "nt_kr_01_a_dpc_is_queued");
    OK(!KeInsertQueueDpc(&one, NULL, NULL), "nt_kr_01_a_dpc_is_queued_once");
    OK(KeRemoveQueueDpc(&one), "nt_kr_03_a_queued_dpc_can_be_removed");
    OK(!KeRemoveQueueDpc(&one), "nt_kr_03_one_that_is_not_queued_cannot");
    OK(KeInsertQueueDpc(&one, &one, &seen), "nt_kr_03_a_removed_dpc_can_be_queued_again");
    Open = 1;
    KeFlushQueuedDpcs();
    EQ(seen.Calls, 1, "nt_kr_01_the_routine_is_called_once");
    OK(seen.Arguments[0] == &one && seen.Arguments[1] == &seen && seen.Arguments[2] == &one && seen.Arguments[3] == &seen,
        "nt_kr_01_the_routine_gets_its_four_arguments");
    EQ(seen.Irql, DISPATCH_LEVEL, "nt_kr_01_a_dpc_runs_at_dispatch_level");

    KeInitializeEvent(&done, NotificationEvent, FALSE);
    own = ExAllocatePoolWithTag(NonPagedPool, sizeof(KDPC), 'ekrt');
    KeInitializeDpc(own, Again, &done);
    KeInsertQueueDpc(own, NULL, NULL);
    ST(WaitFor(&done, 5000), STATUS_SUCCESS, "nt_kr_02_a_dpc_queues_itself_and_frees_itself");
    EQ(Rounds, 3, "nt_kr_02_each_time_it_is_off_the_queue_before_it_runs");

    Hold(&hold);
    for (index = 0; index < 4; index++) {
        KeInitializeDpc(&four[index], Ordering, NULL);
        KeSetImportanceDpc(&four[index], importance[index]);
        KeInsertQueueDpc(&four[index], NULL, NULL);
    }
    Open = 1;
    KeFlushQueuedDpcs();
    OK(Order[0] == &four[3] && Order[1] == &four[0] && Order[2] == &four[1] && Order[3] == &four[2],
        "nt_kr_04_high_importance_goes_first_and_the_others_in_order");

    Reset(&seen);
    KeInitializeThreadedDpc(&one, Deferred, &seen);
    EQ(one.Type, 0x1A, "nt_kr_05_a_threaded_dpc_is_of_type_1ah");
    KeInsertQueueDpc(&one, NULL, NULL);
    KeFlushQueuedDpcs();
    EQ(seen.Calls, 1, "nt_kr_05_a_flush_waits_for_queued_dpcs");
    EQ(seen.Irql, PASSIVE_LEVEL, "nt_kr_05_a_threaded_dpc_runs_at_passive_level");
}

static VOID Timers(VOID)
{
    KTIMER timer;
    KDPC dpc, hold;
    SEEN seen;
    LARGE_INTEGER absolute;
    ULONG index;

    for (index = 0; index < 2; index++) {
        KeInitializeTimerEx(&timer, index == 0 ? NotificationTimer : SynchronizationTimer);
        OK(!KeSetTimer(&timer, Ms(500), NULL), "nt_kr_06_a_timer_was_not_set");
        OK(KeSetTimer(&timer, Ms(20), NULL), "nt_kr_06_a_timer_was_set");
        OK(!KeReadStateTimer(&timer), "nt_kr_06_a_set_timer_is_not_signalled");
        ST(WaitFor(&timer, 5000), STATUS_SUCCESS, "nt_kr_06_a_timer_ends_a_wait");
        ST(WaitFor(&timer, 0), index == 0 ? STATUS_SUCCESS : STATUS_TIMEOUT, "nt_kr_06_its_kind_says_for_how_many");
    }
    Reset(&seen);
    KeInitializeDpc(&dpc, Deferred, &seen);
    KeInitializeTimer(&timer);
    KeSetTimer(&timer, Ms(10000), &dpc);
    EQ(timer.Header.Inserted, 1, "nt_kr_07_the_header_tells_a_set_timer");
    OK(KeCancelTimer(&timer), "nt_kr_07_a_set_timer_is_cancelled");
    OK(!KeCancelTimer(&timer) && timer.Header.Inserted == 0, "nt_kr_07_a_cancelled_timer_is_not_set");
    Hold(&hold);
    KeSetTimer(&timer, Ms(1), &dpc);
    ST(WaitFor(&timer, 5000), STATUS_SUCCESS, "nt_kr_09_a_timer_with_a_dpc_fires");
    OK(!KeCancelTimer(&timer), "nt_kr_07_a_timer_that_has_fired_is_not_set");
    Open = 1;
    KeFlushQueuedDpcs();
    EQ(seen.Calls, 1, "nt_kr_07_its_queued_dpc_runs_all_the_same");

    Reset(&seen);
    KeInitializeTimerEx(&timer, SynchronizationTimer);
    KeSetTimerEx(&timer, Ms(5), 5, &dpc);
    for (index = 0; index < 3; index++) ST(WaitFor(&timer, 5000), STATUS_SUCCESS, "nt_kr_08_a_periodic_timer_fires_again");
    /* One that is still queued when the timer fires next is not queued twice. */
    for (index = 0; index < 1000 && seen.Calls < 3; index++) WaitFor(&timer, 5000);
    OK(KeCancelTimer(&timer), "nt_kr_08_a_periodic_timer_stays_set");
    KeFlushQueuedDpcs();
    OK(seen.Calls >= 3, "nt_kr_09_its_dpc_is_queued_each_time");
    Reset(&seen);
    KeSetCoalescableTimer(&timer, Ms(5), 0, 50, &dpc);
    ST(WaitFor(&seen.Event, 5000), STATUS_SUCCESS, "nt_kr_09_a_coalescable_timer_queues_its_dpc");
    KeFlushQueuedDpcs();
    KeQuerySystemTime(&absolute);
    absolute.QuadPart -= 10000000;
    KeInitializeTimer(&timer);
    KeSetTimer(&timer, absolute, NULL);
    OK(KeReadStateTimer(&timer), "nt_kr_10_an_absolute_time_that_is_over_fires_at_once");
}

static VOID Mutexes(VOID)
{
    FAST_MUTEX fast;
    KGUARDED_MUTEX guarded;
    ExInitializeFastMutex(&fast);
    ExAcquireFastMutex(&fast);
    EQ(KeGetCurrentIrql(), APC_LEVEL, "nt_kr_11_a_fast_mutex_raises_to_apc_level");
    OK(fast.Owner == (PVOID)KeGetCurrentThread() && fast.Count == 0, "nt_kr_11_a_fast_mutex_knows_its_owner");
    OK(!ExTryToAcquireFastMutex(&fast), "nt_kr_11_a_held_fast_mutex_is_not_got");
    ExReleaseFastMutex(&fast);
    EQ(KeGetCurrentIrql(), PASSIVE_LEVEL, "nt_kr_11_its_release_restores_the_level");
    OK(ExTryToAcquireFastMutex(&fast) && KeGetCurrentIrql() == APC_LEVEL, "nt_kr_11_a_free_one_is_got");
    ExReleaseFastMutex(&fast);
    KeEnterCriticalRegion();
    ExAcquireFastMutexUnsafe(&fast);
    EQ(KeGetCurrentIrql(), PASSIVE_LEVEL, "nt_kr_11_the_unsafe_form_leaves_the_level");
    ExReleaseFastMutexUnsafe(&fast);
    KeLeaveCriticalRegion();
    KeInitializeGuardedMutex(&guarded);
    KeAcquireGuardedMutex(&guarded);
    OK(KeAreAllApcsDisabled() && KeGetCurrentIrql() == PASSIVE_LEVEL, "nt_kr_12_a_guarded_mutex_enters_a_guarded_region");
    KeReleaseGuardedMutex(&guarded);
    OK(!KeAreAllApcsDisabled(), "nt_kr_12_its_release_leaves_the_region");
    OK(KeTryToAcquireGuardedMutex(&guarded) && !KeTryToAcquireGuardedMutex(&guarded), "nt_kr_12_a_held_one_is_not_got");
    KeReleaseGuardedMutex(&guarded);
    OK(!KeAreAllApcsDisabled(), "nt_kr_12_a_try_that_fails_is_outside_the_region");
}

static VOID Resources(VOID)
{
    static ERESOURCE resource;
    ExInitializeResourceLite(&resource);
    OK(ExEnterCriticalRegionAndAcquireResourceExclusive(&resource) != NULL && KeAreApcsDisabled(), "nt_kr_13_a_resource_is_owned_in_a_critical_region");
    OK(ExAcquireResourceSharedLite(&resource, FALSE) && ExAcquireSharedWaitForExclusive(&resource, FALSE), "nt_kr_13_an_owner_gets_more");
    EQ(ExIsResourceAcquiredSharedLite(&resource), 3, "nt_kr_13_and_counts");
    ExConvertExclusiveToSharedLite(&resource);
    OK(!ExIsResourceAcquiredExclusiveLite(&resource) && ExIsResourceAcquiredSharedLite(&resource) == 3, "nt_kr_13_an_owner_becomes_a_sharer");
    OK(!ExAcquireResourceExclusiveLite(&resource, FALSE), "nt_kr_13_a_share_is_not_made_exclusive");
    EQ(ExGetExclusiveWaiterCount(&resource) + ExGetSharedWaiterCount(&resource), 0, "nt_kr_13_nobody_waits");
    ExReleaseResourceLite(&resource);
    ExReleaseResourceLite(&resource);
    ExReleaseResourceAndLeaveCriticalRegion(&resource);
    OK(!KeAreApcsDisabled(), "nt_kr_13_the_last_release_leaves_the_region");
    KeEnterCriticalRegion();
    ExAcquireResourceExclusiveLite(&resource, TRUE);
    ExSetResourceOwnerPointer(&resource, (PVOID)((ULONG_PTR)&resource | 3));
    EQ(ExIsResourceAcquiredExclusiveLite(&resource), 0, "nt_kr_14_the_hold_is_no_longer_the_threads");
    OK(!ExAcquireResourceSharedLite(&resource, FALSE), "nt_kr_14_it_is_held_all_the_same");
    ExReleaseResourceForThreadLite(&resource, (ULONG_PTR)&resource | 3);
    OK(ExAcquireResourceSharedLite(&resource, FALSE), "nt_kr_14_the_owner_pointer_releases_it");
    ExReleaseResourceLite(&resource);
    KeLeaveCriticalRegion();
    ExDeleteResourceLite(&resource);
}

static EX_PUSH_LOCK Push;
static EX_RUNDOWN_REF Rundown;
static SEEN Worked;
static VOID NTAPI TakesPushLock(PVOID Context)
{
    PSEEN seen = Context;
    KeEnterCriticalRegion();
    ExAcquirePushLockExclusive(&Push);
    InterlockedIncrement(&seen->Calls);
    ExReleasePushLockExclusive(&Push);
    KeLeaveCriticalRegion();
    KeSetEvent(&seen->Event, 0, FALSE);
}
static VOID NTAPI RunsDown(PVOID Context)
{
    PSEEN seen = Context;
    ExWaitForRundownProtectionRelease(&Rundown);
    InterlockedIncrement(&seen->Calls);
    KeSetEvent(&seen->Event, 0, FALSE);
}

static VOID Words(VOID)
{
    WORK_QUEUE_ITEM item;
    PEX_RUNDOWN_REF_CACHE_AWARE aware;
    KSPIN_LOCK spin;
    KLOCK_QUEUE_HANDLE handle;
    EX_SPIN_LOCK reader = 0;
    KIRQL irql, second;

    ExInitializePushLock(&Push);
    Reset(&Worked);
    KeEnterCriticalRegion();
    ExAcquirePushLockShared(&Push);
    ExInitializeWorkItem(&item, TakesPushLock, &Worked);
    ExQueueWorkItem(&item, DelayedWorkQueue);
    ST(WaitFor(&Worked.Event, 30), STATUS_TIMEOUT, "nt_kr_15_an_exclusive_taker_waits_for_a_share");
    EQ(Worked.Calls, 0, "nt_kr_15_and_has_not_got_it");
    ExReleasePushLockShared(&Push);
    KeLeaveCriticalRegion();
    ST(WaitFor(&Worked.Event, 5000), STATUS_SUCCESS, "nt_kr_15_it_gets_it_when_the_share_goes");
    EQ(Push, 0, "nt_kr_15_a_free_push_lock_is_0");

    ExInitializeRundownProtection(&Rundown);
    OK(ExAcquireRundownProtection(&Rundown) && ExAcquireRundownProtectionEx(&Rundown, 2), "nt_kr_17_uses_begin");
    Reset(&Worked);
    ExInitializeWorkItem(&item, RunsDown, &Worked);
    ExQueueWorkItem(&item, DelayedWorkQueue);
    while (ExAcquireRundownProtection(&Rundown)) {
        ExReleaseRundownProtection(&Rundown);
        WaitFor(&Worked.Event, 1);
    }
    ExReleaseRundownProtectionEx(&Rundown, 2);
    ST(WaitFor(&Worked.Event, 30), STATUS_TIMEOUT, "nt_kr_17_the_end_waits_for_the_last_use");
    ExReleaseRundownProtection(&Rundown);
    ST(WaitFor(&Worked.Event, 5000), STATUS_SUCCESS, "nt_kr_17_and_comes_then");
    OK(!ExAcquireRundownProtection(&Rundown), "nt_kr_17_no_use_begins_after_it");
    ExRundownCompleted(&Rundown);
    ExWaitForRundownProtectionRelease(&Rundown);
    OK(!ExAcquireRundownProtection(&Rundown), "nt_kr_18_after_the_completion_uses_fail");
    ExReInitializeRundownProtection(&Rundown);
    OK(ExAcquireRundownProtection(&Rundown), "nt_kr_18_and_begin_again_when_it_is_made_anew");
    ExReleaseRundownProtection(&Rundown);
    aware = ExAllocateCacheAwareRundownProtection(NonPagedPool, 'ekrt');
    OK(aware != NULL && ExAcquireRundownProtectionCacheAware(aware) && ExAcquireRundownProtectionCacheAwareEx(aware, 2), "nt_kr_19_uses_of_a_cache_aware_one");
    ExReleaseRundownProtectionCacheAwareEx(aware, 2);
    ExReleaseRundownProtectionCacheAware(aware);
    ExWaitForRundownProtectionReleaseCacheAware(aware);
    ExRundownCompletedCacheAware(aware);
    OK(!ExAcquireRundownProtectionCacheAware(aware), "nt_kr_19_a_cache_aware_one_is_over");
    ExFreeCacheAwareRundownProtection(aware);

    KeInitializeSpinLock(&spin);
    KeAcquireInStackQueuedSpinLock(&spin, &handle);
    OK(KeGetCurrentIrql() == DISPATCH_LEVEL && handle.OldIrql == PASSIVE_LEVEL, "nt_kr_20_a_queued_spin_lock_raises_to_dispatch_level");
    OK(!KeTryToAcquireSpinLockAtDpcLevel(&spin), "nt_kr_20_it_is_held");
    KeReleaseInStackQueuedSpinLock(&handle);
    EQ(KeGetCurrentIrql(), PASSIVE_LEVEL, "nt_kr_20_its_release_restores_the_level");
    irql = ExAcquireSpinLockShared(&reader);
    second = ExAcquireSpinLockShared(&reader);
    OK(irql == PASSIVE_LEVEL && second == DISPATCH_LEVEL && !ExTryConvertSharedSpinLockExclusive(&reader), "nt_kr_20_two_readers");
    ExReleaseSpinLockShared(&reader, second);
    OK(ExTryConvertSharedSpinLockExclusive(&reader), "nt_kr_20_the_only_reader_becomes_the_writer");
    ExReleaseSpinLockExclusive(&reader, irql);
    EQ(KeGetCurrentIrql(), PASSIVE_LEVEL, "nt_kr_20_a_writer_restores_the_level");
}

typedef struct DECLSPEC_ALIGN(16) _BLOCK {
    SLIST_ENTRY Entry;
    ULONG Number;
} BLOCK;

static SLIST_HEADER Shared;
static volatile LONG Pops, Running;
static KEVENT AllDone;
static BLOCK Blocks[8];
static VOID NTAPI Swaps(PVOID Context)
{
    ULONG round;
    UNREFERENCED_PARAMETER(Context);
    for (round = 0; round < 3000; round++) {
        PSLIST_ENTRY entry = InterlockedPopEntrySList(&Shared);
        if (entry == NULL) continue;
        InterlockedIncrement(&Pops);
        InterlockedPushEntrySList(&Shared, entry);
    }
    if (InterlockedDecrement(&Running) == 0) KeSetEvent(&AllDone, 0, FALSE);
}

static ULONG Given, Taken;
static POOL_TYPE GivenType;
static PVOID LastList;
static PVOID NTAPI Gives(POOL_TYPE PoolType, SIZE_T Bytes, ULONG Tag)
{
    Given++;
    GivenType = PoolType;
    return ExAllocatePoolWithTag(PoolType, Bytes, Tag);
}
static VOID NTAPI Takes(PVOID Buffer)
{
    Taken++;
    ExFreePool(Buffer);
}
static PVOID NTAPI GivesEx(POOL_TYPE PoolType, SIZE_T Bytes, ULONG Tag, PLOOKASIDE_LIST_EX Lookaside)
{
    LastList = Lookaside;
    return Bytes == 48 ? ExAllocatePoolWithTag(PoolType, Bytes, Tag) : NULL;
}
static VOID NTAPI TakesEx(PVOID Buffer, PLOOKASIDE_LIST_EX Lookaside)
{
    if (LastList == Lookaside) Taken++;
    ExFreePool(Buffer);
}

static VOID Lists(VOID)
{
    SLIST_HEADER head;
    WORK_QUEUE_ITEM items[3];
    LIST_ENTRY list, a, b;
    SINGLE_LIST_ENTRY single, x;
    KSPIN_LOCK spin;
    ULONG number = 5, index;
    LARGE_INTEGER large, more;
    NTSTATUS status = STATUS_SUCCESS;
    PSLIST_ENTRY chain;

    InitializeSListHead(&head);
    OK(InterlockedPopEntrySList(&head) == NULL, "nt_kr_21_an_empty_list_gives_null");
    OK(InterlockedPushEntrySList(&head, &Blocks[0].Entry) == NULL, "nt_kr_21_the_first_push_returns_null");
    OK(InterlockedPushEntrySList(&head, &Blocks[1].Entry) == &Blocks[0].Entry, "nt_kr_21_a_push_returns_the_former_first");
    EQ(ExQueryDepthSList(&head), 2, "nt_kr_21_the_depth");
    OK((head.Alignment & 0xFFFF) == 2 && (head.Region & ~15ULL) == (ULONG_PTR)&Blocks[1], "nt_kr_21_the_words_of_the_head");
    OK(InterlockedPopEntrySList(&head) == &Blocks[1].Entry, "nt_kr_21_last_in_first_out");
    InterlockedPushEntrySList(&head, &Blocks[2].Entry);
    chain = InterlockedFlushSList(&head);
    OK(chain == &Blocks[2].Entry && chain->Next == &Blocks[0].Entry && ExQueryDepthSList(&head) == 0, "nt_kr_21_a_flush_takes_the_chain");
    __try {
        InitializeSListHead((PSLIST_HEADER)((PUCHAR)&head + 8));
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        status = GetExceptionCode();
    }
    ST(status, STATUS_DATATYPE_MISALIGNMENT, "nt_kr_21_a_head_that_is_not_aligned_raises");

    InitializeSListHead(&Shared);
    for (index = 0; index < 8; index++) InterlockedPushEntrySList(&Shared, &Blocks[index].Entry);
    KeInitializeEvent(&AllDone, NotificationEvent, FALSE);
    Running = 3;
    for (index = 0; index < 3; index++) {
        ExInitializeWorkItem(&items[index], Swaps, NULL);
        ExQueueWorkItem(&items[index], CriticalWorkQueue);
    }
    ST(WaitFor(&AllDone, 20000), STATUS_SUCCESS, "nt_kr_22_three_threads_pop_and_push");
    EQ(ExQueryDepthSList(&Shared), 8, "nt_kr_22_nothing_is_lost");
    for (index = 0; (chain = InterlockedPopEntrySList(&Shared)) != NULL; index++) ((BLOCK *)chain)->Number++;
    for (number = 0; number < 8 && Blocks[number].Number == 1; number++) {}
    OK(index == 8 && number == 8, "nt_kr_22_nothing_is_there_twice");

    KeInitializeSpinLock(&spin);
    InitializeListHead(&list);
    OK(ExInterlockedRemoveHeadList(&list, &spin) == NULL, "nt_kr_23_an_empty_list_gives_null");
    OK(ExInterlockedInsertTailList(&list, &a, &spin) == NULL, "nt_kr_23_the_first_insert_returns_null");
    OK(ExInterlockedInsertHeadList(&list, &b, &spin) == &a, "nt_kr_23_the_former_first");
    OK(ExInterlockedRemoveHeadList(&list, &spin) == &b && ExInterlockedRemoveHeadList(&list, &spin) == &a, "nt_kr_23_the_head_goes_first");
    single.Next = NULL;
    OK(ExInterlockedPushEntryList(&single, &x, &spin) == NULL && ExInterlockedPopEntryList(&single, &spin) == &x
        && ExInterlockedPopEntryList(&single, &spin) == NULL, "nt_kr_23_single_links");
    number = 5;
    OK(ExInterlockedAddUlong(&number, 3, &spin) == 5 && number == 8, "nt_kr_23_the_former_ulong");
    large.QuadPart = 1LL << 40;
    more.QuadPart = -1;
    OK(ExInterlockedAddLargeInteger(&large, more, &spin).QuadPart == 1LL << 40 && large.QuadPart == (1LL << 40) - 1, "nt_kr_23_the_former_large_integer");
    EQ(KeGetCurrentIrql(), PASSIVE_LEVEL, "nt_kr_23_the_level_is_as_before");
}

static VOID Lookasides(VOID)
{
    static NPAGED_LOOKASIDE_LIST plain;
    static PAGED_LOOKASIDE_LIST paged;
    static LOOKASIDE_LIST_EX ex;
    static PVOID blocks[300];
    ULONG index, depth;
    PVOID block;
    NTSTATUS status = STATUS_SUCCESS;

    OK(FIELD_OFFSET(GENERAL_LOOKASIDE, Depth) == 0x10 && FIELD_OFFSET(GENERAL_LOOKASIDE, Type) == 0x24 && FIELD_OFFSET(GENERAL_LOOKASIDE, Allocate) == 0x30
        && sizeof(plain) == 0x80 && sizeof(ex) == 0x60, "nt_kr_24_the_layout_of_lookaside_lists");
    ExInitializeNPagedLookasideList(&plain, NULL, NULL, 0, 64, 'ekrt', 0);
    OK(plain.L.Allocate != NULL && plain.L.Free != NULL && plain.L.Size == 64 && plain.L.Tag == 'ekrt' && plain.L.Depth > 0 && plain.L.Depth <= plain.L.MaximumDepth,
        "nt_kr_24_what_inline_code_reads_is_there");
    block = ExAllocateFromNPagedLookasideList(&plain);
    OK(block != NULL, "nt_kr_24_inline_code_allocates");
    ExFreeToNPagedLookasideList(&plain, block);
    EQ(ExQueryDepthSList(&plain.L.ListHead), 1, "nt_kr_24_inline_code_keeps_a_block");
    OK(ExAllocateFromNPagedLookasideList(&plain) == block, "nt_kr_24_and_gives_it_out_again");
    ExFreeToNPagedLookasideList(&plain, block);
    OK(plain.L.TotalAllocates == 2 && plain.L.AllocateMisses == 1 && plain.L.TotalFrees == 2 && plain.L.FreeMisses == 0, "nt_kr_24_its_counts");
    ExDeleteNPagedLookasideList(&plain);

    ExInitializePagedLookasideList(&paged, Gives, Takes, 0, 64, 'ekrt', 0);
    depth = paged.L.Depth;
    for (index = 0; index < depth + 2; index++) blocks[index] = ExAllocateFromPagedLookasideList(&paged);
    OK(Given == depth + 2 && (GivenType & 1) == 1, "nt_kr_25_an_empty_list_asks_its_own_routine");
    for (index = 0; index < depth + 2; index++) ExFreeToPagedLookasideList(&paged, blocks[index]);
    EQ(Taken, 2, "nt_kr_25_past_the_depth_its_own_routine_takes");
    ExDeletePagedLookasideList(&paged);
    EQ(Taken, depth + 2, "nt_kr_25_a_delete_hands_over_what_was_kept");

    ST(ExInitializeLookasideListEx(&ex, NULL, NULL, NonPagedPool, 3, 48, 'ekrt', 0), (NTSTATUS)0xC00000F3, "nt_kr_26_flags_that_clash");
    ST(ExInitializeLookasideListEx(&ex, NULL, NULL, NonPagedPool, 0, 4, 'ekrt', 0), (NTSTATUS)0xC00000F4, "nt_kr_26_a_block_too_small_for_a_link");
    Taken = 0;
    ST(ExInitializeLookasideListEx(&ex, GivesEx, TakesEx, NonPagedPool, 0, 48, 'ekrt', 0), STATUS_SUCCESS, "nt_kr_26_an_ex_list");
    block = ExAllocateFromLookasideListEx(&ex);
    OK(block != NULL && LastList == &ex, "nt_kr_26_the_routine_gets_the_list");
    ExFreeToLookasideListEx(&ex, block);
    EQ(Taken, 0, "nt_kr_25_a_free_keeps_the_block");
    OK(ExAllocateFromLookasideListEx(&ex) == block, "nt_kr_25_the_kept_block_comes_back");
    ExFreeToLookasideListEx(&ex, block);
    ExFlushLookasideListEx(&ex);
    EQ(Taken, 1, "nt_kr_26_a_flush_hands_over_with_the_list");
    ExDeleteLookasideListEx(&ex);
    ExInitializeLookasideListEx(&ex, GivesEx, TakesEx, NonPagedPool, EX_LOOKASIDE_LIST_EX_FLAGS_RAISE_ON_FAIL, 32, 'ekrt', 0);
    __try {
        block = ExAllocateFromLookasideListEx(&ex);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        status = GetExceptionCode();
    }
    ST(status, STATUS_INSUFFICIENT_RESOURCES, "nt_kr_26_a_failed_allocation_raises_if_asked");
    ExDeleteLookasideListEx(&ex);
}

static VOID NTAPI Expired(PEX_TIMER Timer, PVOID Context)
{
    PSEEN seen = Context;
    seen->Arguments[0] = Timer;
    seen->Irql = KeGetCurrentIrql();
    InterlockedIncrement(&seen->Calls);
}
static VOID NTAPI Gone(PVOID Context)
{
    PSEEN seen = Context;
    seen->Arguments[3] = seen;
    KeSetEvent(&seen->Event, 0, FALSE);
}
static VOID NTAPI Works(PVOID Context)
{
    PSEEN seen = Context;
    seen->Irql = KeGetCurrentIrql();
    seen->Arguments[0] = PsGetCurrentProcessId();
    InterlockedIncrement(&seen->Calls);
    KeSetEvent(&seen->Event, 0, FALSE);
}

static VOID ExTimers(VOID)
{
    PEX_TIMER timer;
    SEEN seen;
    EXT_DELETE_PARAMETERS parameters;
    WORK_QUEUE_ITEM item;

    OK(ExAllocateTimer(NULL, NULL, EX_TIMER_HIGH_RESOLUTION | EX_TIMER_NO_WAKE) == NULL, "nt_kr_29_attributes_that_clash");
    Reset(&seen);
    timer = ExAllocateTimer(Expired, &seen, EX_TIMER_NOTIFICATION);
    OK(!ExSetTimer(timer, -50000000, 0, NULL), "nt_kr_30_a_timer_was_not_set");
    OK(ExSetTimer(timer, -50000000, 0, NULL), "nt_kr_30_a_timer_was_set");
    OK(ExCancelTimer(timer, NULL) && !ExCancelTimer(timer, NULL), "nt_kr_30_a_cancel_tells_whether_it_was");
    ExSetTimer(timer, -50000, 50000, NULL);
    ST(WaitFor(timer, 5000), STATUS_SUCCESS, "nt_kr_29_an_ex_timer_can_be_waited_for");
    while (seen.Calls < 3) WaitFor(&seen.Event, 1);
    OK(seen.Arguments[0] == timer && seen.Irql == DISPATCH_LEVEL, "nt_kr_29_its_callback_runs_at_dispatch_level");
    RtlZeroMemory(&parameters, sizeof(parameters));
    parameters.DeleteCallback = Gone;
    parameters.DeleteContext = &seen;
    OK(ExDeleteTimer(timer, TRUE, TRUE, &parameters), "nt_kr_31_a_delete_cancels_a_set_timer");
    OK(seen.Arguments[3] == &seen, "nt_kr_31_a_delete_that_waits_returns_after_the_delete_callback");
    Reset(&seen);
    timer = ExAllocateTimer(Expired, &seen, 0);
    ExSetTimer(timer, -100000, 0, NULL);
    OK(!ExDeleteTimer(timer, FALSE, FALSE, &parameters), "nt_kr_31_a_delete_may_let_it_fire_first");
    ST(WaitFor(&seen.Event, 5000), STATUS_SUCCESS, "nt_kr_31_it_goes_after_that");
    EQ(seen.Calls, 1, "nt_kr_31_its_callback_came_before");

    Reset(&seen);
    ExInitializeWorkItem(&item, Works, &seen);
    ExQueueWorkItem(&item, DelayedWorkQueue);
    ST(WaitFor(&seen.Event, 5000), STATUS_SUCCESS, "nt_kr_32_a_work_item_runs");
    OK(seen.Calls == 1 && seen.Irql == PASSIVE_LEVEL && seen.Arguments[0] == (PVOID)4, "nt_kr_32_once_at_passive_level_in_the_system_process");
}

static VOID NTAPI Unload(PDRIVER_OBJECT DriverObject)
{
    UNREFERENCED_PARAMETER(DriverObject);
}

DRIVER_INITIALIZE DriverEntry;

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    DriverObject->DriverUnload = Unload;
    Dpcs();
    Timers();
    Mutexes();
    Resources();
    Words();
    Lists();
    Lookasides();
    ExTimers();
    return STATUS_SUCCESS;
}
