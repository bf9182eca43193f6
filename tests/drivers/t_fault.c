/*
 * t_fault: what the processor refuses. Each exported routine provokes one fault; those with `Caught` in the name have
 * a __try around it and return the exception code. Own declarations only.
 */
typedef unsigned long ULONG;
typedef long NTSTATUS;
typedef unsigned long long U64;

int __C_specific_handler();
unsigned long _exception_code(void);

#define CASE __declspec(dllexport) __attribute__((noinline)) U64
#define CAUGHT(name, body) CASE name(U64 argument) { (void)argument; __try { body; } __except (1) { return _exception_code(); } return 0; }

static volatile int Zero;
static volatile long long Least = (long long)0x8000000000000000ull;
static volatile long long MinusOne = -1;

CAUGHT(CaughtDivide, return 1 / Zero)
CAUGHT(CaughtOverflow, return (U64)(Least / MinusOne))
CAUGHT(CaughtBreakpoint, __asm__ volatile("int3"))
CAUGHT(CaughtIllegal, __asm__ volatile("ud2"))
CAUGHT(CaughtPrivileged, __asm__ volatile("cli"))
CAUGHT(CaughtHalt, __asm__ volatile("hlt"))
CAUGHT(CaughtNonCanonical, return *(volatile U64 *)0x8000000000000000ull)
CAUGHT(CaughtKernelHalf, return *(volatile U64 *)0xffff800000000000ull)
CAUGHT(CaughtWildCall, ((void (*)(void))argument)())
CAUGHT(CaughtReadOnly, *(volatile char *)CaughtDivide = 1)
CAUGHT(CaughtUser, return *(volatile char *)argument)

CASE FastFail(U64 code) { __asm__ volatile("int $0x29" : : "c"(code)); return 0; }
CASE WildJump(U64 to) { return ((U64 (*)(void))to)(); }

#pragma clang diagnostic ignored "-Winfinite-recursion"
CASE Overflow(U64 depth)
{
    volatile char room[1024];
    room[0] = (char)depth;
    return Overflow(depth + 1) + room[0];
}

/* Runs once only: the loader makes this section inaccessible after DriverEntry. */
__attribute__((section("INIT"))) __declspec(dllexport) U64 InitOnly(void) { return 7; }

NTSTATUS DriverEntry(void *driver, void *path) { (void)driver; (void)path; return (NTSTATUS)InitOnly() - 7; }
