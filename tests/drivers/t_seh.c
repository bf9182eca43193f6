/*
 * t_seh: structured exceptions as drivers use them. Each exported routine runs one case and returns a number that
 * tells the order of what happened (decimal digits, first event first); the loader's tests know what it must be.
 * Own declarations only: this image must not depend on any header.
 */
typedef unsigned long ULONG;
typedef long NTSTATUS;
typedef unsigned long long U64;

typedef struct { ULONG Code, Flags; void *Record, *Address; ULONG Count; U64 Information[15]; } EXCEPTION;
typedef struct { char Before[0x78]; U64 Rax, Rcx, Rdx, Rbx, Rsp, Rbp, Rsi, Rdi, R8[8], Rip; } CONTEXT;
typedef struct { EXCEPTION *Record; CONTEXT *Context; } POINTERS;

__declspec(dllimport) void ExRaiseStatus(NTSTATUS);
__declspec(dllimport) void *memcpy(void *, const void *, U64);
__declspec(dllimport) void *memset(void *, int, U64);
__declspec(dllimport) U64 IofCallDriver(void *, void *);
__declspec(dllimport) void _local_unwind(void *, void *);
int __C_specific_handler();
unsigned long _exception_code(void);
void *_exception_info(void);
int _abnormal_termination(void);

#define CASE __declspec(dllexport) __attribute__((noinline)) U64
#define HELPER static __attribute__((noinline))
#define BAD ((volatile int *)0x40)

static volatile U64 Log;
static void Say(int digit) { Log = Log * 10 + digit; }

HELPER void Raise(NTSTATUS status) { ExRaiseStatus(status); Say(9); }
HELPER int Is(ULONG code, ULONG wanted) { return code == wanted; }

/* 1: raise and catch */
CASE Case01(void)
{
    Log = 0;
    __try { Say(1); Raise(0xC0000005); Say(9); }
    __except (1) { Say(2); }
    return Log;
}

/* 2: GetExceptionCode in filter and handler */
CASE Case02(void)
{
    U64 code = 0;
    __try { ExRaiseStatus(0xC00000BB); }
    __except (Is(_exception_code(), 0xC00000BB)) { code = _exception_code(); }
    return code;
}

/* 3: a filter that refuses; the outer one takes it */
CASE Case03(void)
{
    Log = 0;
    __try {
        __try { Raise(0xC0000001); }
        __except (Is(_exception_code(), 5)) { Say(9); }
    }
    __except (1) { Say(1); }
    return Log;
}

/* 4: __finally on the ordinary path */
CASE Case04(void)
{
    Log = 0;
    __try { Say(1); }
    __finally { Say(_abnormal_termination() ? 9 : 2); }
    Say(3);
    return Log;
}

/* 5: __finally while unwinding, after the filter */
HELPER int Filter5(void) { Say(2); return 1; }
CASE Case05(void)
{
    Log = 0;
    __try {
        __try { Say(1); Raise(0xC0000001); }
        __finally { Say(_abnormal_termination() ? 3 : 9); }
    }
    __except (Filter5()) { Say(4); }
    return Log;
}

/* 6: two __finally, inner first */
CASE Case06(void)
{
    Log = 0;
    __try {
        __try {
            __try { Raise(0xC0000001); }
            __finally { Say(1); }
        }
        __finally { Say(2); }
    }
    __except (1) { Say(3); }
    return Log;
}

/* 7: through a function with its own __finally */
HELPER void Inner7(void)
{
    __try { Raise(0xC0000001); }
    __finally { Say(1); }
}
CASE Case07(void)
{
    Log = 0;
    __try { Inner7(); Say(9); }
    __except (1) { Say(2); }
    return Log;
}

/* 8: a fault straight in the body */
CASE Case08(void)
{
    Log = 0;
    __try { Say(1); *BAD = 1; Say(9); }
    __except (Is(_exception_code(), 0xC0000005)) { Say(2); }
    return Log;
}

/* 9: the record of a write fault */
HELPER int Filter9(POINTERS *p, U64 *out)
{
    *out = p->Record->Count * 1000 + p->Record->Information[0] * 100 + p->Record->Information[1];
    return 1;
}
CASE Case09(void)
{
    U64 out = 0;
    __try { *BAD = 1; }
    __except (Filter9(_exception_info(), &out)) {}
    return out;
}

/* 10: the record of a read fault */
CASE Case10(void)
{
    U64 out = 0;
    __try { out = *BAD; }
    __except (Filter9(_exception_info(), &out)) {}
    return out;
}

/* 11: a fault in a called function */
HELPER int Touch(volatile int *at) { return *at; }
CASE Case11(void)
{
    Log = 0;
    __try { Touch(BAD); Say(9); }
    __except (1) { Say(1); }
    return Log;
}

/* 12: a fault in the memcpy import is the driver's */
CASE Case12(void)
{
    char here[64];
    Log = 0;
    __try { memcpy(here, (void *)BAD, sizeof here); Say(9); }
    __except (Is(_exception_code(), 0xC0000005)) { Say(1); }
    return Log;
}

/* 13: continue execution after the filter mended the cause */
static volatile int Mended;
HELPER int Filter13(POINTERS *p) { Say(1); p->Context->Rcx = (U64)&Mended; return -1; }
CASE Case13(void)
{
    Log = 0;
    Mended = 0;
    __try {
        __asm__ volatile("movl $7, (%%rcx)" : : "c"(BAD) : "memory");
        Say(2);
    }
    __except (Filter13(_exception_info())) { Say(9); }
    return Log * 10 + Mended;
}

/* 14: raise in a __finally replaces the exception */
CASE Case14(void)
{
    U64 code = 0;
    __try {
        __try { Raise(0xC0000001); }
        __finally { Raise(0xC0000002); }
    }
    __except (1) { code = _exception_code(); }
    return code;
}

/* 15: raise in a __finally, caught inside it: the first one goes on */
CASE Case15(void)
{
    Log = 0;
    __try {
        __try { Raise(0xC0000001); }
        __finally {
            __try { Raise(0xC0000002); }
            __except (1) { Say(1); }
            Say(2);
        }
    }
    __except (Is(_exception_code(), 0xC0000001)) { Say(3); }
    return Log;
}

/* 16: raise in a filter, taken by an outer scope */
HELPER int Filter16(void) { Say(1); Raise(0xC0000002); return 1; }
HELPER int Outer16(ULONG code) { return code == 0xC0000002; }
CASE Case16(void)
{
    Log = 0;
    __try {
        __try { Raise(0xC0000001); }
        __except (Log == 0 ? Filter16() : 0) { Say(9); }
    }
    __except (Outer16(_exception_code())) { Say(2); }
    return Log;
}

/* 17: raise in a filter, caught inside it */
HELPER int Filter17(void)
{
    __try { Raise(0xC0000002); }
    __except (1) { Say(1); }
    return 1;
}
CASE Case17(void)
{
    Log = 0;
    __try { Raise(0xC0000001); }
    __except (Filter17()) { Say(2); }
    return Log;
}

/* 18: raise in an __except block goes outward */
CASE Case18(void)
{
    Log = 0;
    __try {
        __try { Raise(0xC0000001); }
        __except (1) { Say(1); Raise(0xC0000002); }
    }
    __except (Is(_exception_code(), 0xC0000002)) { Say(2); }
    return Log;
}

/* 19: locals survive */
CASE Case19(void)
{
    volatile U64 a = 11, b = 22;
    U64 c = 0;
    __try { a = 33; Raise(0xC0000001); }
    __except (1) { c = a * 100 + b; }
    return c;
}

/* 20: catch in a loop */
CASE Case20(void)
{
    volatile U64 caught = 0;
    for (int i = 0; i < 1000; i++) {
        __try { if (i % 2) Raise(0xC0000001); else *BAD = 0; }
        __except (1) { caught++; }
    }
    return caught;
}

/* 21: recursion, each level with a __finally */
HELPER void Down21(int depth)
{
    __try { if (depth == 0) Raise(0xC0000001); else Down21(depth - 1); }
    __finally { Log++; }
}
CASE Case21(void)
{
    Log = 0;
    __try { Down21(49); }
    __except (1) { Log += 1000; }
    return Log;
}

/* 22: return from the __try runs the __finally */
HELPER int Early22(void)
{
    __try { Say(1); return 5; }
    __finally { Say(2); }
}
CASE Case22(void)
{
    Log = 0;
    Say(Early22());
    return Log;
}

/* 23: a fault in a __finally, caught outside */
CASE Case23(void)
{
    Log = 0;
    __try {
        __try { Raise(0xC0000001); }
        __finally { Say(1); *BAD = 1; Say(9); }
    }
    __except (1) { Say(Is(_exception_code(), 0xC0000005) ? 2 : 9); }
    return Log;
}

/* 24: big frame (__chkstk) and many arguments */
HELPER U64 Big24(U64 a, U64 b, U64 c, U64 d, U64 e, U64 f)
{
    volatile char room[20000];
    memset((void *)room, 1, sizeof room);
    __try { Raise(0xC0000001); }
    __except (1) { return a + b + c + d + e + f + room[19999]; }
    return 0;
}
CASE Case24(void) { return Big24(1, 2, 3, 4, 5, 6); }

/* 25: an exception after a caught one, in the same frame */
CASE Case25(void)
{
    Log = 0;
    __try { Raise(0xC0000001); }
    __except (1) { Say(1); }
    __try { *BAD = 1; }
    __except (1) { Say(2); }
    __try { memset((void *)BAD, 0, 8); }
    __except (1) { Say(3); }
    return Log;
}

/* 26: raise in two nested __finally: each replaces the one before */
CASE Case26(void)
{
    U64 code = 0;
    Log = 0;
    __try {
        __try {
            __try { Raise(0xC0000001); }
            __finally { Say(1); Raise(0xC0000002); }
        }
        __finally { Say(2); Raise(0xC0000003); }
    }
    __except (1) { code = _exception_code(); }
    return code * 100 + Log;
}

/* 27: leaving two __try by _local_unwind, which MSVC calls for a `goto`; clang does not, so it is called by hand. The
   establisher frame of these functions is RSP in their bodies. */
CASE Case27(void)
{
    void *frame;
    Log = 0;
    __try {
        __try {
            __asm__ volatile("movq %%rsp, %0" : "=r"(frame));
            _local_unwind(frame, &&out);
            Say(9);
        }
        __finally { Say(_abnormal_termination() ? 1 : 9); }
    }
    __finally { Say(2); }
out:
    Say(3);
    return Log;
}

/* An unwind to a frame that is not there */
CASE Unwindable(void) { _local_unwind((void *)16, 0); return 0; }

/* Through Rust: calls `routine` by an import; its exception comes out of the import. */
CASE CallThrough(void *routine, void *argument)
{
    Log = 0;
    __try { IofCallDriver(routine, argument); Say(9); }
    __except (Is(_exception_code(), 0xC000009A)) { Say(4); }
    return Log;
}

/* The far side: raises with a __finally of its own, which writes a 1 to `*mark`. */
CASE RaiseThrough(volatile U64 *mark)
{
    __try { Raise(0xC000009A); }
    __finally { *mark = *mark * 10 + 1; }
    return 0;
}

/* Nobody catches */
CASE Uncaught(void)
{
    __try { Raise(0xC0000120); }
    __except (0) { Say(9); }
    return 0;
}

/* One raise and one fault, caught: for timing */
CASE OneRaise(void) { __try { ExRaiseStatus(0xC0000001); } __except (1) { return 1; } return 0; }
CASE OneFault(void) { __try { *BAD = 1; } __except (1) { return 1; } return 0; }
CASE Nothing(void) { return 0; }
CASE Import(void *a, U64 count) { for (U64 i = 0; i < count; i++) memcpy(a, a, 0); return 0; }

NTSTATUS DriverEntry(void *driver, void *path) { (void)driver; (void)path; return 0; }
